"""The way home: the old region becomes a replica of what serves, and takes over again without loss once it has caught up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from actions.aws.desired_count import SetDesiredCount, StartUnless
from actions.aws.drops import ChangeSettings
from actions.aws.instances import find_instance
from actions.aws.promotion import CreateReplica, ReplicaSeen, of_replicas
from actions.aws.secrets import Leads, MoveStage, PutVersion, leads_to
from actions.aws.settings import Settings, copied
from actions.aws.unprotected import Unprotected
from actions.db.counts import CountsHold
from actions.db.fence import Fence, ReopenUnless
from actions.db.integrity import IntegrityHolds
from actions.db.replica import CaughtUp, KeepsUp, SwitchNow
from actions.health import HealthAnswers
from actions.site import DatabaseRef, ServiceSection
from actions.step import Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.copies import LONGEST_NAME, TAG, numbered
from commands.facts import Fact, read
from commands.plan import Plan, Stage
from commands.region import stages
from commands.region.findings import kept_findings, name_findings, region_findings
from commands.region.meant import Meant
from commands.region.seen import SOURCE_SECONDS, Seen, look
from commands.region.stability import stands_on
from commands.region.stages import INTEGRITY_MINUTES, Move, whole
from commands.scenario import scenario
from commands.shared import chosen_database, given

FAILBACK = "region failback"
SET_AFTERWARDS = ("BackupRetentionPeriod", "PreferredBackupWindow", "MultiAZ", "DeletionProtection")


@dataclass(frozen=True, kw_only=True)
class Home:
    """What a failback needs besides: the names of the new database at home and of its replica, and the secrets at home."""

    seen: Seen
    new: str
    new_replica: str
    leads: tuple[tuple[ServiceSection, Fact[Leads]], ...]

    @property
    def serving(self) -> DatabaseRef:
        """The database that serves now, in the DR region."""
        return self.seen.meant.replica

    @property
    def home(self) -> DatabaseRef:
        """The new database at home."""
        return replace(self.seen.meant.primary, instance=self.new)

    @property
    def settings(self) -> Settings:
        """How the old database at home was set up: as RDS says, or as it was kept."""
        if self.seen.instance.value is not None:
            return self.seen.instance.value.settings
        return dict(self.seen.kept.facts.get("settings", {})) if self.seen.kept else {}


@scenario(FAILBACK)
async def failback(world: World, *, database: str = "") -> Plan:
    """Go back home: fence the old database, make the old region a replica, let it catch up, and switch over without loss."""
    meant = Meant.of(world.site, chosen_database(world, database))
    return plan_for(world, await find_home(world, meant), given(database=database))


async def find_home(world: World, meant: Meant) -> Home:
    """What was read in both regions, and names that are free, or that an earlier run of ours has begun with."""
    seen = await look(world, meant)
    home, day = meant.primary, f"{seen.now:%Y%m%d}"
    secrets = [(user.site, user.site.database_secret) for user in seen.users if user.site.database_secret]
    async with asyncio.TaskGroup() as group:
        new = group.create_task(_name(world, home.region, f"{home.instance}-back-{day}"))
        new_replica = group.create_task(_name(world, meant.replica.region, f"{meant.replica.instance}-{day}"))
        leads = [
            group.create_task(read(f"Secret {secret}", leads_to(world, secret, home.region), timeout=SOURCE_SECONDS))
            for _, secret in secrets
        ]
    found = tuple((site, task.result()) for (site, _), task in zip(secrets, leads, strict=True))
    return Home(seen=seen, new=new.result(), new_replica=new_replica.result(), leads=found)


def plan_for(world: World, home: Home, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    seen, meant = home.seen, home.seen.meant
    findings = tuple(_findings(home))
    possible = not any(finding.level == "stop" for finding in findings)
    plan = Plan(
        scenario=FAILBACK,
        title=f"Go back to {meant.primary.region} with {home.new}, losing nothing",
        arguments=arguments,
        why=f"{meant.replica.instance} in {meant.replica.region} serves, and nothing protects it in another region.",
        target=str(meant.primary),
        locks=(*meant.locks, str(home.home)),
        stages=_stages(world, home) if possible else (),
        cleanup=_cleanup(home) if possible else (),
        basis={"secrets": {site.service: leads.value.version if leads.value else None for site, leads in home.leads}},
        identity={"DbiResourceId of what serves": seen.replica.value.resource_id if seen.replica.value else ""},
        findings=findings,
        cost=_cost(home),
        interrupts=f"the service in {meant.replica.region}",
        confirm=home.new,
    )
    return replace(plan, findings=(*findings, stands_on(plan, world.site))) if possible else plan


def _stages(world: World, home: Home) -> tuple[Stage, ...]:
    """Fence what is left at home, build it again, ask, and then the same as any switchover; at last a replica once more."""
    seen, serving, new = home.seen, home.serving, home.home
    there = seen.replica.value
    assert there
    move = Move(source=serving, takes_over=new, value=seen.meant.dns.primary if seen.meant.dns else "", was=_was(seen))
    return whole(
        tuple(_counts(home, new.region, stop_all=True)),  # what came back with the region would write to the old database
        (Fence(database=seen.meant.primary),) if seen.primary_answers else (),
        (_create(home, new, serving, there, home.settings),),
        (KeepsUp(database=new, original=serving),),
        tuple(_versions(home)),  # nobody reads it yet; after its promotion RDS is busy with the first backup for a while
        (SwitchNow(database=new, original=serving),),
        tuple(_counts(home, serving.region, stop_all=True)),
        (Fence(database=serving),),
        (CaughtUp(database=new, original=serving),),
        *stages.promoted(world, new),
        tuple(_moves(home)),
        tuple(_counts(home, new.region, stop_all=False)),
        tuple[Step, ...](HealthAnswers(url=user.site.region_health_url) for user in seen.users if user.site.region_health_url),
        (
            CountsHold(
                database=new,
                known_as=seen.meant.primary.name,
                percent=world.site.databases[seen.meant.primary.name].verify_percent,
            ),
            IntegrityHolds(database=new, minutes=INTEGRITY_MINUTES),
        ),
        *stages.named(seen.name.value if seen.name else None, seen, move),
        tuple(HealthAnswers(url=user.site.health_url) for user in seen.users),
        *_protected(world, home),
    )


def _protected(world: World, home: Home) -> Iterator[Stage]:
    """Protection as it was: Multi-AZ and backups of the new database, and a replica in the DR region."""
    new, serving = home.home, home.serving
    later = {name: home.settings[name] for name in SET_AFTERWARDS if name in home.settings}
    if later:
        yield (ChangeSettings(instance=home.new, region=new.region, tag=f"{TAG}={home.new}", settings=later),)
    there = home.seen.replica.value
    assert there
    arn = there.arn.replace(f":{serving.region}:", f":{new.region}:").replace(f":db:{serving.instance}", f":db:{new.instance}")
    replica = replace(serving, instance=home.new_replica)
    yield (_create(home, replica, new, replace(there, arn=arn), there.settings),)
    yield (KeepsUp(database=replica, original=new),)
    retention = min(world.site.targets.retention_days, 35)
    yield (Unprotected(database=new, old=serving.instance, old_region=serving.region, retention=retention, fenced=True),)


def _create(home: Home, new: DatabaseRef, original: DatabaseRef, seen: ReplicaSeen, settings: Settings) -> CreateReplica:
    tags = home.seen.instance.value.tags if home.seen.instance.value else {}
    return CreateReplica(
        region=new.region,
        instance=new.instance,
        original=original,
        source_arn=seen.arn,
        settings={**of_replicas(settings, other_region=False), "MultiAZ": False, "DeletionProtection": False},
        tags=copied(tags),
        tag=f"{TAG}={new.instance}",
    )


def _counts(home: Home, region: str, *, stop_all: bool) -> Iterator[Step]:
    for user in home.seen.users:
        tasks = _tasks(home, user.site)
        if stop_all or tasks:
            yield SetDesiredCount(
                cluster=user.site.cluster, service=user.site.service, region=region, count=0 if stop_all else tasks
            )


def _tasks(home: Home, site: ServiceSection) -> int:
    """How many tasks a service has in the DR region now; as many it gets at home."""
    user = next(user for user in home.seen.users if user.site == site)
    return user.dr_service.value.desired if user.dr_service.value else 0


def _versions(home: Home) -> Iterator[Step]:
    for site, leads in home.leads:
        if leads.value:
            names = {"secret_id": site.database_secret, "region": home.home.region, "current": leads.value.version}
            yield PutVersion(**names, version=_version(home, site, leads.value), instance=home.new)


def _moves(home: Home) -> Iterator[Step]:
    for site, leads in home.leads:
        if leads.value:
            names = {"secret_id": site.database_secret, "region": home.home.region, "current": leads.value.version}
            yield MoveStage(**names, version=_version(home, site, leads.value))


def _version(home: Home, site: ServiceSection, leads: Leads) -> str:
    """The id of the secret's new version: the same for the same move, so that it is written once."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{site.database_secret}/{leads.version}/{home.new}"))


def _cleanup(home: Home) -> tuple[Stage, ...]:
    """If it ends before the promotion, what serves now goes on serving."""
    starts = tuple[Step, ...](
        StartUnless(
            cluster=user.site.cluster,
            service=user.site.service,
            region=home.serving.region,
            count=_tasks(home, user.site),
            replica=home.home,
        )
        for user in home.seen.users
        if _tasks(home, user.site)
    )
    return whole((ReopenUnless(database=home.serving, replica=home.home),), starts)


def _was(seen: Seen) -> str:
    name = seen.name.value if seen.name else None
    return (name.values[0] if name and name.values else seen.meant.dns.dr if seen.meant.dns else "").lower()


async def _name(world: World, region: str, wanted: str) -> str:
    """The first name that no instance has, or that one has which a run of ours made under it and did not finish with."""
    for name in numbered(wanted[: LONGEST_NAME - 4]):
        found = await read("RDS", find_instance(world, name, region), timeout=SOURCE_SECONDS)
        if found.value is None or (found.value.has_tag(f"{TAG}={name}") and found.value.status != "deleting"):
            return name
    raise AssertionError("There is always a next name.")


# What is said -------------------------------------------------------------------------------------------------------------


def _findings(home: Home) -> Iterator[Finding]:
    seen, meant = home.seen, home.seen.meant
    yield from region_findings(seen)
    if not seen.position.known:
        yield stop(f"{meant.replica.instance} does not answer, so nobody knows whether it serves.", seen.position.error)
    elif not seen.promoted:
        yield stop(
            f"{meant.replica.instance} is a replica: {meant.primary.instance} serves, and there is nothing to come back from."
        )
    if not seen.replica.known or seen.replica.value is None:
        yield stop(f"RDS in {meant.replica.region} could not be read.", seen.replica.error)
    if not seen.instance.known and "NotFound" not in seen.instance.error:
        yield stop(f"RDS in {meant.primary.region} does not answer yet. Plan again when the region is back.", seen.instance.error)
    if not home.settings:
        yield stop(f"Nobody knows how {meant.primary.instance} was set up, so a new one would be in the wrong network.")
    yield from _old_findings(home)
    for site, leads in home.leads:
        if leads.value is None:
            yield stop(f"Secret {site.database_secret} in {meant.primary.region} could not be read.", leads.error)
    for user in seen.users:
        if not _tasks(home, user.site):
            yield stop(
                f"ECS in {meant.replica.region} doesn't say how many tasks of {user.site.service} run there.",
                user.dr_service.error,
            )
    yield from name_findings(seen)
    yield from kept_findings(seen)
    yield warn(
        f"Afterwards dr.toml still means the old ones: set [databases.{meant.primary.name}] instance to {home.new} and "
        f"[databases.{meant.replica.name}] instance to {home.new_replica}, lead {meant.primary.dsn_env} and "
        f"{meant.replica.dsn_env} there, and restart me."
    )


def _old_findings(home: Home) -> Iterator[Finding]:
    """What is left of the old database at home: two that take writes are the worst that can be."""
    seen, old = home.seen, home.seen.meant.primary.instance
    if seen.server.value is None:
        yield warn(f"{old} can't be reached, so it isn't fenced. See that nothing there is started.", seen.server.error)
    elif not seen.primary_answers:
        yield ok(f"{old} is a standby and takes no writes.")
    elif seen.server.value.read_only:
        yield ok(f"{old} is fenced: it takes no writes. It is kept.")
    else:
        yield warn(
            f"{old} takes writes beside {home.serving.instance}. The first step fences it; it is kept for what it has alone."
        )


def _cost(home: Home) -> tuple[str, ...]:
    region = home.seen.meant.replica.region
    return (
        "AWS often takes an hour or more to make a replica in another region. All goes on meanwhile, and you are asked before "
        "the switch.",
        "After a Yes nobody can write until the service runs at home: some minutes. "
        f"The service in {region} is stopped, not removed.",
        f"{home.seen.meant.primary.instance} and {home.serving.instance} are kept, fenced. They cost until you delete them.",
    )
