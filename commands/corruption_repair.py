"""Scenario 5, single tables: put back rows that are lost or wrong, from a copy as it was before; and undo that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from actions.aws.drops import DropInstance
from actions.aws.instances import Described, find_instance
from actions.aws.restores import RestoreToTime
from actions.aws.settings import copied, restorable
from actions.aws.snapshots import CreateSnapshot, Snapshot, snapshots_of
from actions.base import Finding, Step, count, ok, stop, warn
from actions.db.repair import PutRowsBack, RepairHolds
from actions.db.repair_case import REPAIRED, Case, Rights, read_case, read_rights
from actions.db.repair_collect import ALL, ChooseRepair, CollectDifferences
from actions.db.repair_undo import UndoRepair
from actions.db.restored import Recovered
from actions.db.writers import WritersStopped
from actions.site import DatabaseRef
from actions.world import World
from commands.facts import Fact, read
from commands.moments import EXPECTED, ago, clock, iso, moment, stamp
from commands.plan import Plan
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given

REPAIR, UNDO = "corruption repair", "corruption undo"
TAG = "dr-run"
LONGEST_NAME = 63  # of an instance in RDS
TEMPORARY = {"DeletionProtection": False, "MultiAZ": False}  # what the copy has otherwise than its source: it is dropped soon


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read for a repair, and the name of the copy, which is the name of the repair, too."""

    database: DatabaseRef
    tables: tuple[str, ...]
    at: datetime
    now: datetime
    source: Fact[Described | None]
    snapshots: Fact[list[Snapshot]]
    rights: Fact[Rights]
    name: str
    touched: str = ""
    revert: str = ""

    @property
    def copy(self) -> DatabaseRef:
        """The copy, which lives as long as the run."""
        meant = self.database
        return DatabaseRef(name=meant.name, instance=self.name, region=meant.region, dsn_env=meant.dsn_env)


@scenario(REPAIR)
async def corruption_repair(
    world: World, *, table: str = "", time: str = "", database: str = "", touched: str = "", revert: str = ""
) -> Plan:
    """Put lost and wrong rows of a table back from a copy as it was at a time; newer work stays, and it can be undone."""
    meant, now = chosen_database(world, database), datetime.now(UTC)
    tables = tuple(dict.fromkeys(name for name in table.replace(",", " ").split() if name))
    if not tables or not time:
        raise BadCommand(f"`/dr {REPAIR}` needs the table and a time before the damage: `table=orders time=10:30`. {EXPECTED}.")
    if revert not in ("", ALL):
        raise BadCommand(f"revert={revert} can't be used: `revert={ALL}` reverts rows that don't tell when they were changed.")
    if time == "latest":
        raise BadCommand("The latest moment has the damage in it, too. Take a time just before the damage.")
    at = moment(time, now)
    if at > now:
        raise BadCommand(f"{clock(at)} is in the future, and a repair goes back. {EXPECTED}.")
    arguments = given(table=",".join(tables), time=iso(at), database=database, touched=touched, revert=revert)
    return plan_for(await look(world, meant, tables, at, now, touched, revert), arguments)


@scenario(UNDO)
async def corruption_undo(world: World, *, run: str = "", database: str = "") -> Plan:
    """Take a repair back: the table is as it was before it, unless somebody has changed the repaired rows since."""
    meant = chosen_database(world, database)
    if not run:
        raise BadCommand(f"`/dr {UNDO}` needs the repair, as its last step named it: `run=INSTANCE-repair-TIME`.")
    case = await read("The record of repairs", read_case(world, meant, run))
    return undo_plan(meant, run, case, given(run=run, database=database))


async def look(
    world: World, database: DatabaseRef, tables: tuple[str, ...], at: datetime, now: datetime, touched: str, revert: str
) -> Seen:
    """Read all sources at once; then find a name that is free."""
    source, snapshots, rights = await asyncio.gather(
        read("RDS", find_instance(world, database.instance, database.region)),
        read("RDS snapshots", snapshots_of(world, database.instance, database.region)),
        read("The database", read_rights(world, database, tables)),
    )
    names = rights.value.tables if rights.value and not rights.value.refusal else tables
    taken = {snapshot.name for snapshot in snapshots.value or []}
    return Seen(
        database=database,
        tables=names,
        at=at,
        now=now,
        source=source,
        snapshots=snapshots,
        rights=rights,
        name=await _free_name(world, database, at, taken),
        touched=touched,
        revert=revert,
    )


def plan_for(seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    findings = tuple(_findings(seen))
    possible = not any(finding.level == "stop" for finding in findings)
    tables = ", ".join(seen.tables)
    return Plan(
        scenario=REPAIR,
        title=f"Put rows of {tables} back as they were at {clock(seen.at)}",
        arguments=arguments,
        why=f"Rows that were lost or went wrong within the last {ago(seen.at, seen.now)} come back. All else stays as it is.",
        target=str(seen.database),
        stages=tuple((step,) for step in _steps(seen)) if possible else (),
        cleanup=((_drop(seen),),) if possible else (),
        basis={"tables": list(seen.tables), "owner": seen.rights.value.owner if seen.rights.value else ""},
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        cost=(
            "A temporary instance for as long as the run takes, often 10 to 60 min in AWS, and a snapshot, which is kept.",
            f"Both databases read {tables} twice. Whoever writes to it waits while the rows are put back, for about a second.",
        ),
    )


def undo_plan(database: DatabaseRef, run: str, case: Fact[Case | None], arguments: dict[str, str]) -> Plan:
    """The plan of an undo."""
    found = case.value
    finding = _undo_finding(run, case)
    tables = found.tables if found else ()
    return Plan(
        scenario=UNDO,
        title=f"Undo repair {run}",
        arguments=arguments,
        why="The repaired rows get the values from before the repair, and inserted ones go.",
        target=str(database),
        stages=((UndoRepair(database=database, case=run, tables=tables),),) if finding.level != "stop" else (),
        basis={"state": found.state if found else "", "tables": list(tables)},
        findings=(finding,),
        cost=("Whoever writes to the tables waits meanwhile, for about a second.",),
    )


def _steps(seen: Seen) -> Iterator[Step]:
    """Ask, save what is, restore beside, compare, ask again, put back, prove."""
    source = seen.source.value
    assert source is not None
    database, tables, at, region = seen.database, seen.tables, iso(seen.at), seen.database.region
    yield WritersStopped(database=database, tables=tables)
    yield CreateSnapshot(instance=database.instance, snapshot=f"{seen.name}-before", region=region)
    yield RestoreToTime(
        source=database.instance,
        instance=seen.name,
        at=at,
        region=region,
        settings={**restorable(source.settings), **TEMPORARY},
        tags=copied(source.tags),
        tag=f"{TAG}={seen.name}",
    )
    yield Recovered(database=seen.copy)
    names = {"database": database, "case": seen.name, "tables": tables}
    compared = {"copy": seen.copy, "at": at, "touched": seen.touched, "revert": seen.revert}
    yield CollectDifferences(**names, **compared)  # type: ignore[arg-type]
    yield ChooseRepair(**names)  # type: ignore[arg-type]
    yield PutRowsBack(**names)  # type: ignore[arg-type]
    yield RepairHolds(**names, **compared)  # type: ignore[arg-type]


def _drop(seen: Seen) -> Step:
    return DropInstance(instance=seen.name, region=seen.database.region, tag=f"{TAG}={seen.name}")


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from _source_findings(seen)
    rights = seen.rights.value
    if rights is None:
        yield stop("The database could not be read, so nothing is known of the table.", seen.rights.error)
    elif rights.refusal:
        yield stop(rights.refusal)
    else:
        yield ok(f"{', '.join(rights.tables)} {'belongs' if len(rights.tables) == 1 else 'belong'} to {rights.owner}.")
    if not seen.snapshots.known:
        yield seen.snapshots.missing()
    yield warn(
        "I don't stop what damaged the table. The run asks first whether it is stopped, and again before rows are put back."
    )
    if seen.revert:
        yield warn(f"revert={ALL}: rows that don't tell when they were changed are reverted, also if that was right.")


def _source_findings(seen: Seen) -> Iterator[Finding]:
    source = seen.source.value
    if not seen.source.known:
        yield stop("RDS could not be read, so no copy can be asked for.", seen.source.error)
        return
    if source is None:
        yield stop(f"RDS in {seen.database.region} has no instance {seen.database.instance}.")
        return
    if source.status != "available":
        yield stop(f"{source.name} is {source.status}, and RDS takes snapshots and restores only of an available instance. Wait.")
    latest, kept = source.restorable_to, int(source.settings.get("BackupRetentionPeriod", 0))
    if latest is None:
        yield stop(f"{source.name} has no backups: RDS names no latest restorable time.")
    elif seen.at > latest:
        yield stop(
            f"{source.name} can be restored up to {clock(latest)} so far, and {clock(seen.at)} is later. Take an earlier one."
        )
    elif kept and seen.at < seen.now - timedelta(days=kept):
        yield stop(f"{source.name} keeps backups for {count(kept, 'day')}, and {clock(seen.at)} is longer ago.")
    else:
        yield ok(f"{source.name} can be restored up to {clock(latest)}, {ago(latest, seen.now)} ago.")


def _undo_finding(run: str, case: Fact[Case | None]) -> Finding:
    if not case.known:
        return stop("The database could not be read, so nothing is known of the repair.", case.error)
    if case.value is None:
        return stop(f"There is no repair {run} in this database. They are listed in dr_repair.cases.")
    if case.value.state != REPAIRED:
        return stop(f"Repair {run} is {case.value.state}, so there is nothing to undo.")
    return ok(f"Repair {run}: {case.value.says}")


async def _free_name(world: World, database: DatabaseRef, at: datetime, snapshots: set[str]) -> str:
    """A name that no instance, no snapshot and no repair has. If one doesn't answer, the first: the steps look again."""
    base, number = f"{database.instance[: LONGEST_NAME - 30].rstrip('-')}-repair-{stamp(at)}", 1
    while True:
        name = base if number == 1 else f"{base}-{number}"
        instance = await read("RDS", find_instance(world, name, database.region))
        case = await read("The record of repairs", read_case(world, database, name))
        if instance.value is None and case.value is None and f"{name}-before" not in snapshots:
            return name
        number += 1
