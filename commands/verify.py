"""Scenario 6: prove that a backup can be restored, on a temporary instance that is dropped again. Production isn't touched."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.aws.call import Call
from actions.aws.drops import DropInstance
from actions.aws.instances import Described, find_instance, instances_with_tag
from actions.aws.restores import RestoreSnapshot, RestoreToTime, SameSettings
from actions.aws.settings import LEFT_OUT, LEFT_OUT_OF_SNAPSHOTS, copied, restorable
from actions.aws.snapshots import Snapshot, find_snapshot, snapshots_of
from actions.db.evidence import HoldsEnough
from actions.db.integrity import IntegrityHolds
from actions.db.negative_control import DamageIsFound, PlantDamage, may_create_databases
from actions.db.restored import Recovered
from actions.site import DatabaseRef
from actions.step import Step
from actions.values import Finding, Json, ok, stop, warn
from actions.world import World
from commands.copies import LONGEST_NAME, free_name
from commands.facts import Fact, read
from commands.memory import VERIFICATION, verified_target
from commands.moments import ago, clock, iso, moment
from commands.plan import Plan, Stage
from commands.scenario import scenario
from commands.shared import chosen_database, given

TAG = "dr-verify"  # not dr-run: a restored copy that became production keeps that one, and is never to be dropped
AUTOMATED = "automated"
HOW_TO_SAY = "Write the point in UTC: `point=2026-01-15T10:30:00` or `point=10:30`, or leave it out for the newest"
POINT = "-point"  # what the name of the newest restorable point's copy ends with


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read for a verification.

    `wanted` is the snapshot that was asked for, "" for the newest automated one; `point` the moment that is restored, too.
    """

    database: DatabaseRef
    wanted: str
    now: datetime
    source: Fact[Described | None]
    snapshot: Fact[Snapshot | None]
    left_over: Fact[list[Described]]
    may_create: Fact[bool]
    name: str
    point: datetime | None = None

    @property
    def copy(self) -> DatabaseRef:
        """The temporary instance of the snapshot."""
        return replace(self.database, instance=self.name)

    @property
    def later(self) -> DatabaseRef:
        """The temporary instance of the newest restorable point."""
        return replace(self.database, instance=f"{self.name}{POINT}")

    @property
    def tag(self) -> str:
        """What marks the temporary instances as this verification's."""
        return f"{TAG}={self.name}"


@scenario(VERIFICATION)
async def verify(world: World, *, snapshot: str = "", point: str = "", database: str = "") -> Plan:
    """Restore a snapshot and the newest point to temporary instances, prove what they hold, and drop them; production stays."""
    meant, now = chosen_database(world, database), datetime.now(UTC)
    seen = await look(world, meant, snapshot, now, moment(point, now, HOW_TO_SAY) if point else None)
    found = seen.snapshot.value.name if seen.snapshot.value else snapshot
    return plan_for(world, seen, given(snapshot=found, point=iso(seen.point) if seen.point else "", database=database))


async def look(world: World, database: DatabaseRef, wanted: str, now: datetime, point: datetime | None = None) -> Seen:
    """Read all sources at once; then find a name that is free."""
    name, region = database.instance, database.region
    rds = f"RDS in {region}"
    async with asyncio.TaskGroup() as group:
        source = group.create_task(read("RDS", find_instance(world, name, region), of=rds))
        snapshot = group.create_task(read("RDS snapshots", _snapshot(world, database, wanted), of=rds))
        left_over = group.create_task(read("The list of instances", instances_with_tag(world, TAG, region), of=rds))
        may_create = group.create_task(read("The database", may_create_databases(world, database)))
    found, restorable = snapshot.result().value, source.result().value
    newest = restorable.restorable_to.replace(microsecond=0) if restorable and restorable.restorable_to else None
    names = _names(world, database, found.taken_at) if found and found.taken_at else ()
    return Seen(
        database=database,
        wanted=wanted,
        now=now,
        source=source.result(),
        snapshot=snapshot.result(),
        left_over=left_over.result(),
        may_create=may_create.result(),
        name=await free_name(world, region, names, also=[POINT]) if names else "",
        point=point or newest,
    )


def plan_for(world: World, seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    findings = tuple(_findings(seen))
    possible = not any(finding.level == "stop" for finding in findings)
    snapshot = seen.snapshot.value.name if seen.snapshot.value else seen.wanted or "no snapshot"
    return Plan(
        scenario=VERIFICATION,
        title=f"Verify snapshot {_both(seen, snapshot)} of {seen.database.instance}",
        arguments=arguments,
        why=f"A backup that was never restored proves nothing. {seen.database.instance} isn't changed.",
        target=verified_target(seen.database),
        stages=_stages(world, seen) if possible else (),
        cleanup=(_drops(seen),) if possible else (),
        basis=_basis(seen),
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        cost=_cost(seen),
        loss_seconds=0.0,
        withholds=f"The green mark is withheld: it is not proven that {_both(seen, snapshot)} can be restored.",
    )


def _stages(world: World, seen: Seen) -> tuple[Stage, ...]:
    """Restore both, wait until they are what they will be, look at all of it, and see that the looking would have noticed."""
    snapshot = seen.snapshot.value
    assert snapshot
    assert snapshot.taken_at
    copies = {seen.copy: snapshot.taken_at} | ({seen.later: seen.point} if seen.point else {})
    return (
        tuple(_restores(seen, snapshot)),
        tuple(_same_settings(seen)),
        tuple(Recovered(database=copy) for copy in copies),
        tuple(IntegrityHolds(database=copy) for copy in copies),
        tuple(_evidence(world, seen, copy, at) for copy, at in copies.items()),
        (PlantDamage(database=seen.copy, seed=_seed(seen), tag=seen.tag),),
        (DamageIsFound(database=seen.copy, seed=_seed(seen)),),
    )


def _restores(seen: Seen, snapshot: Snapshot) -> Iterator[Step]:
    source = seen.source.value
    assert source
    both: dict[str, Any] = {"region": seen.database.region, "tags": copied(source.tags), "tag": seen.tag}
    held = {**restorable(source.settings, from_snapshot=True), "DeletionProtection": False}
    yield RestoreSnapshot(snapshot=snapshot.name, instance=seen.copy.instance, settings=held, **both)
    if seen.point:
        held = {**restorable(source.settings), "DeletionProtection": False}
        name, later = seen.database.instance, seen.later.instance
        yield RestoreToTime(source=name, instance=later, at=iso(seen.point), settings=held, **both)


def _same_settings(seen: Seen) -> Iterator[Step]:
    source, name, region = seen.source.value, seen.database.instance, seen.database.region
    assert source
    for copy, left in ((seen.copy, LEFT_OUT_OF_SNAPSHOTS), *([(seen.later, LEFT_OUT)] if seen.point else [])):
        apart = tuple(name for name in ("DeletionProtection", *left) if name in source.settings)
        yield SameSettings(source=name, instance=copy.instance, region=region, apart_from=apart)


def _evidence(world: World, seen: Seen, copy: DatabaseRef, at: datetime) -> HoldsEnough:
    section = world.site.databases[seen.database.name]
    return HoldsEnough(
        database=copy,
        original=seen.database,
        at=iso(at),
        percent=section.verify_percent,
        rpo_minutes=world.site.targets.rpo_minutes,
        heartbeat_table=section.heartbeat_table,
        tables=section.verify_tables,
    )


def _drops(seen: Seen) -> Stage:
    names = [seen.copy.instance, *([seen.later.instance] if seen.point else [])]
    return tuple(DropInstance(instance=name, region=seen.database.region, tag=seen.tag) for name in names)


def _both(seen: Seen, snapshot: str) -> str:
    return f"{snapshot} and the newest restorable point" if seen.point else snapshot


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
    """PREFIX-YYYYMMDD-N, by the snapshot's day, from 1 on; there is room for POINT behind it."""
    prefix = world.site.databases[database.name].verify_prefix or f"{database.instance}-verify"
    day = f"{taken_at.astimezone(UTC):%Y%m%d}"
    return (f"{prefix[: LONGEST_NAME - 19].rstrip('-')}-{day}-{number}" for number in itertools.count(1))


def _basis(seen: Seen) -> dict[str, Json]:
    snapshot = seen.snapshot.value
    point: dict[str, Json] = {"point": iso(seen.point)} if seen.point else {}
    return {"snapshot": snapshot.name, "taken at": iso(snapshot.taken_at), **point} if snapshot and snapshot.taken_at else {}


def _cost(seen: Seen) -> tuple[str, ...]:
    source = seen.source.value
    of_class = f" of class {source.settings['DBInstanceClass']}" if source and "DBInstanceClass" in source.settings else ""
    more = "two more instances" if seen.point else "a second instance"
    return (
        f"You pay for {more}{of_class} until dropped. AWS often takes 10 to 60 min for a restore, and the integrity suite then "
        "reads all of it several times.",
        f"On {seen.database.instance} the rows of each table are counted, for at most a minute in all. Nothing is written there.",
        "If a step fails, the run ends there without asking: the backup counts as not verified. What is temporary is "
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
        says = f"{source.name} can't be restored to a point in time: RDS names no latest restorable time."
        yield stop(says) if seen.point else warn(says)
    else:
        yield from _point_findings(source, seen)


def _point_findings(source: Described, seen: Seen) -> Iterator[Finding]:
    latest = source.restorable_to
    if latest is None or seen.point is None:
        return
    if seen.point > latest:
        yield stop(f"{source.name} can be restored up to {clock(latest)} so far, and {clock(seen.point)} is later. Leave it out.")
    else:
        newest = "The newest restorable point" if seen.point >= latest - timedelta(seconds=1) else "The point to restore"
        yield ok(f"{newest} of {source.name} is {clock(seen.point)}, {ago(seen.point, seen.now)} ago.")


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
            f"{one.name} is left over from another verification ({one.status}), and costs money. Unless that one is still "
            f"running, plan `/dr backup drop instance={one.name}`.",
            removal(one.name, seen.database.region),
        )


def removal(instance: str, region: str) -> str:
    """The command line that drops an instance."""
    parameters: dict[str, Json] = {"DBInstanceIdentifier": instance, "SkipFinalSnapshot": True}
    return Call(service="rds", operation="DeleteDBInstance", region=region, parameters=parameters).command()
