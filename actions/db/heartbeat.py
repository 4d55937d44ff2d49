"""Heartbeat rows: a small table in the primary that says when it last took a write, and how far a replica has come.

RDS's ReplicaLag and PostgreSQL's last replayed transaction grow on an idle primary although nothing is lost. A row that the
bot writes every few seconds tells the two apart. Both times are of the primary's clock. docs/how-to/targets.md has the SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg

from actions.errors import Unreachable
from actions.scrub import plain
from actions.site import TABLE_NAME

if TYPE_CHECKING:
    from actions.site import DatabaseRef
    from actions.world import World

EVERY_SECONDS = 3.0  # the loss of a promotion is known to within so much, and it is said in whole seconds: to 5 s
WRITER = "dr-bot"
CANARY = "dr-canary-"  # and the day: a row of the same table that nobody changes again
_POSITION = """
SELECT clock_timestamp() AS now, pg_is_in_recovery() AS in_recovery, pg_last_xact_replay_timestamp() AS replayed_at
"""

_WRITTEN = """
pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8 AS flushed,
(SELECT coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0)::int8 FROM pg_stat_database
 WHERE datname = current_database()) AS rows
"""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a server has come. `now` is its own clock.

    `replayed_at` is when the last transaction that a replica has replayed was committed. `beat` is its newest heartbeat; None
    if it has none, and `no_beat` then says why in a sentence.
    """

    now: datetime
    in_recovery: bool
    replayed_at: datetime | None = None
    beat: datetime | None = None
    no_beat: str = ""


def is_table(name: str) -> bool:
    """Whether a setting names a table, with or without its schema, in letters that need no quotes."""
    return bool(re.fullmatch(TABLE_NAME, name))


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A heartbeat that was committed: when by the primary's clock, how far its WAL was, and how many rows it had written."""

    at: datetime
    flushed: int
    rows: int


async def write_heartbeat(world: World, database: DatabaseRef, table: str) -> Beat:
    """Write the one row, over a connection of its own. Raises `Refused` or `Uncertain`; the table must be there."""
    insert = f"INSERT INTO {_checked(table)} (writer, at) VALUES ('{WRITER}', clock_timestamp())"
    sql = f"{insert} ON CONFLICT (writer) DO UPDATE SET at = excluded.at RETURNING at, {_WRITTEN}"
    (row,) = await world.database(database).change(sql, timeout=2.0)
    return Beat(at=row["at"], flushed=int(row["flushed"]), rows=int(row["rows"]))


async def write_canary(world: World, database: DatabaseRef, table: str, day: str) -> None:
    """Write the canary row of a day ("2026-01-15"), once: a backup that is made later must hold it. Raises as above."""
    row = f"('{CANARY}{day}', clock_timestamp())"
    await world.database(database).change(
        f"INSERT INTO {_checked(table)} (writer, at) VALUES {row} ON CONFLICT (writer) DO NOTHING", timeout=2.0
    )


async def position(world: World, database: DatabaseRef, *, table: str = "") -> Position:
    """How far a server has come. Raises `DatabaseUnreachable` if it does not answer."""
    async with world.database(database).session("read", timeout=3.0) as connection:
        row = await (await connection.execute(_POSITION)).fetchone()
        beat, no_beat = await _newest(connection, table) if table else (None, "No heartbeat table is set.")
    return Position(**(row or {}), beat=beat, no_beat=no_beat)


async def may_write(world: World, database: DatabaseRef, table: str) -> str:
    """Why our role may not write heartbeats, as a sentence; "" if it may. Raises `DatabaseUnreachable`."""
    rights = "has_table_privilege(to_regclass(%s), 'INSERT') AND has_table_privilege(to_regclass(%s), 'UPDATE')"
    sql = f"SELECT to_regclass(%s) IS NOT NULL AS there, {rights} AS ours"
    rows = await world.database(database).ask(sql, [_checked(table)] * 3)
    if not rows[0]["there"]:
        return f"There is no table {table}."
    return "" if rows[0]["ours"] else f"The bot's role may not write to {table}."


async def _newest(connection: psycopg.AsyncConnection[Any], table: str) -> tuple[datetime | None, str]:
    """The newest heartbeat; a table that is missing or closed to us hides nothing of the rest."""
    try:
        row = await (await connection.execute(f"SELECT max(at) AS at FROM {_checked(table)}".encode())).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn) as error:
        return None, f"{plain(error)}."
    at = row["at"] if row else None
    return at, "" if at else f"The table {table} has no row yet."


def _checked(table: str) -> str:
    if not is_table(table):
        raise Unreachable(f"{table!r} is not a table name; small letters, digits and _ are expected.")
    return table
