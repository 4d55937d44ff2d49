"""Before a replica is promoted: it has replayed all that it will ever get, and what it lacks is what people agreed to lose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from actions.db.psql import psql
from actions.db.reach import connect_to
from actions.db.replication import Replica, lsn, replica_position, written
from actions.db.rhythm import borne_out
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Check, Hold
from actions.values import Finding, Outcome, count, done, failed, ok, stop, warn

if TYPE_CHECKING:
    from actions.world import World

AT_LEAST = 20.0  # seconds of our own clock: a rehearsal's database is no faster than a real one
STILL_SECONDS = 1.0  # of our own clock: what the kernel still held of a dead primary has arrived by then
CLOSE_BYTES = 1 << 20  # of the log
TOKEN = "promotion token"


@dataclass(frozen=True, kw_only=True)
class _OnReplica(Check):
    """What both checks say of the replica."""

    database: DatabaseRef

    timeout: ClassVar[float] = 300.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor",)

    @property
    def target(self) -> str:
        return str(self.database)

    async def position(self, world: World) -> Replica:
        """How far the replica is."""
        return await replica_position(await connect_to(world, self.database))


@dataclass(frozen=True, kw_only=True)
class ReplayedAll(_OnReplica, kind="postgresql.replayed_all"):
    """Wait until the replica has replayed all it received and nothing comes any more; then see that no more is lost than agreed.

    `silent_since` is when the primary took its last commit at the latest (ISO time, "" if unknown), `at_most` how many seconds of
    commits may be lost.
    """

    silent_since: str
    at_most: int

    @property
    def title(self) -> str:
        return f"Wait until {self.database.instance} has replayed all it got, and see that at most {self.at_most} s are lost"

    def command(self) -> str:
        positions = "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()"
        return f"{psql(positions, self.database.dsn_env)}  # until nothing moves; at most {self.at_most} s of commits may be lost"

    async def look(self, world: World) -> Outcome:
        said, before = "it has not answered", None
        async for passed in world.ticks(timeout=self.timeout, at_least=AT_LEAST):
            try:
                now = await self.position(world)
            except Unreachable as error:
                said = str(error).rstrip(".")
                continue
            if not now.in_recovery:
                return done(f"{self.database.instance} is no longer a replica: it was promoted before.")
            if before and now.has_replayed_all and (now.received, now.replayed) == (before.received, before.replayed):
                return self._judge(now, passed)
            moving = now.received != before.received if before else False
            said = "it still receives: its primary is alive and takes writes" if moving else "it is still replaying"
            before = now
            await asyncio.sleep(STILL_SECONDS)
        return failed(
            f"{self.database.instance} has not come to rest: {said}. Nothing was promoted. Abort and plan again: if the primary "
            "can be reached, a graceful failover loses nothing."
        )

    def _judge(self, now: Replica, passed: float) -> Outcome:
        has = f"{self.database.instance} has replayed all it received, up to {lsn(now.replayed or 0)}"
        if now.replayed_at is None:
            return failed(
                f"{has}, and doesn't say when its last commit was. Nobody knows what would be lost; nothing was promoted."
            )
        silent = datetime.fromisoformat(self.silent_since) if self.silent_since else None
        until = borne_out(silent, now.replayed_at) or now.now
        lost = max((until - now.replayed_at).total_seconds(), 0.0)
        newest = f"its last commit is from {now.replayed_at:%H:%M:%S} UTC"
        if lost > self.at_most:
            return failed(
                f"A promotion would lose up to {lost:.0f} s now, and {self.at_most} s were agreed to: {newest}. Nothing was "
                "promoted. Abort, and plan again with the new figure."
            )
        return done(f"{has}; {newest}, so at most {lost:.1f} s are lost. Seen after {passed:.0f} s.")


@dataclass(frozen=True, kw_only=True)
class CaughtUp(_OnReplica, kind="postgresql.caught_up"):
    """Take the position of the fenced primary as the promotion token, and wait until the replica has replayed up to it."""

    original: DatabaseRef

    timeout: ClassVar[float] = 900.0

    @property
    def title(self) -> str:
        return f"Wait until {self.database.instance} has all that {self.original.instance} has"

    def command(self) -> str:
        return psql("SELECT pg_last_wal_replay_lsn()", self.database.dsn_env)

    async def look(self, world: World) -> Outcome:
        token: int | None = None
        said = "nothing has answered"
        async for passed in world.ticks(timeout=self.timeout, at_least=20.0):
            try:
                if token is None:
                    taken = await self._token(world)
                    if isinstance(taken, Outcome):
                        return taken
                    token = taken
                now = await self.position(world)
            except Unreachable as error:
                said = str(error).rstrip(".")
                continue
            if not now.in_recovery:
                return failed(f"{self.database.instance} is no longer a replica: somebody promoted it. Plan again.")
            behind = token - (now.replayed or 0)
            if behind <= 0:
                return done(
                    f"{self.database.instance} has replayed up to {lsn(now.replayed or 0)}; {self.original.instance}, which is "
                    f"fenced, ends at {lsn(token)}. A promotion loses nothing. Seen after {passed:.0f} s."
                )
            said = f"it is {count(behind, 'byte')} behind {lsn(token)}"
            world.progress(f"{self.database.instance}: {said}.")
        return failed(f"{self.database.instance} has not caught up after {self.timeout:g} s: {said}. Nothing was promoted.")

    async def _token(self, world: World) -> int | Outcome:
        """Where the fenced primary's log ends; an outcome if it is not fenced, because then it ends nowhere."""
        source = await connect_to(world, self.original)
        if not (await source.state()).read_only:
            return failed(
                f"{self.original.instance} takes writes, so there is no last one. Nothing was promoted. Retry the fence."
            )
        token = (await written(source)).flushed
        await world.items.intend(TOKEN, {"lsn": token, "of": self.original.instance})
        await world.items.end(TOKEN, "taken", f"{self.original.instance} ends at {lsn(token)}.")
        return token


@dataclass(frozen=True, kw_only=True)
class KeepsUp(_OnReplica, kind="postgresql.keeps_up"):
    """Wait until a new replica has loaded its copy and follows its primary closely."""

    original: DatabaseRef

    timeout: ClassVar[float] = 4 * 3600.0
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Wait until {self.database.instance} follows {self.original.instance} closely"

    def command(self) -> str:
        return psql("SELECT pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()", self.database.dsn_env)

    async def look(self, world: World) -> Outcome:
        said = "it has not answered"
        async for passed in world.ticks(timeout=self.timeout, every=6.0, at_least=60.0):
            try:
                behind, now = await self.behind(world)
            except Unreachable as error:
                said = str(error).rstrip(".")
                continue
            if not now.in_recovery:
                return failed(f"{self.database.instance} is no replica: it takes writes of its own. Look at it by hand.")
            if behind <= CLOSE_BYTES:
                return done(f"{self.database.instance} is {count(behind, 'byte')} behind, seen after {passed:.0f} s.")
            said = f"it is {count(behind, 'byte')} behind"
            world.progress(f"{self.database.instance}: {said}.")
        return failed(
            f"{self.database.instance} doesn't follow {self.original.instance} closely after {self.timeout:g} s: {said}."
        )

    async def behind(self, world: World) -> tuple[int, Replica]:
        """By how many bytes of the log the replica is behind, and where it is."""
        flushed = (await written(await connect_to(world, self.original))).flushed
        now = await self.position(world)
        return max(flushed - (now.replayed or 0), 0), now


@dataclass(frozen=True, kw_only=True)
class SwitchNow(Hold, kind="postgresql.switch_now"):
    """Show how far the new replica is, and ask whether it should take over now: after a Yes nobody can write for a while."""

    database: DatabaseRef
    original: DatabaseRef

    timeout: ClassVar[float] = 60.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor", "rds:DescribeDBInstances")

    @property
    def target(self) -> str:
        return str(self.database)

    @property
    def question(self) -> str:
        return f"Shall {self.database.instance} in {self.database.region} take over from {self.original.instance} now?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        behind, now = await KeepsUp(database=self.database, original=self.original).behind(world)
        if not now.in_recovery:
            return (stop(f"{self.database.instance} is no replica: it takes writes of its own."),)
        says = f"{self.database.instance} is {count(behind, 'byte')} behind {self.original.instance}"
        return (
            (ok if behind <= CLOSE_BYTES else warn)(f"{says}. It gets all of it before it is promoted."),
            warn(f"A Yes stops the service in {self.original.region}: nobody can write until it runs in {self.database.region}."),
        )
