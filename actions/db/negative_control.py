"""The negative control of a verification: would the suite have noticed? A damaged copy is planted, and it must be found.

The damage goes into a scratch database of the temporary instance, which is dropped with it. Nothing is planted anywhere else:
an instance without the verification's tag is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.damages import SOUND, Damage, chosen
from actions.db.integrity import integrity
from actions.db.integrity_catalog import AMCHECK
from actions.db.psql import psql
from actions.db.reach import reach
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import DatabaseRef
from actions.step import Action, Check
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

SCRATCH = "dr_verify_control"
SECONDS = 120.0  # for one statement on a fresh copy, whose pages are fetched when they are first read
MAKER = """
SELECT (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_create,
  pg_is_in_recovery() AS in_recovery, current_user::text AS role, (SELECT count(*) FROM pg_database WHERE datname = %s) AS there,
  (SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s) AS planted
"""


@dataclass(frozen=True, kw_only=True)
class _Control:
    """What both steps say. `seed` decides which kind of damage is planted and must be found."""

    database: DatabaseRef
    seed: str

    plane: ClassVar[str] = "control"  # RDS gives the address

    @property
    def region(self) -> str:
        """The region of the instance."""
        return self.database.region

    @property
    def target(self) -> str:
        """The scratch database."""
        return f"scratch database {SCRATCH} of {self.database.instance}"

    @property
    def kind_of_damage(self) -> str:
        """Which damage, in words."""
        kind, other = chosen(self.seed, amcheck=True), chosen(self.seed, amcheck=False)
        return kind.name if kind is other else f"{kind.name} (without amcheck: {other.name})"


@dataclass(frozen=True, kw_only=True)
class PlantDamage(_Control, Action, kind="postgresql.plant_damage"):
    """Plant damage in a scratch database of a temporary instance that this run made, of the kind that a seed decides.

    An instance without the run's tag (KEY=VALUE) is refused.
    """

    tag: str

    timeout: ClassVar[float] = 600.0
    settle: ClassVar[float] = 30.0
    touches_production: ClassVar[bool] = False  # it refuses what doesn't carry the run's tag
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances", "postgresql:CREATEDB")

    @property
    def title(self) -> str:
        return f"Plant damage on purpose in a scratch database of temporary {self.database.instance}: {self.kind_of_damage}"

    def command(self) -> str:
        made = psql(f"CREATE DATABASE {SCRATCH}", self.database.dsn_env)
        return f"{made}  # with host and port of {self.database.instance}; there: {chosen(self.seed, amcheck=True).sql}"

    async def observe(self, world: World) -> Facts:
        from actions.aws.instances import find_instance

        found = await find_instance(world, self.database.instance, self.database.region)
        if found is None or not found.has_tag(self.tag):
            return {"found": found is not None, "ours": False}
        (row,) = await (await reach(world, self.database)).ask(MAKER, [SCRATCH, SCRATCH])
        return {"found": True, "ours": True, **row, "there": bool(row["there"]), "planted": row["planted"] or ""}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        name = self.database.instance
        if not facts["found"]:
            return stop(f"RDS in {self.region} has no database {name}.")
        if not facts["ours"]:
            return stop(f"{name} does not carry the tag {self.tag}, so this run did not make it. It is left alone.")
        if facts["in_recovery"]:
            return stop(f"{name} is still in recovery and takes no writes. Retry later.")
        if facts["planted"]:
            return already_done(f"{facts['planted']} were planted on {name} before.")
        if not facts["may_create"]:
            return stop(_no_right(facts["role"], name))
        return ok(f"{name} carries the tag {self.tag} and has no damage of ours yet.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        if not facts["there"]:
            await (await reach(world, self.database)).change(f"CREATE DATABASE {SCRATCH}", timeout=SECONDS)
        scratch = await reach(world, self.database, name=SCRATCH)
        amcheck = any(row["name"] == "bt_index_check" and row["allowed"] for row in await scratch.ask(AMCHECK))
        damage = chosen(self.seed, amcheck=amcheck)
        mark = f"COMMENT ON DATABASE {SCRATCH} IS '{damage.name}'"
        try:
            await scratch.change(f"{SOUND} {damage.sql}; {mark}", timeout=SECONDS)  # one transaction: all of it or nothing
        except Refused as error:
            raise Uncertain(f"Scratch database {SCRATCH} is there, but empty. {error}") from error
        return {"planted": damage.name}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            planted = await _planted(world, self.database)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        if planted:
            return Proof(verdict=Verdict.DONE, says=f"It holds {planted}.", receipt={"planted": planted})
        return Proof(verdict=Verdict.NOT_DONE, says=f"No damage was planted on {self.database.instance}.")

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        proof = await self.applied(world, facts)
        if proof.verdict is Verdict.DONE:
            return done(f"Scratch database {SCRATCH} of {self.database.instance} holds {proof.receipt['planted']}.")
        return failed(proof.says)


@dataclass(frozen=True, kw_only=True)
class DamageIsFound(_Control, Check, kind="postgresql.damage_is_found"):
    """Check that the integrity suite rejects the planted damage, and for the right reason; otherwise its word proves nothing."""

    timeout: ClassVar[float] = 1800.0
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances", "postgresql:pg_read_all_data")

    @property
    def title(self) -> str:
        return f"Check that the integrity suite rejects what was planted on {self.database.instance}"

    def command(self) -> str:
        return f"# on {self.database.instance}, database {SCRATCH}: the integrity suite, which must find {self.kind_of_damage}"

    async def look(self, world: World) -> Outcome:
        try:
            planted = await _planted(world, self.database)
        except Unreachable as error:
            return failed(f"The negative control could not be made: {error}")
        damage = next((one for one in _possible(self.seed) if one.name == planted), None)
        if damage is None:
            return failed(f"The negative control could not be made: no damage was planted on {self.database.instance}.")
        return judge_control(await integrity(world, self.database, timeout=self.timeout, name=SCRATCH), damage)


def judge_control(results: Sequence[CheckResult], damage: Damage) -> Outcome:
    """Done only if the check that is meant for this damage failed, on its object, and nothing else did."""
    wrong = [one for one in results if one.verdict is CheckVerdict.FAILED]
    found = next((one for one in wrong if (one.name, one.object) == (damage.check, damage.object)), None)
    others = [one for one in wrong if one.object != damage.object]
    passed = sum(one.verdict is CheckVerdict.OK for one in results)
    if found is None:
        what = f"The integrity suite was to find {damage.name} ({damage.check} {damage.object}), and it did not"
        instead = f" It said instead: {others[0].name} {others[0].object}: {others[0].says}" if others else ""
        return failed(f"{what}: what it calls whole may be damaged.{instead}")
    if others or not passed:
        named = ", ".join(f"{one.name} {one.object}: {one.says}" for one in others) or "no check passed."
        return failed(f"The integrity suite found {damage.name}, and more that nobody planted, so it proves nothing. {named}")
    told = f"{found.name} {found.object}: {found.says}"
    return done(f"The integrity suite found {damage.name}. {told} {count(passed, 'other check')} passed.")


async def may_create_databases(world: World, database: DatabaseRef) -> bool:
    """Whether our role may create databases on this server: a copy of it has the same rights. Raises `Unreachable`."""
    (row,) = await world.database(database).ask(MAKER, [SCRATCH, SCRATCH])
    return bool(row["may_create"])


async def _planted(world: World, database: DatabaseRef) -> str:
    """What was planted, by the mark that was written together with it; "" if nothing was."""
    (row,) = await (await reach(world, database)).ask(MAKER, [SCRATCH, SCRATCH])
    return str(row["planted"] or "")


def _possible(seed: str) -> tuple[Damage, Damage]:
    return chosen(seed, amcheck=True), chosen(seed, amcheck=False)


def _no_right(role: str, instance: str) -> str:
    return (
        f"Our role may not create a database on {instance}, so the negative control can't be made. Run ALTER ROLE {role} "
        "CREATEDB in the database that it is a copy of, and verify a snapshot that is taken afterwards."
    )
