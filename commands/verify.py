"""Scenario 6: prove that a backup can be restored, on a temporary instance that is dropped again. Production isn't touched."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from actions.aws.call import Call
from actions.aws.drops import DropInstance
from actions.aws.instances import Described, find_instance, instances_with_tag
from actions.aws.restores import RestoreSnapshot, SameSettings
from actions.aws.settings import LEFT_OUT_OF_SNAPSHOTS, copied, restorable
from actions.aws.snapshots import Snapshot, find_snapshot, snapshots_of
from actions.base import Finding, Json, ok, stop, warn
from actions.db.evidence import HoldsEnough
from actions.db.integrity import IntegrityHolds
from actions.db.negative_control import DamageIsFound, PlantDamage, may_create_databases
from actions.db.restored import Recovered
from actions.site import DatabaseRef
from actions.world import World
from commands.copies import LONGEST_NAME, free_name
from commands.facts import Fact, read
from commands.memory import VERIFICATION, verified_target
from commands.moments import ago, clock, iso
from commands.plan import Plan, Stage
from commands.scenario import scenario
from commands.shared import chosen_database, given

TAG = "dr-verify"  # not dr-run: a restored copy that became production keeps that one, and is never to be dropped
AUTOMATED = "automated"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read for a verification. `wanted` is the snapshot that was asked for, "" for the newest automated one."""

    database: DatabaseRef
    wanted: str
    now: datetime
    source: Fact[Described | None]
    snapshot: Fact[Snapshot | None]
    left_over: Fact[list[Described]]
    may_create: Fact[bool]
    name: str

    @property
    def copy(self) -> DatabaseRef:
        """The temporary instance."""
        return replace(self.database, instance=self.name)

    @property
    def tag(self) -> str:
        """What marks the temporary instance as this verification's."""
        return f"{TAG}={self.name}"


@scenario(VERIFICATION)
async def verify(world: World, *, snapshot: str = "", database: str = "") -> Plan:
    """Restore a snapshot to a temporary instance, prove what it holds, and drop the instance; production isn't changed."""
    meant = chosen_database(world, database)
    seen = await look(world, meant, snapshot, datetime.now(UTC))
    return plan_for(world, seen, given(snapshot=seen.snapshot.value.name if seen.snapshot.value else snapshot, database=database))


async def look(world: World, database: DatabaseRef, wanted: str, now: datetime) -> Seen:
    """Read all sources at once; then find a name that is free."""
    name, region = database.instance, database.region
    rds = f"RDS in {region}"
    async with asyncio.TaskGroup() as group:
        source = group.create_task(read("RDS", find_instance(world, name, region), of=rds))
        snapshot = group.create_task(read("RDS snapshots", _snapshot(world, database, wanted), of=rds))
        left_over = group.create_task(read("The list of instances", instances_with_tag(world, TAG, region), of=rds))
        may_create = group.create_task(read("The database", may_create_databases(world, database)))
    found = snapshot.result().value
    return Seen(
        database=database,
        wanted=wanted,
        now=now,
        source=source.result(),
        snapshot=snapshot.result(),
        left_over=left_over.result(),
        may_create=may_create.result(),
        name=await free_name(world, region, _names(world, database, found.taken_at)) if found and found.taken_at else "",
    )


def plan_for(world: World, seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    findings = tuple(_findings(seen))
    possible = not any(finding.level == "stop" for finding in findings)
    snapshot = seen.snapshot.value.name if seen.snapshot.value else seen.wanted or "no snapshot"
    return Plan(
        scenario=VERIFICATION,
        title=f"Verify snapshot {snapshot} of {seen.database.instance}",
        arguments=arguments,
        why=f"A backup that was never restored proves nothing. {seen.database.instance} isn't changed.",
        target=verified_target(seen.database),
        stages=_stages(world, seen) if possible else (),
        cleanup=((DropInstance(instance=seen.name, region=seen.database.region, tag=seen.tag),),) if possible else (),
        basis=_basis(seen),
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        cost=_cost(seen),
        loss_seconds=0.0,
        withholds=f"The green mark is withheld: it is not proven that {snapshot} can be restored.",
    )


def _stages(world: World, seen: Seen) -> tuple[Stage, ...]:
    """Restore, wait until it is what it will be, look at all of it, and see that the looking would have noticed."""
    source, snapshot = seen.source.value, seen.snapshot.value
    assert source
    assert snapshot
    assert snapshot.taken_at
    instance, region = seen.database.instance, seen.database.region
    section = world.site.databases[seen.database.name]
    held = {**restorable(source.settings, from_snapshot=True), "DeletionProtection": False}
    apart = tuple(name for name in ("DeletionProtection", *LEFT_OUT_OF_SNAPSHOTS) if name in source.settings)
    return (
        (
            RestoreSnapshot(
                snapshot=snapshot.name,
                instance=seen.name,
                region=region,
                settings=held,
                tags=copied(source.tags),
                tag=seen.tag,
            ),
        ),
        (SameSettings(source=instance, instance=seen.name, region=region, apart_from=apart),),
        (Recovered(database=seen.copy),),
        (IntegrityHolds(database=seen.copy),),
        (
            HoldsEnough(
                database=seen.copy,
                original=seen.database,
                at=iso(snapshot.taken_at),
                percent=section.verify_percent,
                rpo_minutes=world.site.targets.rpo_minutes,
                heartbeat_table=section.heartbeat_table,
                tables=section.verify_tables,
            ),
        ),
        (PlantDamage(database=seen.copy, seed=_seed(seen), tag=seen.tag),),
        (DamageIsFound(database=seen.copy, seed=_seed(seen)),),
    )


def _seed(seen: Seen) -> str:
    """What decides which damage is planted: other words for each snapshot, and the same whenever the plan is made again."""
    return f"{seen.name}/{seen.snapshot.value.name if seen.snapshot.value else ''}"


async def _snapshot(world: World, database: DatabaseRef, wanted: str) -> Snapshot | None:
    """The snapshot of this name, or the newest automated one that is complete; None if there is none."""
    if wanted:
        return await find_snapshot(world, wanted, database.region)
    found = await snapshots_of(world, database.instance, database.region)
    return next((one for one in found if one.kind == AUTOMATED and one.status == "available"), None)


def _names(world: World, database: DatabaseRef, taken_at: datetime) -> Iterator[str]:
    """PREFIX-YYYYMMDD-N, by the snapshot's day, from 1 on."""
    prefix = world.site.databases[database.name].verify_prefix or f"{database.instance}-verify"
    day = f"{taken_at.astimezone(UTC):%Y%m%d}"
    return (f"{prefix[: LONGEST_NAME - 14].rstrip('-')}-{day}-{number}" for number in itertools.count(1))


def _basis(seen: Seen) -> dict[str, Json]:
    snapshot = seen.snapshot.value
    return {"snapshot": snapshot.name, "taken at": iso(snapshot.taken_at)} if snapshot and snapshot.taken_at else {}


def _cost(seen: Seen) -> tuple[str, ...]:
    source = seen.source.value
    of_class = f" of class {source.settings['DBInstanceClass']}" if source and "DBInstanceClass" in source.settings else ""
    return (
        f"You pay for a second instance{of_class} until it is dropped. AWS often takes 10 to 60 min for a restore, and the "
        "integrity suite then reads all of it several times.",
        f"On {seen.database.instance} the rows of each table are counted, for at most a minute in all. Nothing is written there.",
        "If a step fails, the run ends there without asking: the backup counts as not verified. The temporary instance is "
        "dropped however the run ends.",
    )


# What is said ---------------------------------------------------------------------------------------------------------


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from _source_findings(seen)
    yield from _snapshot_findings(seen)
    yield from _right_findings(seen)
    yield from _left_over_findings(seen)


def _source_findings(seen: Seen) -> Iterator[Finding]:
    source = seen.source.value
    if not seen.source.known:
        yield stop("RDS could not be read, so no restore can be asked for.", seen.source.error)
    elif source is None:
        yield stop(f"RDS in {seen.database.region} has no instance {seen.database.instance}.")
    elif source.restorable_to is None:
        yield warn(f"{source.name} can't be restored to a point in time: RDS names no latest restorable time.")
    else:
        latest = source.restorable_to
        yield ok(f"The newest restorable point of {source.name} is {clock(latest)}, {ago(latest, seen.now)} ago.")


def _snapshot_findings(seen: Seen) -> Iterator[Finding]:
    found, source = seen.snapshot.value, seen.source.value
    if not seen.snapshot.known:
        yield stop("The snapshots could not be read.", seen.snapshot.error)
    elif found is None:
        named = f"no snapshot {seen.wanted}" if seen.wanted else "no automated snapshot that can be restored"
        yield stop(f"{seen.database.instance} has {named}. `/dr backup status` shows what there is.")
    elif found.instance != seen.database.instance:
        yield stop(f"Snapshot {found.name} is of {found.instance}, not of {seen.database.instance}. Give one of its own.")
    elif found.status != "available" or found.taken_at is None:
        yield stop(f"Snapshot {found.name} is {found.status}. Only an available one can be restored.")
    else:
        yield ok(f"{found.name} ({found.kind}) was taken at {clock(found.taken_at)}, {ago(found.taken_at, seen.now)} ago.")
        if source and found.resource_id != source.resource_id:
            yield warn(f"{found.name} is of an earlier instance of the name {found.instance}, so its rows may differ much.")


def _right_findings(seen: Seen) -> Iterator[Finding]:
    if not seen.may_create.known:
        yield warn(f"{seen.database.instance} can't be read, so its rows can't be compared unless it answers by then.",
                   seen.may_create.error)  # fmt: skip
    elif not seen.may_create.value:
        yield stop(
            "The bot's role may not create databases, so the negative control can't be made in the copy. Run ALTER ROLE ... "
            "CREATEDB as docs/database-role.md says, and verify a snapshot that is taken afterwards."
        )


def _left_over_findings(seen: Seen) -> Iterator[Finding]:
    if not seen.left_over.known:
        yield seen.left_over.missing()
    for one in seen.left_over.value or []:
        yield warn(
            f"{one.name} is there from another verification ({one.status}), and costs money. Unless that one is still running, "
            "remove it by hand.",
            removal(one.name, seen.database.region),
        )


def removal(instance: str, region: str) -> str:
    """The command line that drops an instance."""
    parameters: dict[str, Json] = {"DBInstanceIdentifier": instance, "SkipFinalSnapshot": True}
    return Call(service="rds", operation="DeleteDBInstance", region=region, parameters=parameters).command()
