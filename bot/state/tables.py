"""The tables of the bot's memory, beside the engine's own in the same database."""

from __future__ import annotations

import importlib
import time
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, Float, Integer, MetaData, String, Table, Text

metadata = MetaData()

# What people did, in the order in which it reached us. The id is Slack's own (trigger id, action time stamp): a delivery
# that comes twice is one row. kind: command, click, submit, pick (a choice in a form), evidence (a message to be saved), or
# request: what a terminal or a schedule asks for unattended.
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

# Requests that Slack posted in HTTP mode, by the signature that covers time and body: none is taken twice.
requests = Table(
    "dr_requests",
    metadata,
    Column("signature", String(100), primary_key=True),
    Column("at", Float, nullable=False),
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

# state: approved, running, waiting, "cleaning up", and the ends: done, failed, aborted, stopped, "not started".
# main_end: how the main part ended (state, says, mark), if the plan has a clean-up that follows.
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
    Column("main_end", JSON),
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

# What a step does to many things, one row for each: its intent and what was seen before the effect, and its outcome after.
items = Table(
    "dr_items",
    metadata,
    Column("run_id", String(40), primary_key=True),
    Column("item", String(100), primary_key=True),
    Column("step", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("says", Text, nullable=False, default=""),
    Column("facts", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

# How far each step is: state started, or a Result once it ended. progress: what a started one said last, for the card only.
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
    Column("progress", Text, nullable=False, default="", server_default=""),
    Column("attempt_began", Float),  # `began` is when the first attempt did; an older bot writes only that
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

# What Slack still has to be told. kind: card or question (rendered from the tables when it is sent, latest wins), reply, file: a
# run's report, alert:
# a message of its own that mentions whoever [backups] alert names, or ephemeral: a sentence that only `person` sees; its run_id
# is the plan or run that the click named.
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
    Column("uploads", Integer, nullable=False, default=0, server_default="0"),  # how often a file's upload was begun
)


# What became of a request that a terminal handed over, if no run came of it. The id is the request's in the inbox.
answers = Table(
    "dr_answers",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("says", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# Since when a schedule is what it is: what was due before that is nobody's fault.
schedules = Table(
    "dr_schedules",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("cron", String(200), nullable=False),
    Column("since", Float, nullable=False),
)

# A text that a step attached, such as terraform's plan; a step that is carried out again replaces it.
attachments = Table(
    "dr_attachments",
    metadata,
    Column("run_id", String(40), primary_key=True),
    Column("step", String(20), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("name", String(80), primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# What was kept of the world while all was well, the latest under each name.
kept = Table(
    "dr_kept",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("facts", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

# When the health address of a service failed, as the bot saw it: the outage clock. `ended` is empty while it fails.
outages = Table(
    "dr_outages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("service", String(80), nullable=False),
    Column("began", Float, nullable=False),
    Column("ended", Float),
    Column("says", Text, nullable=False, default=""),
)

# What the bot learned about its workspace, or was last told: `simple` cards, the latest check.
notes = Table(
    "dr_notes",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("value", JSON, nullable=False),
    Column("at", Float, nullable=False),
)

NEW_COLUMNS = (outbox.c.at, outbox.c.uploads, runs.c.main_end, steps.c.progress, steps.c.attempt_began)

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


def insert_once(connection: Connection, table: Table, **row: Any) -> bool:
    """Insert the row; False if it's there already. The row itself tells: a row count of an INSERT may be -1."""
    dialect = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # only the one in use: start-up time
    statement = dialect.insert(table).values(**row).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(statement).first() is not None
