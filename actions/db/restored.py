"""A restored copy before it takes over: has it recovered, what does it hold; and is anybody left on the old database?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from actions.base import Check, Finding, Hold, Outcome, Unreachable, count, done, failed, ok, warn
from actions.db.psql import psql
from actions.reach import reach
from actions.site import DatabaseRef

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

MOST_TABLES = 40
COUNT_SECONDS = 15  # for one table
ALL_COUNTS_SECONDS = (
    60  # for all tables of a database: large ones, read from S3 for the first time, must not hold up the question
)
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY pg_total_relation_size(c.oid) DESC, 1
"""
OTHERS = """
SELECT coalesce(nullif(a.application_name, ''), '(no name)') AS application, a.usename AS role, count(*) AS sessions
FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.usename <> current_user
  AND NOT r.rolsuper AND r.rolname !~ '^rds'
GROUP BY 1, 2 ORDER BY 3 DESC, 1
"""


@dataclass(frozen=True, kw_only=True)
class _OnInstance:
    """What every step on an instance says, whose address RDS tells."""

    database: DatabaseRef

    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:CONNECT", "rds:DescribeDBInstances")

    @property
    def target(self) -> str:
        """The instance."""
        return str(self.database)

    def shown(self, statement: str) -> str:
        """The statement's command line; the DSN may lead elsewhere, so it says to which host."""
        return f"{psql(statement, self.database.dsn_env)}  # with host and port of {self.database.instance}"


@dataclass(frozen=True, kw_only=True)
class Recovered(_OnInstance, Check, kind="postgresql.recovered"):
    """Wait until a restored database has replayed all of its WAL: it can be connected to, and read, long before."""

    timeout: ClassVar[float] = 2 * 3600.0

    @property
    def title(self) -> str:
        return f"Wait until {self.database.instance} has recovered"

    def command(self) -> str:
        return self.shown("SELECT pg_is_in_recovery()")

    async def look(self, world: World) -> Outcome:
        said = "it has not answered"
        async for passed in world.ticks(timeout=self.timeout, every=6.0, at_least=60.0):
            try:
                state = await (await reach(world, self.database)).state()
            except Unreachable as error:
                said = str(error).rstrip(".")
                continue
            if not state.in_recovery:
                return done(f"{self.database.instance} has recovered and is no standby any more, seen after {passed:.0f} s.")
            said = "it is still replaying"
            world.progress(f"{self.database.instance} is replaying its log, {passed / 60:.0f} min so far.")
        return failed(f"{self.database.instance} has not recovered after {self.timeout / 60:g} min: {said}. Retry to wait on.")


@dataclass(frozen=True, kw_only=True)
class TakesWrites(_OnInstance, Check, kind="postgresql.takes_writes"):
    """Commit a write that means nothing on a restored database, at its own address."""

    timeout: ClassVar[float] = 120.0

    @property
    def title(self) -> str:
        return f"Check that {self.database.instance} accepts writes"

    def command(self) -> str:
        return self.shown("SELECT pg_logical_emit_message(true, 'dr', 'probe')")

    async def look(self, world: World) -> Outcome:
        said = "there was no answer"
        async for _ in world.ticks(timeout=self.timeout, at_least=20.0):
            try:
                await (await reach(world, self.database)).write_probe()
            except Unreachable as error:
                said = str(error).rstrip(".")
            else:
                return done(f"{self.database.instance} committed a write.")
        return failed(f"{self.database.instance} takes no write: {said}. Retry, or point the secret back.")


@dataclass(frozen=True, kw_only=True)
class NobodyConnected(_OnInstance, Check, kind="postgresql.nobody_connected"):
    """See that no application is connected to a database any more; who still is, still writes to the wrong one."""

    timeout: ClassVar[float] = 300.0
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Check that nobody is connected to {self.database.instance}"

    def command(self) -> str:
        return self.shown(" ".join(OTHERS.split()))

    async def look(self, world: World) -> Outcome:
        said = "it has not answered"
        async for passed in world.ticks(timeout=self.timeout, at_least=30.0):
            try:
                rows = await (await reach(world, self.database)).ask(OTHERS)
            except Unreachable as error:
                said = str(error).rstrip(".")
                continue
            if not rows:
                return done(f"No application is connected to {self.database.instance}, seen after {passed:.0f} s.")
            named = [f"{count(row['sessions'], 'session')} of {row['application']} as {row['role']}" for row in rows[:5]]
            said = f"connected are {', '.join(named)}"
        return failed(
            f"{self.database.instance} is still in use after {self.timeout:g} s: {said}. Stop those clients, then retry."
        )


@dataclass(frozen=True, kw_only=True)
class TakeOver(_OnInstance, Hold, kind="postgresql.take_over"):
    """Show what a restored database holds beside the one that it replaces, and ask whether it shall take over."""

    replaces: DatabaseRef
    at: str

    timeout: ClassVar[float] = 180.0

    @property
    def question(self) -> str:
        return f"Shall {self.database.instance} take over from {self.replaces.instance}?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        copy = await _holds(await reach(world, self.database))
        try:
            present: _Rows | None = await _holds(await reach(world, self.replaces))
        except Unreachable as error:
            present = None
            unread = warn(f"{self.replaces.instance} can't be read, so nothing can be compared with it.", str(error))
        return (*_newest(self, copy), *(_compared(copy, present) if present else (unread, *_alone(copy))))


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """All tables, how many rows the largest ones hold (None: not counted in time), and the newest commit."""

    names: frozenset[str]
    counts: Mapping[str, int | None]
    newest: datetime | None


async def _holds(connections: Connections) -> _Rows:
    names = [row["name"] for row in await connections.ask(TABLES)]
    newest = await connections.ask("SELECT pg_last_xact_replay_timestamp() AS at")
    ends = time.monotonic() + ALL_COUNTS_SECONDS
    counts = {name: await _count(connections, name, ends - time.monotonic()) for name in reversed(names[:MOST_TABLES])}
    return _Rows(names=frozenset(names), counts=counts, newest=newest[0]["at"])


async def _count(connections: Connections, table: str, seconds: float) -> int | None:
    """The rows of a table; None if they can't be counted in so many seconds."""
    if seconds <= 0:
        return None
    try:
        sql = f"SELECT count(*) AS rows FROM {table}"
        return int((await connections.ask(sql, timeout=min(seconds, COUNT_SECONDS)))[0]["rows"])
    except Unreachable:
        return None


def _newest(hold: TakeOver, copy: _Rows) -> tuple[Finding, ...]:
    wanted = f"It was restored to {_utc(datetime.fromisoformat(hold.at))}"
    if copy.newest is None:
        return (warn(f"{wanted}, and doesn't say when its newest commit was. Compare the rows with care."),)
    return (ok(f"{wanted}, and its newest commit is of {_utc(copy.newest)}. All that was committed later is not in it."),)


def _compared(copy: _Rows, present: _Rows) -> tuple[Finding, ...]:
    """A finding for all tables that hold as many rows, and one for each that does not."""
    same, other = [], []
    for name, rows in copy.counts.items():
        now = present.counts.get(name)
        if name not in present.names:
            other.append(warn(f"{name}: {_rows(rows)} in the copy. The present database has no such table."))
        elif rows is None or now is None:
            other.append(warn(f"{name}: {_rows(rows)} in the copy, {_rows(now)} in the present database."))
        elif rows == now:
            same.append(f"{name} {rows}")
        else:
            more = f"{count(abs(rows - now), 'row')} {'more' if rows > now else 'fewer'} than in the present database"
            other.append(warn(f"{name}: {_rows(rows)} in the copy, {more}.", f"The present database has {now}."))
    missing = [warn(f"{name} is not in the copy.") for name in sorted(present.names - copy.names)]
    alike = f"{count(len(same), 'table holds', 'tables hold')} as many rows as in the present database."
    agree = [ok(alike, ", ".join(sorted(same)))] if same else []
    less = len(copy.names) - len(copy.counts)
    left = [warn(f"{count(less, 'smaller table was', 'smaller tables were')} not counted.")] if less else []
    return (*other, *missing, *agree, *left)


def _alone(copy: _Rows) -> tuple[Finding, ...]:
    counted = ", ".join(f"{name} {_rows(rows)}" for name, rows in copy.counts.items())
    return (ok(f"The copy has {count(len(copy.names), 'table')}.", counted),)


def _rows(rows: int | None) -> str:
    return "not counted" if rows is None else count(rows, "row")


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
