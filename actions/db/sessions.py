"""End sessions that hold a connection slot and do nothing: idle in a transaction, for longer than was agreed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from actions.db.psql import psql
from actions.errors import Unreachable
from actions.scrub import MASK, scrub
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Json, Outcome, Proof, Verdict, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

IDLE = (
    "state IN ('idle in transaction', 'idle in transaction (aborted)') AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid() AND usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper OR rolreplication)"
)
# Sessions of clients that are neither ours, nor a superuser's, nor RDS's own: those that a fence ends and a restore looks for.
OF_OTHERS = """FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.usename <> current_user
  AND NOT r.rolsuper AND r.rolname !~ '^rds'"""
BEGAN, SINCE = "extract(epoch FROM backend_start)::text", "extract(epoch FROM state_change)::text"  # whatever the time zone
LISTED = f"pid, {BEGAN} AS backend_start, state, {SINCE} AS since, application_name AS application"
_LIKE, _ESCAPED = re.compile(r"[\\%_]"), r"\\\g<0>"  # what means something in a pattern of LIKE


@dataclass(frozen=True, kw_only=True)
class IdleSession:
    """A session idle in a transaction: for how many seconds, and how old its transaction is."""

    application: str
    idle_seconds: float
    transaction_seconds: float


async def idle_sessions(world: World, database: DatabaseRef, *, idle_for_seconds: int = 0) -> list[IdleSession]:
    """The sessions idle in a transaction for at least so long, the longest first."""
    rows = await world.database(database).ask(f"""
        SELECT application_name AS application, extract(epoch FROM now() - state_change)::float8 AS idle_seconds,
          extract(epoch FROM now() - xact_start)::float8 AS transaction_seconds
        FROM pg_stat_activity WHERE {IDLE} AND state_change <= now() - interval '{int(idle_for_seconds)} s'
        ORDER BY state_change""")
    return [IdleSession(**_scrubbed(row)) for row in rows]


@dataclass(frozen=True, kw_only=True)
class EndIdleSessions(Action, kind="postgresql.end_idle_sessions"):
    """End the sessions of these applications that are idle in a transaction; each one's transaction is rolled back.

    The shown statement is what runs, narrowed to the sessions that were recorded before.
    """

    database: DatabaseRef
    applications: tuple[str, ...]
    idle_for_seconds: int
    at_most: int

    timeout: ClassVar[float] = 60.0
    settle: ClassVar[float] = 5.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("postgresql:pg_monitor", "postgresql:pg_signal_backend")

    @property
    def title(self) -> str:
        of = [name or "(no name)" for name in self.applications]
        whose = " and ".join(of) if 0 < len(of) <= 2 else count(len(of), "application")
        return f"End up to {self.at_most} idle sessions of {whose}"

    @property
    def target(self) -> str:
        return f"sessions of {self.database}"

    def command(self) -> str:
        return psql(self.statement(), self.database.dsn_env)

    def statement(self, recorded: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The one SQL statement; with `recorded` it touches only those sessions, and only if they are still the same."""
        only = "" if recorded is None else f" AND {_same(recorded)}"
        chosen = f"SELECT pid FROM pg_stat_activity WHERE {self._which()}{only} ORDER BY state_change LIMIT {self.at_most}"
        return f"WITH chosen AS MATERIALIZED ({chosen}) SELECT pid, pg_terminate_backend(pid, 2000) AS ended FROM chosen"

    async def observe(self, world: World) -> Facts:
        sql = f"SELECT {LISTED} FROM pg_stat_activity WHERE {self._which()} ORDER BY state_change"
        return {"sessions": [_scrubbed(row) for row in await world.database(self.database).ask(sql)]}

    def precheck(self, facts: Facts) -> Finding:
        matching = len(facts["sessions"])
        if matching > self.at_most:
            return stop(f"{matching} sessions match now, and at most {self.at_most} were approved; plan again.")
        if matching == 0:
            return ok("No session matches any more, so there is nothing to end.")
        match = count(matching, "session matches", "sessions match")
        return ok(f"{match}, at most {self.at_most} were approved.", _by_application(facts["sessions"]))

    async def apply(self, world: World, facts: Facts) -> Facts:
        if not facts["sessions"]:
            return {"ended": 0}
        rows = await world.database(self.database).change(self.statement(facts["sessions"]), timeout=30.0)
        return {"ended": sum(bool(row["ended"]) for row in rows)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        recorded = facts["sessions"]
        if not recorded:
            return Proof(verdict=Verdict.DONE, says="There was no session to end.")
        try:
            rows = await world.database(self.database).ask(f"SELECT {LISTED} FROM pg_stat_activity WHERE {_alive(recorded)}")
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_sessions(recorded, [_scrubbed(row) for row in rows])

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        proof = Proof(verdict=Verdict.UNKNOWN, says="it was not checked")
        async for _ in world.ticks(timeout=self.timeout, at_least=10.0):
            proof = await self.applied(world, facts)
            if proof.verdict is Verdict.DONE:
                return done(proof.says)
        return failed(proof.says)

    def _which(self) -> str:
        named = _named(self.applications)
        return f"{IDLE} AND {named} AND state_change < now() - interval '{int(self.idle_for_seconds)} s'"


def judge_sessions(recorded: Sequence[Mapping[str, Json]], alive: Sequence[Mapping[str, Json]]) -> Proof:
    """Whether the recorded sessions are gone. One that has gone back to work since was left alone."""
    idle = {(row["pid"], row["backend_start"], row["since"]) for row in recorded}
    left = [row for row in alive if (row["pid"], row["backend_start"], row["since"]) in idle]
    ended = f"{len(recorded) - len(alive)} of {count(len(recorded), 'session has', 'sessions have')} ended"
    ended = f"{len(recorded) - len(alive)} of {count(len(recorded), 'session has', 'sessions have')} ended"
    if left:
        left_over = f"{len(left)} {'is' if len(left) == 1 else 'are'} still idle in a transaction ({_by_application(left)})"
        return Proof(verdict=Verdict.NOT_DONE, says=f"{ended}, {left_over}.")
    spared = f", {count(len(alive), 'works again and was', 'work again and were')} left alone" if alive else ""
    return Proof(verdict=Verdict.DONE, says=f"{ended}{spared}.")


def _same(recorded: Sequence[Mapping[str, Any]]) -> str:
    rows = ", ".join(f"({int(r['pid'])}, {_quoted(r['backend_start'])}, {_quoted(r['since'])})" for r in recorded)
    return f"(pid, {BEGAN}, {SINCE}) IN ({rows})"


def _alive(recorded: Sequence[Mapping[str, Any]]) -> str:
    rows = ", ".join(f"({int(r['pid'])}, {_quoted(r['backend_start'])})" for r in recorded)
    return f"(pid, {BEGAN}) IN ({rows})"


def _by_application(sessions: Sequence[Mapping[str, Json]]) -> str:
    names = [str(session["application"]) or "(no name)" for session in sessions]
    return ", ".join(f"{names.count(name)} of {name}" for name in dict.fromkeys(names))


def _scrubbed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its application's name as it may be shown: people put all kinds of things into it."""
    return {**row, "application": scrub(row["application"] or "")}


def _named(applications: Sequence[str]) -> str:
    """The condition on the name. Of one that holds a secret only the rest is known, and it must be enough to tell it apart."""
    masked = [name for name in applications if MASK in name and len(name.replace(MASK, "")) >= 4]
    exactly = ", ".join(_quoted(name) for name in applications if name not in masked) or "NULL"
    condition = f"application_name IN ({exactly})"
    alike = [f"application_name LIKE {_quoted(_LIKE.sub(_ESCAPED, name).replace(MASK, '%'))}" for name in masked]
    return f"({' OR '.join([condition, *alike])})" if alike else condition


def _quoted(text: str) -> str:
    """A string literal of SQL; with standard_conforming_strings, which is the default, only the quote is special."""
    return "'" + text.replace("'", "''") + "'"
