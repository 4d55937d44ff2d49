"""How the database of the state is opened: SQLite in a file, or a PostgreSQL server, which may be away for a while."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Engine as Engine
from sqlalchemy import create_engine, event, inspect
from sqlalchemy import text as sql
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from actions.scrub import plain
from bot.settings import BadSettings
from bot.state.away import Patience, may_come
from bot.state.tables import NEW_COLUMNS, metadata

ANSWER_SECONDS = 5.0  # a server that says nothing for this long is away
IDLE_SECONDS = 2.0  # between two statements of a transaction, after which the server ends it


class CannotOpen(BadSettings):
    """The database of [state] doesn't open; the message begins with the key and says why."""


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
        raise CannotOpen(f"[state] url: {_why_not_opened(error)}") from error
    return engine


def _no_folder(error: OSError) -> str:
    why = error.strerror or plain(error)
    return f"the folder {error.filename} can't be made ({why}); a file in a folder that this account may write to is expected."


def _why_not_opened(error: Exception) -> str:
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


def _add_new_columns(engine: Engine) -> None:
    """A state that an older bot made gets the columns that have come since; that bot can go on working with it."""
    for column in NEW_COLUMNS:
        if all(there["name"] != column.name for there in inspect(engine).get_columns(column.table.name)):
            with engine.begin() as connection:
                definition = CreateColumn(column).compile(dialect=engine.dialect)
                connection.execute(sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}"))


def _open_server(url: str, patience: Patience | None) -> Engine:
    """An engine for a PostgreSQL server; once it has answered, a connection that is wanted while it is away waits for it."""
    from actions.db import bounded  # psycopg is heavy, and SQLite does without it

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping=True, pool_size=20)
    answered = threading.Event()

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        for tries in itertools.count(1):
            try:
                connection = bounded.connect(*arguments, answer_seconds=ANSWER_SECONDS, idle_seconds=IDLE_SECONDS, **parameters)
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
