"""Run a project's migrations on a restored copy before it takes over, and prove that they ran and emptied no table."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from actions.db.migrations import decides_itself, fingerprint, pending, project
from actions.db.reach import reach
from actions.errors import Refused, Uncertain, Unreachable
from actions.program import run_program
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

SECONDS = 900.0  # of this machine's clock
OTHERS = """
SELECT count(*)::int8 AS sessions FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
  AND application_name IS DISTINCT FROM 'dr-bot' AND usename !~ '^rds'
"""
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'drizzle')
  AND n.nspname !~ '^pg_' ORDER BY 1
"""
WORKED = ("Changes applied", "No changes detected")  # what `push` prints if it did what it wanted; it exits with 0 either way


@dataclass(frozen=True, kw_only=True)
class RunMigrations(Action, kind="migrations.run"):
    """Run the pending migrations on a restored copy, by the configured command, without a terminal.

    The command gets the address and credentials of the secret's new version in `DATABASE_URL`. `known` is the fingerprint of the
    project that was planned with: if somebody has changed it since, nothing is run.
    """

    database: DatabaseRef
    folder: str
    run: str
    known: str
    secret_id: str
    version: str

    timeout: ClassVar[float] = SECONDS
    settle: ClassVar[float] = 30.0
    plane: ClassVar[str] = "control"  # RDS gives the address, and Secrets Manager the credentials
    permissions: ClassVar[tuple[str, ...]] = (
        "secretsmanager:GetSecretValue",
        "rds:DescribeDBInstances",
        "postgresql:pg_read_all_data",
    )

    @property
    def region(self) -> str:
        """The region of the copy and of the secret."""
        return self.database.region

    @property
    def title(self) -> str:
        return f"Run the pending migrations on {self.database.instance}"

    @property
    def target(self) -> str:
        return str(self.database)

    def command(self) -> str:
        return (
            f"cd {shlex.quote(self.folder)} && DATABASE_URL='<version {self.version} of {self.secret_id}>' {self.run} </dev/null"
        )

    async def observe(self, world: World) -> Facts:
        migrations = project(self.folder)
        copy = await reach(world, self.database)
        (others,) = await copy.ask(OTHERS)
        return {
            "known": fingerprint(migrations),
            "pending": [one.tag for one in await pending(copy, migrations)],
            "others": others["sessions"],
            "filled": sorted(await _filled(copy)),
        }

    def precheck(self, facts: Facts) -> Finding | Outcome:
        if facts["known"] != self.known:
            return stop(f"The migrations in {self.folder} have changed since the plan was made. Plan again.")
        if facts["others"]:
            who = count(facts["others"], "other session is", "other sessions are")
            return stop(
                f"{who} connected to {self.database.instance}. Nobody should be yet; a migration may still run. Retry then."
            )
        if not facts["pending"] and not decides_itself(self.run):
            return already_done(f"No migration is pending on {self.database.instance}.")
        return ok(f"Pending on {self.database.instance}: {', '.join(facts['pending']) or 'what the command decides'}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        from actions.aws.secret_value import UnknownForm
        from actions.aws.secrets import dsn_in_version

        try:
            dsn = await dsn_in_version(world, self.secret_id, self.version, self.region)
        except (Unreachable, UnknownForm) as error:
            raise Refused(f"The command was not started. {error}") from error
        await world.gate.opened()
        environment = {"DATABASE_URL": dsn, "PGAPPNAME": "dr-bot-migrations", "CI": "1"}
        ended = await run_program(shlex.split(self.run), folder=self.folder, environment=environment, timeout=SECONDS)
        if ended.code:
            raise Uncertain(f"`{self.run}` exited with {ended.code}: {ended.last_line[:300] or 'it printed nothing'}")
        return {"worked": any(words in ended.output for words in WORKED), "said": ended.last_line[:300]}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            now = await self.observe(world)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if now["others"]:
            return Proof(
                verdict=Verdict.UNKNOWN, says=f"{self.database.instance} has another session: the command may still run."
            )
        if decides_itself(self.run):
            return Proof(verdict=Verdict.UNKNOWN, says=f"We can't tell whether `{self.run}` did what it was meant to do.")
        if not now["pending"]:
            return Proof(verdict=Verdict.DONE, says="No migration is pending any more.", receipt={"worked": True, "said": ""})
        if now["pending"] == facts["pending"] and not _emptied(facts, now):
            return Proof(verdict=Verdict.NOT_DONE, says=f"Still pending: {', '.join(now['pending'])}.")
        return Proof(verdict=Verdict.UNKNOWN, says=f"Only a part ran; still pending: {', '.join(now['pending'])}.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        """An empty list is the proof, and that no table was emptied: neither the exit code nor what is printed is one."""
        try:
            now = await self.observe(world)
        except Unreachable as error:
            return failed(f"Whether the migrations ran could not be read. {error}")
        if emptied := _emptied(facts, now):
            return failed(self._emptied(emptied))
        if now["pending"]:
            return failed(
                f"`{self.run}` exited with 0, but these are still pending: {', '.join(now['pending'])}. {receipt['said']}".strip()
            )
        if decides_itself(self.run) and not receipt.get("worked"):
            return failed(f"`{self.run}` exited with 0 and did not say that it applied its changes: {receipt['said']}")
        ran = ", ".join(facts["pending"]) or "what the command decided"
        return done(f"Ran {ran} on {self.database.instance}. Nothing is pending, and no table was emptied.")

    def _emptied(self, tables: str) -> str:
        return (
            f"The migrations emptied or dropped {tables} on {self.database.instance}. No service was led to it yet: after an "
            "Abort they go on with the old database. Skip only if this was meant."
        )


def _emptied(before: Facts, now: Facts) -> str:
    """The tables that held rows before the command ran first, and hold none now."""
    return ", ".join(sorted({*before["filled"]} - {*now["filled"]}))


async def _filled(copy: Any) -> set[str]:
    """The tables that hold rows."""
    names = [row["name"] for row in await copy.ask(TABLES)]
    if not names:
        return set()
    asked = " UNION ALL ".join(
        f"SELECT {number} AS number, EXISTS (SELECT 1 FROM {name}) AS has" for number, name in enumerate(names)
    )
    return {names[row["number"]] for row in await copy.ask(asked) if row["has"]}
