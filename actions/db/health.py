"""Checks on the database: it takes writes, new connections reach one primary, connection slots are free."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.psql import psql
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check
from actions.values import Outcome, done, failed

if TYPE_CHECKING:
    from actions.world import World

LEAST = 20.0  # seconds of our own clock: a rehearsal's database is no faster than a real one


@dataclass(frozen=True, kw_only=True)
class _DatabaseCheck(Check):
    """Looks again and again until the goal is seen or the time is over."""

    database: DatabaseRef

    timeout: ClassVar[float] = 300.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:CONNECT",)

    @property
    def target(self) -> str:
        return str(self.database)

    @abstractmethod
    async def _seen(self, world: World) -> tuple[bool, str]:
        """Whether the goal is seen now, and the sentence to say."""

    async def look(self, world: World) -> Outcome:
        said = "there was no answer"
        async for passed in world.ticks(timeout=self.timeout, at_least=LEAST):
            try:
                good, said = await self._seen(world)
            except Unreachable as error:
                good, said = False, str(error)
            if good:
                return done(f"{said} Seen after {passed:.0f} s.")
        return failed(f"It did not happen within {self.timeout:g} s: {said}")


@dataclass(frozen=True, kw_only=True)
class DatabaseWrites(_DatabaseCheck, kind="postgresql.database_writes"):
    """Commit a write that means nothing, with a deadline of ours: a lost standby lets a commit wait for ever."""

    @property
    def title(self) -> str:
        return "Check that the database accepts writes"

    def command(self) -> str:
        return psql("SELECT pg_logical_emit_message(true, 'dr', 'probe')", self.database.dsn_env)

    async def _seen(self, world: World) -> tuple[bool, str]:
        await world.database(self.database).write_probe()
        return True, "The database committed a write."


@dataclass(frozen=True, kw_only=True)
class PrimaryServes(_DatabaseCheck, kind="postgresql.primary_serves"):
    """Open several new connections: all must reach one and the same server that is no standby. Old ones are not seen."""

    connections: int = 5

    @property
    def title(self) -> str:
        return "Check that new connections reach one primary"

    def command(self) -> str:
        return psql("SELECT pg_is_in_recovery(), pg_postmaster_start_time()", self.database.dsn_env)

    async def _seen(self, world: World) -> tuple[bool, str]:
        states = [
            await world.database(self.database).state() for _ in range(self.connections)
        ]  # one at a time: slots may be rare
        wrong = sum(state.in_recovery or state.read_only for state in states)
        if wrong:
            return False, f"{wrong} of {self.connections} new connections reached a server that takes no writes."
        if len({state.started_at for state in states}) > 1:
            return False, f"{self.connections} new connections reached different servers."
        return True, f"{self.connections} new connections reached one primary, started at {states[0].started_at:%H:%M:%S} UTC."


@dataclass(frozen=True, kw_only=True)
class ConnectionsFree(_DatabaseCheck, kind="postgresql.connections_free"):
    """See that enough of the connection slots for ordinary roles are free again."""

    at_least_percent: int = 20

    timeout: ClassVar[float] = 120.0

    @property
    def title(self) -> str:
        return f"Wait until {self.at_least_percent} % of the connection slots are free"

    def command(self) -> str:
        counted = "SELECT count(*), current_setting('max_connections') FROM pg_stat_activity"
        return psql(f"{counted} WHERE backend_type = 'client backend'", self.database.dsn_env)

    async def _seen(self, world: World) -> tuple[bool, str]:
        state = await world.database(self.database).state()
        says = f"{state.usage}, so {state.free_percent:.0f} % are free."
        return state.free_percent >= self.at_least_percent, says
