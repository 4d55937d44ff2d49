"""Scenario 2, the way back in time: restore the database to a moment, beside the one that stands, and let it take over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from actions.aws.deployments import Service, describe_service
from actions.aws.desired_count import SetDesiredCount
from actions.aws.drops import ChangeSettings
from actions.aws.instances import Described, find_instance
from actions.aws.restore_window import RestoreWindow, restore_window
from actions.aws.restores import RestoreToTime, SameSettings
from actions.aws.secrets import Leads, MoveStage, PutVersion, leads_to
from actions.aws.settings import copied, left_out, restorable
from actions.aws.snapshots import CreateSnapshot, Snapshot, snapshots_of
from actions.db.delayed import Delay
from actions.db.integrity import IntegrityHolds
from actions.db.restored import NobodyConnected, Recovered, TakesWrites
from actions.db.run_migrations import RunMigrations
from actions.db.take_over import TakeOver
from actions.health import HealthAnswers
from actions.site import DatabaseRef, ServiceSection
from actions.step import Step
from actions.values import Facts, Finding, Json, count, ok, stop, warn
from actions.world import World
from commands.copies import LONGEST_NAME, TAG, free_name, numbered, source_findings
from commands.delayed_replica import delay_findings, read_delay
from commands.facts import Fact, read
from commands.moments import EXPECTED, ago, clock, iso, moment, stamp
from commands.plan import Plan, Stage
from commands.restore_fence import fence, fence_findings, read_fence
from commands.restore_migrations import Migrated, migration_findings
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given

RESTORE = "database restore"
LATEST = "latest"  # as a time: the latest moment that RDS could restore to


@dataclass(frozen=True, kw_only=True)
class User:
    """A service that uses the database, and what was read of it."""

    site: ServiceSection
    service: Fact[Service]
    leads: Fact[Leads] | None

    @property
    def tasks(self) -> int | None:
        """How many tasks it wants; None if ECS doesn't say."""
        return self.service.value.desired if self.service.value else None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read for a restore, and the names that it will use."""

    database: DatabaseRef
    at: datetime
    now: datetime
    source: Fact[Described | None]
    snapshots: Fact[list[Snapshot]]
    window: Fact[RestoreWindow]
    users: tuple[User, ...]
    migrations: Migrated
    name: str
    delay: Fact[Delay] | None = None
    fence: Fact[Facts] | None = None

    @property
    def copy(self) -> DatabaseRef:
        """The restored database."""
        return replace(self.database, instance=self.name)


@scenario(RESTORE, form="time")
async def restore(world: World, *, time: str = "", database: str = "") -> Plan:
    """Restore the database to a moment, check the copy, and let it take over if an approver says so; the old one is kept."""
    meant, now = chosen_database(world, database), datetime.now(UTC)
    if not time:
        raise BadCommand(f"`/dr {RESTORE}` needs the time to go back to. {EXPECTED}.")
    at = await _latest(world, meant) if time == LATEST else moment(time, now)
    if at > now:
        raise BadCommand(f"{clock(at)} is in the future, and a restore goes back. {EXPECTED}.")
    return plan_for(world, await look(world, meant, at, now), given(time=iso(at), database=database))


async def _latest(world: World, database: DatabaseRef) -> datetime:
    """The latest moment that RDS could restore to. Raises `BadCommand` if that is not known."""
    found = await read("RDS", find_instance(world, database.instance, database.region), of=f"RDS in {database.region}")
    if found.value is None or found.value.restorable_to is None:
        why = found.error or f"RDS names none for {database.instance}."
        raise BadCommand(f"The latest restorable time is not known, so give a time yourself. {why}")
    return found.value.restorable_to.replace(microsecond=0)


async def look(world: World, database: DatabaseRef, at: datetime, now: datetime) -> Seen:
    """Read all sources at once; then find a name that is free."""
    name, region = database.instance, database.region
    async with asyncio.TaskGroup() as group:
        source = group.create_task(read("RDS", find_instance(world, name, region), of=f"RDS in {region}"))
        snapshots = group.create_task(read("RDS snapshots", snapshots_of(world, name, region), of=f"RDS in {region}"))
        window = group.create_task(read("The restore window", restore_window(world, name, region), of=f"RDS in {region}"))
        delay = group.create_task(read_delay(world, database))
        may_fence = group.create_task(read_fence(world, database))
        users = [group.create_task(_user(world, site, database)) for site in world.site.users_of(database)]
    return Seen(
        database=database,
        at=at,
        now=now,
        source=source.result(),
        snapshots=snapshots.result(),
        window=window.result(),
        users=tuple(user.result() for user in users),
        delay=delay.result(),
        fence=may_fence.result(),
        migrations=Migrated.of(world.site.migrations),
        name=await free_name(world, region, names(world, database, at)) if source.result().value else "",
    )


def plan_for(world: World, seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    findings = tuple(_findings(world, seen))
    possible = not any(finding.level == "stop" for finding in findings)
    return Plan(
        scenario=RESTORE,
        title=f"Restore {seen.database.instance} to {clock(seen.at)}",
        arguments=arguments,
        why=f"All that was committed after {clock(seen.at)} is given up: the last {ago(seen.at, seen.now)}.",
        target=str(seen.database),
        stages=_stages(seen) if possible else (),
        cleanup=tuple(stage for stage in (tuple(_started(seen)),) if stage and possible),
        basis=_basis(seen),
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        cost=_cost(seen),
        loss_seconds=max((seen.now - seen.at).total_seconds(), 0.0),
        interrupts=f"every write to {seen.database.instance}",
        confirm=f"{seen.database.instance} {seen.migrations.run}" if seen.migrations.risky else seen.database.instance,
    )


def _stages(seen: Seen) -> tuple[Stage, ...]:
    """Save what is, stop writers, restore beside, prove, ask, switch, start, prove again, fence the old one."""
    source = seen.source.value
    assert source is not None
    tag = f"{TAG}={seen.name}"
    instance, region = seen.database.instance, seen.database.region
    later = left_out(source.settings)
    healthy = [HealthAnswers(url=user.site.health_url) for user in seen.users if user.tasks]
    stages: list[tuple[Step, ...]] = [
        (CreateSnapshot(instance=instance, snapshot=_snapshot_name(seen), region=region),),
        tuple(_stopped(seen)),
        (
            RestoreToTime(
                source=instance,
                instance=seen.name,
                at=iso(seen.at),
                region=region,
                settings=restorable(source.settings),
                tags=copied(source.tags),
                tag=tag,
            ),
        ),
        (ChangeSettings(instance=seen.name, region=region, tag=tag, settings=later),) if later else (),
        (SameSettings(source=instance, instance=seen.name, region=region),),  # first: in the wrong network nobody sees the rest
        (Recovered(database=seen.copy),),
        (IntegrityHolds(database=seen.copy, minutes=20),),  # the service is down meanwhile, and the target is 30 min in all
        (_question(seen),),
        tuple(_versions(seen)),
        tuple(_migrated(seen)),  # before any service is led to the copy: a migration may go wrong
        tuple(_moves(seen)),
        tuple(_started(seen)),
        (TakesWrites(database=seen.copy), *healthy, NobodyConnected(database=seen.database)),
        fence(seen.database, seen.fence),
    ]
    return tuple(stage for stage in stages if stage)


def _stopped(seen: Seen) -> Iterator[Step]:
    for user in seen.users:
        yield SetDesiredCount(cluster=user.site.cluster, service=user.site.service, region=seen.database.region, count=0)


def _started(seen: Seen) -> Iterator[Step]:
    for user in seen.users:
        if user.tasks:
            region = seen.database.region
            yield SetDesiredCount(cluster=user.site.cluster, service=user.site.service, region=region, count=user.tasks)


def _versions(seen: Seen) -> Iterator[Step]:
    for secret, leads in _secrets(seen).items():
        yield PutVersion(
            secret_id=secret,
            region=seen.database.region,
            version=_version(seen, secret, leads),
            current=leads.version,
            instance=seen.name,
        )


def _moves(seen: Seen) -> Iterator[Step]:
    for secret, leads in _secrets(seen).items():
        yield MoveStage(
            secret_id=secret, region=seen.database.region, version=_version(seen, secret, leads), current=leads.version
        )


def _question(seen: Seen) -> TakeOver:
    folder, run = (seen.migrations.folder, seen.migrations.run) if seen.migrations.known else ("", "")
    return TakeOver(database=seen.copy, replaces=seen.database, at=iso(seen.at), migrations=folder, run=run)


def _migrated(seen: Seen) -> Iterator[Step]:
    found = seen.migrations
    for secret, leads in [*_secrets(seen).items()][:1] if found.known else []:  # any of them has the copy's address
        yield RunMigrations(
            database=seen.copy,
            folder=found.folder,
            run=found.run,
            known=found.known,
            secret_id=secret,
            version=_version(seen, secret, leads),
        )


def _secrets(seen: Seen) -> dict[str, Leads]:
    """The secrets that lead services to the database, each once."""
    return {user.site.database_secret: user.leads.value for user in seen.users if user.leads and user.leads.value}


def _version(seen: Seen, secret: str, leads: Leads) -> str:
    """The id of the secret's new version: always the same for the same switch, so that it is written once."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{secret}/{leads.version}/{seen.name}"))


def _snapshot_name(seen: Seen) -> str:
    """A name that no snapshot has: the present state is saved again each time."""
    taken = {snapshot.name for snapshot in seen.snapshots.value or []}
    return next(name for name in numbered(f"{seen.name}-before") if name not in taken)


def names(world: World, database: DatabaseRef, at: datetime) -> Iterator[str]:
    """What the copy may be called, the best first."""
    prefix = world.site.databases[database.name].restore_prefix or f"{database.instance}-restored"
    return numbered(f"{prefix[: LONGEST_NAME - 20].rstrip('-')}-{stamp(at)}")


def _basis(seen: Seen) -> dict[str, Json]:
    return {
        "tasks": {user.site.service: user.tasks for user in seen.users},
        "secret versions": {secret: leads.version for secret, leads in _secrets(seen).items()},
    }


def _cost(seen: Seen) -> tuple[str, ...]:
    services = " and ".join(user.site.service for user in seen.users) or "whatever uses it"
    return (
        f"{services} {'are' if len(seen.users) > 1 else 'is'} down until the copy has taken over, or the run ends. "
        "AWS often takes 10 to 60 min for a restore.",
        f"All that was committed after {clock(seen.at)} is not in the copy. It stays in {seen.database.instance}, which is kept.",
        "From now on you pay for a second instance and a snapshot, also after a No, until you delete what you don't need.",
    )


def _findings(world: World, seen: Seen) -> Iterator[Finding]:
    advice = f"Take an earlier time, or `time={LATEST}`."
    yield from source_findings(seen.database, seen.source, seen.at, seen.now, latest=advice)
    earliest = seen.window.value.earliest if seen.window.value else None
    if earliest and seen.at < earliest:
        yield stop(f"{seen.database.instance} has backups from {clock(earliest)} on, and {clock(seen.at)} is earlier.")
    for user in seen.users:
        yield from _user_findings(seen, user)
    if not seen.users:
        yield stop(
            f"No service of dr.toml uses {seen.database.name}, so I can't stop its writers. Look at [services.NAME] database."
        )
    yield from (fact.missing() for fact in (seen.snapshots, seen.window) if not fact.known)
    yield from delay_findings(world, seen.database, seen.delay, seen.at)
    yield from migration_findings(seen.migrations)
    yield from fence_findings(seen.database, seen.fence)
    variable, key = seen.database.dsn_env, f"[databases.{seen.database.name}] instance"
    says = f"When the copy has taken over, my own {variable} and {key} in dr.toml still mean {seen.database.instance}"
    yield warn(f"{says}, which lets nobody in by then. Change both by hand, and restart me.")


def _user_findings(seen: Seen, user: User) -> Iterator[Finding]:
    name, source = user.site.service, seen.source.value
    if user.tasks is None:
        yield stop(f"Service {name} could not be read, so I don't know how many tasks to start again.", user.service.error)
    elif user.tasks == 0:
        yield warn(f"Service {name} wants no task now, and I start none. Start it by hand when the copy has taken over.")
    else:
        tasks = count(user.tasks, "task")
        yield ok(f"Service {name} wants {tasks}. It's stopped during the restore, and gets {tasks} again however the run ends.")
    if user.leads is None:
        yield stop(f"[services.NAME] database_secret of {name} isn't set in dr.toml, so I can't lead it to the copy.")
    elif user.leads.value is None:
        yield stop(f"Secret {user.site.database_secret} could not be read, so I can't lead {name} to the copy.", user.leads.error)
    elif source is not None and (user.leads.value.host, user.leads.value.port) != (source.host, source.port):
        leads = f"{user.leads.value.host}:{user.leads.value.port}"
        says = f"Secret {user.site.database_secret} leads to {leads}, and {source.name} listens on {source.host}:{source.port}"
        yield stop(f"{says}. Look at [databases.{seen.database.name}] instance.")


async def _user(world: World, site: ServiceSection, database: DatabaseRef) -> User:
    secret, region = site.database_secret, database.region
    async with asyncio.TaskGroup() as group:  # at once: while AWS hangs, each takes as long as it may
        service = group.create_task(read("ECS service", describe_service(world, site.cluster, site.service, region)))
        leads = group.create_task(read(f"Secret {secret}", leads_to(world, secret, region))) if secret else None
    return User(site=site, service=service.result(), leads=leads.result() if leads else None)
