"""A restored copy: has it recovered, does it accept writes; and is anybody left on the database that it replaces?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.psql import psql
from actions.db.reach import reach
from actions.db.sessions import OF_OTHERS
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.world import World

OTHERS = f"""
SELECT coalesce(nullif(a.application_name, ''), '(no name)') AS application, a.usename AS role, count(*) AS sessions
{OF_OTHERS}
GROUP BY 1, 2 ORDER BY 3 DESC, 1
"""


@dataclass(frozen=True, kw_only=True)
class OnInstance:
    """What every step shares that works on an instance whose address RDS gives."""

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
class Recovered(OnInstance, Check, kind="postgresql.recovered"):
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
                world.progress(f"{self.database.instance}: {said}, {passed / 60:.0f} min so far.")
                continue
            if not state.in_recovery:
                return done(f"{self.database.instance} has recovered and is no longer a standby, seen after {passed:.0f} s.")
            said = "it is still replaying"
            world.progress(f"{self.database.instance} is replaying its log, {passed / 60:.0f} min so far.")
        return failed(f"{self.database.instance} hasn't recovered after {self.timeout / 60:g} min: {said}. Retry to wait longer.")


@dataclass(frozen=True, kw_only=True)
class TakesWrites(OnInstance, Check, kind="postgresql.takes_writes"):
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
        return failed(f"{self.database.instance} takes no writes: {said}. Retry, or point the secret back.")


@dataclass(frozen=True, kw_only=True)
class NobodyConnected(OnInstance, Check, kind="postgresql.nobody_connected"):
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
