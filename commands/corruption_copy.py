"""Scenario 5, a whole table: bring one that was dropped or emptied back from a copy of the database as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from actions.db.choose_copy import ChooseCopy
from actions.db.repair import RepairHolds
from actions.db.table_copy import CopyTable
from actions.step import Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.copies import source_findings
from commands.corruption_repair import Seen, dropped, look, restored_beside
from commands.moments import BEFORE, ago, clock, iso, moment
from commands.plan import Plan
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given

COPY = "corruption copy"


@scenario(COPY)
async def corruption_copy(world: World, *, table: str = "", time: str = "", database: str = "") -> Plan:
    """Bring a table that was dropped or emptied back, from a copy as it was at a time; one that has rows is left alone."""
    meant, now = chosen_database(world, database), datetime.now(UTC)
    if not table or not time or "," in table:
        raise BadCommand(f"`/dr {COPY}` needs one table and a time before it was lost: `table=orders time=10:30`. {BEFORE}.")
    if time == "latest":
        raise BadCommand(f"At the latest moment the table is lost, too. Take a time just before that. {BEFORE}.")
    at = moment(time, now, BEFORE)
    if at > now:
        raise BadCommand(f"{clock(at)} is in the future, and a copy is of the past. {BEFORE}.")
    seen = await look(world, meant, (table,), at, now, "", "")
    return plan_for(seen, given(table=table, time=iso(at), database=database))


def plan_for(seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something that it needs could not be read."""
    findings = tuple(_findings(seen))
    possible = not any(finding.level == "stop" for finding in findings)
    (table,) = seen.tables
    return Plan(
        scenario=COPY,
        title=f"Bring table {table} back as it was at {clock(seen.at)}",
        arguments=arguments,
        why=f"The table was dropped or emptied within the last {ago(seen.at, seen.now)}. It comes back whole, or not at all.",
        target=str(seen.database),
        stages=tuple((step,) for step in _steps(seen)) if possible else (),
        cleanup=((dropped(seen),),) if possible else (),
        basis={"table": table},
        identity={"DbiResourceId": seen.source.value.resource_id if seen.source.value else ""},
        findings=findings,
        loss_seconds=0.0,
        cost=(
            "A temporary instance for as long as the run takes, often 10 to 60 min in AWS, and a snapshot, which is kept.",
            f"What was written to {table} after {clock(seen.at)} is not in the copy.",
        ),
    )


def _steps(seen: Seen) -> Iterator[Step]:
    """Save what is, restore beside, ask, copy, prove."""
    database, case, tables, at = seen.database, seen.name, seen.tables, iso(seen.at)
    yield from restored_beside(seen)
    yield ChooseCopy(database=database, case=case, tables=tables, copy=seen.copy, at=at)
    yield CopyTable(database=database, case=case, tables=tables, copy=seen.copy, at=at)
    yield RepairHolds(database=database, case=case, tables=tables, copy=seen.copy, at=at, revert="all")


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from source_findings(seen.database, seen.source, seen.at, seen.now, latest="Take an earlier one.")
    rights, (table,) = seen.rights.value, seen.tables
    if rights is None:
        yield stop("The database could not be read, so nothing is known of the table.", seen.rights.error)
    elif rights.tables and rights.refusal:
        yield stop(rights.refusal)
    elif rights.tables:
        yield warn(f"{table} is there. It is filled only if it has no row when the run gets to it.")
    else:
        yield ok(f"There is no table {table} now. It is made again with its rows, indexes, constraints, triggers and grants.")
        yield warn("Views, and foreign keys of other tables, that were dropped with it don't come back. The question names them.")
    yield warn(
        "I don't stop what dropped or emptied the table. The run asks before a row is written, and shows what the copy has."
    )
    if not seen.snapshots.known:
        yield seen.snapshots.missing()
