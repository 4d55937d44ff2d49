"""Rebuild an index beside the people who use it, and drop what broken rebuilds left behind."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from actions.db.check_result import CheckVerdict
from actions.db.diff_shape import quoted
from actions.db.indexes import Index, read_index
from actions.db.integrity_ask import Asker
from actions.db.integrity_suite import Suite
from actions.db.psql import psql
from actions.db.transact import sentence
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import DatabaseRef
from actions.step import Action, Check
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

RIGHTS: tuple[str, ...] = ("postgresql:SET ROLE to the owner", "postgresql:pg_monitor")
LOOK_SECONDS = 2.0
PROGRESS = """
SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index AS going
JOIN pg_index AS i ON i.indrelid = going.relid WHERE i.indexrelid = to_regclass(%s) LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class OfIndex:
    """What every step about an index says: which index of which table, in which database, and whose it is."""

    database: DatabaseRef
    index: str
    table: str
    owner: str

    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""

    @property
    def target(self) -> str:
        """The index."""
        return f"{self.index} of {self.database}"


@dataclass(frozen=True, kw_only=True)
class RebuildIndex(OfIndex, Action, kind="postgresql.rebuild_index"):
    """Rebuild an index from its table while people read and write it; the new one takes the old one's place.

    It waits for transactions that began before, and needs room for a second index. If it fails, the old index stays.
    """

    timeout: ClassVar[float] = 7200.0
    settle: ClassVar[float] = 30.0
    permissions: ClassVar[tuple[str, ...]] = RIGHTS

    @property
    def title(self) -> str:
        return f"Rebuild index {self.index} beside its users"

    def command(self) -> str:
        return psql(f"SET ROLE {quoted(self.owner)}", self.database.dsn_env) + f' -c "{_shell(self.statement)}"'

    @property
    def statement(self) -> str:
        """What is sent."""
        return f"REINDEX INDEX CONCURRENTLY {self.index}"

    async def observe(self, world: World) -> Facts:
        return _facts(await read_index(world, self.database, self.index))

    def precheck(self, facts: Facts) -> Finding | Outcome:
        return _judged(self, facts) or ok(f"{self.index} is there and nobody rebuilds it.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        seconds = max(world.local(self.timeout), 120.0)
        following = asyncio.create_task(self._follow(world), name="progress of a rebuild")
        try:
            await _send(world, self, self.statement, seconds, facts)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            found = await read_index(world, self.database, self.index)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if found is not None and found.oid != facts["oid"]:
            return Proof(verdict=Verdict.DONE, says=f"{self.index} is not the same index as before.")
        if found is not None and found.busy:
            return Proof(verdict=Verdict.UNKNOWN, says=f"An index of {self.table} is still being built.")
        return Proof(verdict=Verdict.NOT_DONE, says=f"{self.index} is still the index from before.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        try:
            found = await read_index(world, self.database, self.index)
        except Unreachable as error:
            return failed(f"Whether {self.index} was rebuilt can't be read: {error} Retry to look again.")
        if found is None or found.oid == facts["oid"] or not found.valid:
            return failed(f"{self.index} can't be read back as rebuilt. Retry to look again.")
        return done(f"{self.index} is rebuilt: {facts['bytes'] / 2**20:.1f} MiB before, {found.bytes / 2**20:.1f} MiB now.")

    async def _follow(self, world: World) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(Unreachable):
                for row in await world.database(self.database).ask(PROGRESS, [self.index]):
                    share = f", {100 * row['blocks_done'] // row['blocks_total']} %" if row["blocks_total"] else ""
                    world.progress(f"Rebuilding {self.index}: {row['phase']}{share}")


@dataclass(frozen=True, kw_only=True)
class DropLeftOvers(OfIndex, Action, kind="postgresql.drop_left_over_indexes"):
    """Drop the invalid indexes that broken rebuilds of an index left behind: they cost every write and serve no reader."""

    timeout: ClassVar[float] = 900.0
    settle: ClassVar[float] = 10.0
    permissions: ClassVar[tuple[str, ...]] = RIGHTS

    @property
    def title(self) -> str:
        return f"Drop what broken rebuilds of {self.index} left behind"

    def command(self) -> str:
        return (
            psql(f"SET ROLE {quoted(self.owner)}", self.database.dsn_env)
            + f" -c 'DROP INDEX CONCURRENTLY ...'  # each invalid {self.index}_ccnew, _ccold of {self.table}, if there is one"
        )

    async def observe(self, world: World) -> Facts:
        return _facts(await read_index(world, self.database, self.index))

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if not facts["left_over"]:
            return already_done(f"There is nothing left of broken rebuilds of {self.index}.")
        return _judged(self, facts) or ok(f"Left over: {', '.join(facts['left_over'])}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        for name in facts["left_over"]:
            await _send(world, self, f"DROP INDEX CONCURRENTLY IF EXISTS {name}", max(world.local(self.timeout), 60.0), facts)
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            found = await read_index(world, self.database, self.index)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        left = [name for name in facts["left_over"] if found is not None and name in found.left_over]
        if left:
            return Proof(verdict=Verdict.NOT_DONE, says=f"{', '.join(left)} is still there.")
        return Proof(verdict=Verdict.DONE, says=f"{', '.join(facts['left_over'])} is gone.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        proof = await self.applied(world, facts)
        return done(proof.says) if proof.verdict is Verdict.DONE else failed(f"{proof.says} Retry to look again.")


@dataclass(frozen=True, kw_only=True)
class IndexHolds(OfIndex, Check, kind="postgresql.index_holds"):
    """Compare a rebuilt index with its table by amcheck: every row must have its entry. Without amcheck it says so."""

    timeout: ClassVar[float] = 3600.0
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_read_all_data",)

    @property
    def title(self) -> str:
        return f"Check that {self.index} fits {self.table}"

    def command(self) -> str:
        return psql(f"SELECT bt_index_check('{self.index}', true)", self.database.dsn_env)

    async def look(self, world: World) -> Outcome:
        async with Asker(world.database(self.database), max(world.local(self.timeout), 120.0), gentle=True) as asker:
            results = await Suite(asker, str(self.database), world.progress, only=[self.table], serves=True).run()
            if asker.gone:
                return failed(f"{self.index} can't be checked: {asker.gone}. Retry.")
        mine = [one for one in results if one.object == self.index]
        if wrong := [one for one in mine if one.verdict is CheckVerdict.FAILED]:
            return failed(f"{self.index} is not well: {' '.join(one.says for one in wrong)}")
        if any(one.name == "index" and one.verdict is CheckVerdict.OK for one in mine):
            return done(f"{self.index} has an entry for every row of {self.table}.")
        why = next((one.says for one in results if one.name in ("amcheck", "index") and one.verdict is CheckVerdict.SKIPPED), "")
        return done(f"{self.index} is valid. amcheck could not compare it with {self.table}: {why or 'it says nothing.'}")


def _facts(found: Index | None) -> Facts:
    if found is None:
        return {"oid": 0, "refusal": "", "busy": False, "left_over": [], "owner": "", "bytes": 0}
    names = ("oid", "refusal", "busy", "owner", "bytes")
    return {name: getattr(found, name) for name in names} | {"left_over": list(found.left_over)}


def _judged(step: OfIndex, facts: Facts) -> Finding | None:
    """What forbids to touch the index now."""
    if not facts["oid"]:
        return stop(f"There is no index {step.index} any more. Plan again.")
    if facts["refusal"]:
        return stop(facts["refusal"])
    if facts["owner"] != step.owner:
        return stop(f"{step.table} belongs to {facts['owner']} now, and the plan says {step.owner}. Plan again.")
    return stop(f"An index of {step.table} is being built right now. Wait until that has ended.") if facts["busy"] else None


async def _send(world: World, step: OfIndex, statement: str, seconds: float, facts: Facts) -> None:
    """Send a statement that no transaction may hold, as the owner. Raises `Refused` if nothing came of it, or `Uncertain`."""
    try:
        connection = await world.database(step.database).connect("change")
    except Unreachable as error:
        raise Refused(f"Nothing was changed: {error}") from error
    async with connection:
        try:
            limits = f"SET statement_timeout = {int(seconds * 1000)}; SET lock_timeout = 0"
            await connection.execute(f"{limits}; SET ROLE {quoted(step.owner)}".encode())
        except psycopg.Error as error:
            raise Refused(f"Nothing was changed: the database says: {sentence(error)}") from error
        await world.gate.opened()
        try:
            async with asyncio.timeout(seconds + 10):
                await connection.execute(statement.encode())
        except TimeoutError as error:
            raise Uncertain(f"{statement} was sent, and no answer came within {seconds:g} s.") from error
        except psycopg.Error as error:
            if not connection.closed and await _is_same(connection, step, facts):
                raise Refused(f"{step.index} is as it was: the database says: {sentence(error)}") from error
            raise Uncertain(f"{statement} was sent, and did not end well: {sentence(error)}") from error


async def _is_same(connection: psycopg.AsyncConnection[Any], step: OfIndex, facts: Facts) -> bool:
    """Whether the index is still the one from before, as the connection that failed sees it."""
    with contextlib.suppress(psycopg.Error):
        row = await (await connection.execute("SELECT to_regclass(%s)::oid::int8 AS oid", [step.index])).fetchone()
        return row is not None and row["oid"] == facts["oid"]
    return False


def _shell(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
