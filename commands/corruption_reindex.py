"""Scenario 5, an index that lacks rows or isn't used: rebuild it while people work. No row is lost, and none comes back."""

from __future__ import annotations

from collections.abc import Iterator

from actions.db.indexes import Index, read_index
from actions.db.reindex import DropLeftOvers, IndexHolds, RebuildIndex
from actions.site import DatabaseRef
from actions.step import Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.facts import Fact, read
from commands.plan import Plan, Stage
from commands.scenario import BadCommand, scenario
from commands.shared import chosen_database, given

REINDEX = "corruption reindex"
LONG = 300.0  # seconds of a transaction for which a rebuild would have to wait


@scenario(REINDEX)
async def corruption_reindex(world: World, *, index: str = "", database: str = "") -> Plan:
    """Rebuild an index that lacks rows or isn't used, while people go on working; drop what broken rebuilds left."""
    meant = chosen_database(world, database)
    if not index:
        raise BadCommand(f"`/dr {REINDEX}` needs the index, as the scan named it: `index=public.orders_pkey`.")
    found = await read("The database", read_index(world, meant, index))
    return plan_for(meant, index, found, given(index=index, database=database))


def plan_for(database: DatabaseRef, index: str, seen: Fact[Index | None], arguments: dict[str, str]) -> Plan:
    """The plan for what was seen; without steps if something forbids it."""
    findings, found = tuple(_findings(index, seen)), seen.value
    possible = found is not None and not any(finding.level == "stop" for finding in findings)
    name = found.name if found else index
    size = f"about {found.bytes / 2**20:.0f} MiB" if found else "as much room as it has now"
    return Plan(
        scenario=REINDEX,
        title=f"Rebuild index {name}",
        arguments=arguments,
        why="An index that lacks rows hides them from whoever searches by it. A rebuild starts from the table itself.",
        target=str(database),
        stages=tuple(_stages(database, found)) if possible and found else (),
        cleanup=((_about(DropLeftOvers, database, found),),) if possible and found else (),
        basis={"table": found.table, "owner": found.owner} if found else {},
        findings=findings,
        cost=(
            f"It reads the table twice and needs {size} for the new index beside the old one.",
            "Readers and writers go on. It waits for every transaction that began before it.",
        ),
    )


def _stages(database: DatabaseRef, found: Index) -> Iterator[Stage]:
    yield (_about(DropLeftOvers, database, found),)
    yield (_about(RebuildIndex, database, found),)
    yield (_about(IndexHolds, database, found),)


def _about(step: type[DropLeftOvers] | type[RebuildIndex] | type[IndexHolds], database: DatabaseRef, found: Index) -> Step:
    return step(database=database, index=found.name, table=found.table, owner=found.owner)


def _findings(index: str, seen: Fact[Index | None]) -> Iterator[Finding]:
    found = seen.value
    if not seen.known:
        yield stop("The database could not be read, so nothing is known of the index.", seen.error)
    elif found is None:
        yield stop(f"There is no index {index}. Write it as SCHEMA.INDEX if it isn't on the search path.")
    elif found.refusal:
        yield stop(found.refusal)
    else:
        used = "used" if found.valid else "not used by PostgreSQL now, because it is not valid"
        yield ok(f"{found.name} of {found.table} is {used}. It has {found.bytes / 2**20:.1f} MiB and belongs to {found.owner}.")
        if found.busy:
            yield stop(f"An index of {found.table} is being built right now. Wait until that has ended.")
        if found.left_over:
            yield warn(f"Earlier rebuilds broke off and left {', '.join(found.left_over)}. They are dropped.")
        if found.oldest > LONG:
            yield warn(f"A transaction is {found.oldest / 60:.0f} min old. The rebuild waits until it ends.")
        yield warn(
            "If the index is unique and the table has duplicates, the rebuild fails and nothing changes: a person must decide."
        )
