"""A fence around a primary: it takes no writes any more, and sessions that could still write are ended. And the way back.

RDS gives no superuser, so the fence is `default_transaction_read_only` of the database, which its owner may set. It holds for
every client that does not ask for READ WRITE explicitly. It is in the catalog, so it reaches the replica too: whoever is
promoted must be opened. https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-DEFAULT-TRANSACTION-READ-ONLY
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.reach import connect_to
from actions.db.replication import written
from actions.db.sessions import OF_OTHERS
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

STILL_SECONDS = 1.0
_SEEN = """
SELECT pg_is_in_recovery() AS in_recovery, d.datname AS name, pg_get_userbyid(d.datdba) AS owner,
  pg_has_role(current_user, d.datdba, 'MEMBER') AS may,
  EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = 0
    AND 'default_transaction_read_only=on' = ANY (s.setconfig)) AS fenced
FROM pg_database d WHERE d.datname = current_database()
"""
_WRITERS = f"{OF_OTHERS} AND a.datname = current_database()"
_SESSIONS = f"SELECT a.pid, extract(epoch FROM a.backend_start)::text AS began {_WRITERS}"
_END = f"SELECT a.pid, pg_terminate_backend(a.pid, 2000) AS ended {_WRITERS}"


@dataclass(frozen=True, kw_only=True)
class _Fencing(Action):
    """What both actions share."""

    database: DatabaseRef

    timeout: ClassVar[float] = 120.0
    settle: ClassVar[float] = 10.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:the database's owner", "postgresql:pg_signal_backend")

    @property
    def target(self) -> str:
        return str(self.database)

    async def observe(self, world: World) -> Facts:
        connections = await connect_to(world, self.database)
        (seen,) = await connections.ask(_SEEN)
        return {**seen, "sessions": await _sessions(connections)}

    def judge(self, facts: Facts) -> Finding | None:
        """Why neither can be done."""
        if facts["in_recovery"]:
            return stop(f"{self.database.instance} is a replica, which takes no writes and can't be told to.")
        if not facts["may"]:
            return stop(f"The bot's role isn't a member of {facts['owner']}, who owns the database. See docs/database-role.md.")
        return None


@dataclass(frozen=True, kw_only=True)
class Fence(_Fencing, kind="postgresql.fence"):
    """Fence a primary: new transactions are read-only, and the sessions of applications are ended."""

    @property
    def title(self) -> str:
        return f"Fence {self.database.instance}: no more writes"

    def command(self) -> str:
        return _shown("SET default_transaction_read_only = on", self.database)

    def precheck(self, facts: Facts) -> Finding:
        says = f"{count(len(facts['sessions']), 'session')} of applications will be ended"
        return self.judge(facts) or ok(f"{self.database.instance} takes writes; {says}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        connections = await connect_to(world, self.database)
        if not facts["fenced"]:
            await connections.change(_set(facts, "SET default_transaction_read_only = on"))
        try:
            ended = await connections.change(_END, timeout=30.0)
        except Refused as error:  # the first half happened
            raise Uncertain(str(error)) from error
        return {"ended": len(ended)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            now = await self.observe(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_fence(facts, now)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        said = "it was not checked"
        async for _ in world.ticks(timeout=self.timeout, at_least=15.0):
            proof = await self.applied(world, facts)
            said = proof.says
            if proof.verdict is not Verdict.DONE:
                continue
            try:
                said = await self._quiet(await connect_to(world, self.database))
            except Unreachable as error:
                said = str(error)
            if not said:
                return done(f"{self.database.instance} is fenced: {proof.says} No row was written within {STILL_SECONDS:g} s.")
        return failed(f"{self.database.instance} is not fenced: {said}")

    async def _quiet(self, connections: Connections) -> str:
        """Why it isn't quiet behind the fence; "" if it is."""
        if not (await connections.state()).read_only:
            return "new sessions may still write."
        before = await written(connections)
        await asyncio.sleep(STILL_SECONDS)
        rows = (await written(connections)).rows - before.rows
        return (
            f"{count(rows, 'row was', 'rows were')} written within {STILL_SECONDS:g} s; find who asks for READ WRITE."
            if rows
            else ""
        )


@dataclass(frozen=True, kw_only=True)
class Unfence(_Fencing, kind="postgresql.unfence"):
    """Open a promoted replica for writes, if it has the fence of its former primary; what was replicated includes it."""

    @property
    def title(self) -> str:
        return f"Open {self.database.instance} for writes"

    def command(self) -> str:
        return _shown("RESET default_transaction_read_only", self.database)

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["in_recovery"]:
            return stop(f"{self.database.instance} is still a replica.")
        if not facts["fenced"]:
            return already_done(f"{self.database.instance} has no fence.")
        return self.judge(facts) or ok(f"{self.database.instance} has the fence of its former primary.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        await (await connect_to(world, self.database)).change(_set(facts, "RESET default_transaction_read_only"))
        return {}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            now = await self.observe(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if now["fenced"]:
            return Proof(verdict=Verdict.NOT_DONE, says="Nothing changed: default_transaction_read_only is still set.")
        return Proof(verdict=Verdict.DONE, says="The fence is gone.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        said = "it was not checked"
        async for _ in world.ticks(timeout=self.timeout, at_least=10.0):
            try:
                if not (await (await connect_to(world, self.database)).state()).read_only:
                    return done(f"New sessions on {self.database.instance} may write.")
                said = "new sessions are still read-only."
            except Unreachable as error:
                said = str(error)
        return failed(f"{self.database.instance} is not open for writes: {said}")


@dataclass(frozen=True, kw_only=True)
class ReopenUnless(Unfence, kind="postgresql.reopen_unless_promoted"):
    """Take the fence away again if the run ended before the replica was promoted; once it is, the fence stays for good."""

    replica: DatabaseRef

    permissions: ClassVar[tuple[str, ...]] = (*_Fencing.permissions, "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Open {self.database.instance} again, unless {self.replica.instance} was promoted"

    async def observe(self, world: World) -> Facts:
        from actions.aws.promotion import was_promoted

        return {**await super().observe(world), "promoted": await was_promoted(world, self.replica)}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["promoted"]:
            return already_done(f"{self.replica.instance} was promoted, so {self.database.instance} stays fenced.")
        return super().precheck(facts)


def judge_fence(facts: Facts, now: Facts) -> Proof:
    """Whether the fence stands: the setting is there, and the sessions from before it are gone."""
    left = {(one["pid"], one["began"]) for one in facts["sessions"]} & {(one["pid"], one["began"]) for one in now["sessions"]}
    if not now["fenced"]:
        return Proof(verdict=Verdict.NOT_DONE, says="Nothing changed: default_transaction_read_only is not set.")
    if left:
        says = f"{count(len(left), 'session')} from before the fence may still write."
        return Proof(verdict=Verdict.NOT_DONE, says=says)
    ended = count(len(facts["sessions"]), "session has", "sessions have")
    return Proof(verdict=Verdict.DONE, says=f"Transactions are read-only, and {ended} ended.")


async def _sessions(connections: Connections) -> list[Facts]:
    return [dict(row) for row in await connections.ask(_SESSIONS)]


def _set(facts: Facts, what: str) -> str:
    """The statement as the database's owner; in READ WRITE, because the fence holds for us, too."""
    owner, name = (facts[key].replace('"', '""') for key in ("owner", "name"))
    return f'BEGIN READ WRITE; SET LOCAL ROLE "{owner}"; ALTER DATABASE "{name}" {what}; COMMIT'


def _shown(what: str, database: DatabaseRef) -> str:
    """The line that a person would type; psql puts the database's name in place of :"DBNAME"."""
    return f'echo \'ALTER DATABASE :"DBNAME" {what}\' | psql "${database.dsn_env}"'
