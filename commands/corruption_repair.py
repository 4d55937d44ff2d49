"""Scenario 5, single tables: put back rows that are lost or wrong, from a copy as it was before; and undo that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from actions.aws.drops import DropInstance
from actions.aws.instances import Described, find_instance
from actions.aws.restores import RestoreToTime
from actions.aws.settings import copied, restorable
from actions.aws.snapshots import CreateSnapshot, Snapshot, snapshots_of
from actions.db.repair import PutRowsBack, RepairHolds
from actions.db.repair_case import COPIED, REPAIRED, Case, Rights, read_case, read_rights
from actions.db.repair_collect import ALL, ChooseRepair, CollectDifferences
from actions.db.repair_undo import UndoRepair
from actions.db.restored import Recovered
from actions.db.writers import WritersStopped
from actions.site import DatabaseRef
from actions.step import Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.copies import LONGEST_NAME, TAG, numbered, source_findings
from commands.facts import Fact, read
from commands.moments import BEFORE, ago, clock, iso, moment, stamp
from commands.plan import Plan
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given

REPAIR, UNDO = "corruption repair", "corruption undo"
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
        return replace(self.database, instance=self.name)


@scenario(REPAIR)
async def corruption_repair(
    world: World, *, table: str = "", time: str = "", database: str = "", touched: str = "", revert: str = ""
) -> Plan:
    """Put lost and wrong rows of a table back from a copy as it was at a time; newer work stays, and it can be undone."""
    meant, now = chosen_database(world, database), datetime.now(UTC)
    tables = tuple(dict.fromkeys(name for name in table.replace(",", " ").split() if name))
    if not tables or not time:
        raise BadCommand(f"`/dr {REPAIR}` needs the table and a time before the damage: `table=orders time=10:30`. {BEFORE}.")
    if revert not in ("", ALL):
        raise BadCommand(f"revert={revert} can't be used: `revert={ALL}` reverts rows that don't tell when they were changed.")
    if time == "latest":
        raise BadCommand(f"The latest moment has the damage in it, too. Take a time just before the damage. {BEFORE}.")
    at = moment(time, now, BEFORE)
    if at > now:
        raise BadCommand(f"{clock(at)} is in the future, and a repair goes back. {BEFORE}.")
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
    rds = f"RDS in {database.region}"
    source, snapshots, rights = await asyncio.gather(
        read("RDS", find_instance(world, database.instance, database.region), of=rds),
        read("RDS snapshots", snapshots_of(world, database.instance, database.region), of=rds),
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
        cleanup=((dropped(seen),),) if possible else (),
        basis={"tables": list(seen.tables), "owner": seen.rights.value.owner if seen.rights.value else ""},
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        loss_seconds=0.0,
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


def restored_beside(seen: Seen) -> Iterator[Step]:
    """Save what is, then restore the moment to a temporary instance and wait until it's whole."""
    source, database = seen.source.value, seen.database
    assert source is not None
    yield CreateSnapshot(instance=database.instance, snapshot=f"{seen.name}-before", region=database.region)
    yield RestoreToTime(
        source=database.instance,
        instance=seen.name,
        at=iso(seen.at),
        region=database.region,
        settings={**restorable(source.settings), **TEMPORARY},
        tags=copied(source.tags),
        tag=f"{TAG}={seen.name}",
    )
    yield Recovered(database=seen.copy)


def _steps(seen: Seen) -> Iterator[Step]:
    """Ask, save what is, restore beside, compare, ask again, put back, prove."""
    database, tables, at = seen.database, seen.tables, iso(seen.at)
    yield WritersStopped(database=database, tables=tables)
    yield from restored_beside(seen)
    case, copy, touched, revert = seen.name, seen.copy, seen.touched, seen.revert
    yield CollectDifferences(database=database, case=case, tables=tables, copy=copy, at=at, touched=touched, revert=revert)
    yield ChooseRepair(database=database, case=case, tables=tables)
    yield PutRowsBack(database=database, case=case, tables=tables)
    yield RepairHolds(database=database, case=case, tables=tables, copy=copy, at=at, touched=touched, revert=revert)


def dropped(seen: Seen) -> Step:
    """The clean-up: the temporary instance goes."""
    return DropInstance(instance=seen.name, region=seen.database.region, tag=f"{TAG}={seen.name}")


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from source_findings(seen.database, seen.source, seen.at, seen.now, latest="Take an earlier one.")
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


def _undo_finding(run: str, case: Fact[Case | None]) -> Finding:
    if not case.known:
        return stop("The database could not be read, so nothing is known of the repair.", case.error)
    if case.value is None:
        return stop(f"There is no repair {run} in this database. They are listed in dr_repair.cases.")
    if case.value.state == COPIED:
        back = "`DROP TABLE` if it was gone before, `TRUNCATE` if it was empty; that takes newer rows along"
        return stop(f"{run} brought {', '.join(case.value.tables)} back whole, and that is taken back by hand: {back}.")
    if case.value.state != REPAIRED:
        return stop(f"Repair {run} is {case.value.state}, so there is nothing to undo.")
    return ok(f"Repair {run}: {case.value.says}")


async def _free_name(world: World, database: DatabaseRef, at: datetime, snapshots: set[str]) -> str:
    """A name that no instance, no snapshot and no repair has. If one doesn't answer, the first: the steps look again."""
    for name in numbered(f"{database.instance[: LONGEST_NAME - 30].rstrip('-')}-repair-{stamp(at)}"):
        instance = await read("RDS", find_instance(world, name, database.region), of=f"RDS in {database.region}")
        case = await read("The record of repairs", read_case(world, database, name))
        if instance.value is None and case.value is None and f"{name}-before" not in snapshots:
            return name
    raise AssertionError("There is always a next name.")
