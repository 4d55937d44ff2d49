"""A database that another one has replaced is closed: nobody can connect to it any more, and it is kept. And the way back.

RDS gives no superuser, so the fence is `ALLOW_CONNECTIONS false`, which the database's owner may set from another database of the
same server. It keeps out superusers, too. https://www.postgresql.org/docs/current/sql-alterdatabase.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from psycopg import conninfo

from actions.db.diff_shape import quoted
from actions.db.psql import command as psql_command
from actions.db.reach import reach
from actions.db.restored import OnInstance
from actions.db.sessions import OF_OTHERS
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.db.connect import Connections
    from actions.world import World

FROM = "postgres"  # the database from which another one is closed; nobody can close the one that they are in
SEEN = """
SELECT d.datname AS name, pg_get_userbyid(d.datdba)::text AS owner, current_user::text AS ours,
  pg_has_role(current_user, d.datdba, 'MEMBER') AS may, NOT d.datallowconn AS closed
FROM pg_database d WHERE d.datname = %s
"""
SESSIONS = f"SELECT a.pid, extract(epoch FROM a.backend_start)::text AS began {OF_OTHERS} AND a.datname = %s"
END = f"SELECT a.pid, pg_terminate_backend(a.pid, 2000) AS ended {OF_OTHERS} AND a.datname = %s"


@dataclass(frozen=True, kw_only=True)
class CloseDatabase(OnInstance, Action, kind="postgresql.close_database"):
    """Close a database that another instance has replaced: nobody can connect to it, open sessions are ended, and it is kept."""

    timeout: ClassVar[float] = 120.0
    settle: ClassVar[float] = 10.0
    permissions: ClassVar[tuple[str, ...]] = (
        "postgresql:the database's owner",
        "postgresql:pg_signal_backend",
        "rds:DescribeDBInstances",
    )

    @property
    def title(self) -> str:
        return f"Fence {self.database.instance}: nobody can connect to it any more; it's kept"

    def command(self) -> str:
        lines = ("\\set old :DBNAME", f"\\connect {FROM}", 'ALTER DATABASE :"old" ALLOW_CONNECTIONS false')
        typed = " ".join(f"'{line}'" for line in lines)
        return f"printf '%s\\n' {typed} | psql \"${self.database.dsn_env}\"  # with host and port of {self.database.instance}"

    async def observe(self, world: World) -> Facts:
        return await look_at(world, self.database)

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["closed"] and not facts["sessions"]:
            return already_done(self._told(facts))
        if facts["refusal"]:
            return stop(facts["refusal"])
        return ok(f"{self.database.instance} lets people in; {count(len(facts['sessions']), 'session')} will be ended.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        connections = await reach(world, self.database, name=FROM)
        if not facts["closed"]:
            await connections.change(f"BEGIN; SET LOCAL ROLE {quoted(facts['owner'])}; {_alter(facts, 'false')}; COMMIT")
        try:
            left = await connections.ask(SESSIONS, [facts["name"]])
            ended = await connections.change(END, [facts["name"]], timeout=30.0) if left else []
        except (Refused, Unreachable) as error:  # the first half happened
            raise Uncertain(str(error)) from error
        return {"ended": len(ended)}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            now = await self.observe(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_closed(facts, now)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        said = "it was not checked."
        async for _ in world.ticks(timeout=self.timeout, at_least=15.0):
            try:
                now = await self.observe(world)
                said = _still_open(now) or await self._lets_in(world)
            except Unreachable as error:
                said = str(error)
            if not said:
                return done(self._told(facts))
        return failed(f"{self.database.instance} is not fenced: {said} Retry.")

    async def _lets_in(self, world: World) -> str:
        """Whom it still lets in: a connection is tried; "" if that is refused. The server itself has answered just before."""
        try:
            await (await reach(world, self.database)).state()
        except Unreachable:
            return ""
        return "a connection to it was accepted."

    def _told(self, facts: Facts) -> str:
        where = f"postgresql://{facts['owner']}@{facts['host']}:{facts['port']}/{FROM}"
        undo = f"`psql {where} {psql_command(_alter(facts, 'true'))}`"
        says = f"Nobody can connect to database {facts['name']} of {self.database.instance} any more, and all of it is kept."
        return f"{says} To read it, or before you point the secret back: {undo}"


async def look_at(world: World, database: DatabaseRef) -> Facts:
    """Whether the database is `closed`, its `sessions`, its `owner`, and why it can't be closed. Raises `Unreachable`."""
    connections = await reach(world, database, name=FROM)
    at = conninfo.conninfo_to_dict(connections.dsn)
    name = _name_of(world.database(database))
    facts: Facts = {"name": name, "host": at.get("host"), "port": at.get("port"), "sessions": [], "closed": False}
    rows = await connections.ask(SEEN, [name])
    if name == FROM or not rows:
        return facts | {
            "owner": "",
            "refusal": f"Database {name} of {database.instance} can't be closed from {FROM}. Do it by hand.",
        }
    facts |= {"owner": rows[0]["owner"], "closed": rows[0]["closed"], "refusal": _refusal(rows)}
    return facts | {"sessions": [dict(row) for row in await connections.ask(SESSIONS, [name])]}


def judge_closed(facts: Facts, now: Facts) -> Proof:
    """Whether the fence stands: the setting is there, and no session is left."""
    if said := _still_open(now):
        return Proof(verdict=Verdict.NOT_DONE, says=f"It is not closed: {said}")
    ended = count(len(facts["sessions"]), "session has", "sessions have")
    return Proof(verdict=Verdict.DONE, says=f"It lets nobody in, and {ended} ended.")


def _still_open(now: Facts) -> str:
    if not now["closed"]:
        return "it still allows connections."
    left = len(now["sessions"])
    return f"{count(left, 'session is', 'sessions are')} still there." if left else ""


def _refusal(rows: Sequence[Any]) -> str:
    owner, ours, may = (rows[0][key] for key in ("owner", "ours", "may"))
    return (
        ""
        if may
        else f"Only {owner}, who owns the database, may close it. Run GRANT {quoted(owner)} TO {quoted(ours)} WITH INHERIT FALSE."
    )


def _alter(facts: Facts, allowed: str) -> str:
    return f"ALTER DATABASE {quoted(facts['name'])} ALLOW_CONNECTIONS {allowed}"


def _name_of(connections: Connections) -> str:
    """The name of the database in its DSN."""
    parts = conninfo.conninfo_to_dict(connections.dsn)
    return str(parts.get("dbname") or parts.get("user") or FROM)
