"""The tables of the bot's memory, beside the engine's own in the same database, and how that database is opened."""

from __future__ import annotations

import importlib
import itertools
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Engine, Float, Integer, MetaData, String, Table, Text, create_engine, event, inspect
from sqlalchemy import text as sql
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from actions.scrub import plain
from bot.away import Patience, may_come
from bot.settings import BadSettings

metadata = MetaData()
ANSWER_SECONDS = 5.0  # a server of the state that says nothing for so long is away
OPTIONS = "-c idle_in_transaction_session_timeout=2000"  # who vanished within a transaction must not hold its locks for long


class CannotOpen(BadSettings):
    """The database of [state] doesn't open; the message begins with the key and says why."""


# What people did, in the order in which it reached us. The id is Slack's own (trigger id, action time stamp): a delivery
# that comes twice is one row.
inbox = Table(
    "dr_inbox",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("person", String(40), nullable=False),
    Column("channel", String(40), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("at", Float, nullable=False),
    Column("handled", Boolean, nullable=False, default=False),
)

# Plans as they were shown. status: offered, approved, rejected, superseded, expired. A run has the id of its plan.
plans = Table(
    "dr_plans",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("scenario", String(80), nullable=False),
    Column("target", String(200), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("nonce", String(40), nullable=False),
    Column("requested_by", String(40), nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("status", String(20), nullable=False),
    Column("closed_by", String(40), nullable=False, default=""),
    Column("changes", JSON, nullable=False, default=list),
    Column("channel", String(40), nullable=False),
)

approvals = Table(
    "dr_approvals",
    metadata,
    Column("plan_id", String(40), primary_key=True),
    Column("person", String(40), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", Float, nullable=False),
)

# state: approved, running, waiting, and the ends: done, failed, aborted, stopped, "not started".
runs = Table(
    "dr_runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("target", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("says", Text, nullable=False, default=""),
    Column("began", Float, nullable=False),
    Column("ended", Float),
    Column("stop_by", String(40), nullable=False, default=""),
    Column("question", JSON),
)

locks = Table(
    "dr_locks",
    metadata,
    Column("target", String(200), primary_key=True),
    Column("run_id", String(40), nullable=False),
    Column("person", String(40), nullable=False),
    Column("since", Float, nullable=False),
)

# Written before an effect is attempted: the facts, and that we meant to.
intents = Table(
    "dr_intents",
    metadata,
    Column("run_id", String(40), primary_key=True),
    Column("step", String(20), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("facts", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

# How far each step is: state started, or a Result once it ended.
steps = Table(
    "dr_steps",
    metadata,
    Column("run_id", String(40), primary_key=True),
    Column("step", String(20), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("says", Text, nullable=False, default=""),
    Column("began", Float, nullable=False),
    Column("ended", Float),
)

# What a person answered to a question of a run; the first answer counts.
decisions = Table(
    "dr_decisions",
    metadata,
    Column("question", String(80), primary_key=True),
    Column("run_id", String(40), nullable=False),
    Column("choice", String(20), nullable=False),
    Column("person", String(40), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("at", Float, nullable=False),
)

# What was said of a run, in order; (run_id, key) keeps a sentence from being said twice.
timeline = Table(
    "dr_timeline",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(40), nullable=False, index=True),
    Column("key", String(120), nullable=False, unique=True),
    Column("mark", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# What Slack still has to be told. kind: card (rendered from the tables when it is sent, latest wins), reply, or ephemeral:
# a sentence that only `person` sees; its run_id is the plan or run that the click named.
outbox = Table(
    "dr_outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("key", String(120), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("run_id", String(40), nullable=False, default=""),
    Column("channel", String(40), nullable=False),
    Column("person", String(40), nullable=False, default=""),
    Column("mark", String(20), nullable=False, default=""),
    Column("text", Text, nullable=False, default=""),
    Column("rev", Integer, nullable=False, default=1),
    Column("sent_rev", Integer, nullable=False, default=0),
    Column("in_flight", Boolean, nullable=False, default=False),
    Column("ts", String(40), nullable=False, default=""),
    Column("pinned", Boolean, nullable=False, default=False),
    Column("pin_wanted", Boolean, nullable=False, default=False),
    Column("at", Float, nullable=False, default=time.time, server_default="0"),
)


NEW_COLUMNS = (outbox.c.at,)

# Who leads: `epoch` goes up when the lead changes hands, and every transaction that writes checks it. `holder` names the
# process, "" after it gave the lead up. The beat is a row of its own, so that renewing it waits for no transaction.
lease = Table(
    "dr_lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False, default=0),
    Column("holder", String(200), nullable=False, default=""),
)

heartbeat = Table(
    "dr_heartbeat",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("beat", Integer, nullable=False, default=0),
)


def open_engine(url: str, patience: Patience | None = None) -> Engine:
    """The engine for a state address, with the tables made. SQLite writes ahead and syncs at every commit.

    With `patience` it waits for a server that is away, now and at every later connection. Raises `CannotOpen`.
    """
    try:
        engine = _open_sqlite(url) if url.startswith("sqlite:") else _open_server(url, patience)
        _make_tables(engine, patience)
    except OSError as error:
        raise CannotOpen(f"[state] url: {_no_folder(error)}") from error
    except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
        raise CannotOpen(f"[state] url: {_not_opened(error)}") from error
    return engine


def _add_new_columns(engine: Engine) -> None:
    """A state that an older bot made gets the columns that have come since; that bot can go on working with it."""
    for column in NEW_COLUMNS:
        if all(there["name"] != column.name for there in inspect(engine).get_columns(column.table.name)):
            with engine.begin() as connection:
                definition = CreateColumn(column).compile(dialect=engine.dialect)
                connection.execute(sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}"))


def insert_once(engine: Engine, table: Table) -> Any:
    """An INSERT that does nothing where the row is there already; RETURNING tells which it was."""
    dialect = importlib.import_module(f"sqlalchemy.dialects.{engine.dialect.name}")  # only the one that is used: start-up time
    return dialect.insert(table).on_conflict_do_nothing()


def _no_folder(error: OSError) -> str:
    why = error.strerror or plain(error)
    return f"the folder {error.filename} can't be made ({why}); a file in a folder that this account may write to is expected."


def _not_opened(error: Exception) -> str:
    if isinstance(error, ArgumentError | ValueError):  # SQLAlchemy's texts about an address quote it
        return "it can't be read as an address; postgresql://USER:PASSWORD@HOST:PORT/DATABASE is expected."
    return f"the database can't be opened: {plain(error)}."


def _make_tables(engine: Engine, patience: Patience | None) -> None:
    for tries in itertools.count(1):
        try:
            metadata.create_all(engine)
            _add_new_columns(engine)
        except SQLAlchemyError as error:
            if tries == 1 and "exist" in str(error):
                continue  # another bot made the same table in the same moment
            if patience is None or not may_come(error):
                raise
            patience.wait(tries, error)
        else:
            break
    if patience:
        patience.answered()


def _open_server(url: str, patience: Patience | None) -> Engine:
    """An engine for a PostgreSQL server; once it has answered, a connection that is wanted while it is away waits for it."""
    from actions.db import bounded  # psycopg is heavy, and SQLite does without it

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping=True, pool_size=20)
    answered = threading.Event()

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        theirs = {name: value for name, value in parameters.items() if name != "options"}
        options = f"{parameters.get('options', '')} {OPTIONS}".strip()
        for tries in itertools.count(1):
            try:
                connection = bounded.connect(*arguments, answer_seconds=ANSWER_SECONDS, options=options, **theirs)
            except dialect.dbapi.OperationalError as error:
                if patience is None or not answered.is_set():
                    raise
                patience.wait(tries, error)
            else:
                answered.set()
                return connection
        raise AssertionError("unreachable: the loop above returns or raises")

    return engine


def _open_sqlite(url: str) -> Engine:
    Path(url.removeprefix("sqlite:///")).absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
