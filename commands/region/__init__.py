"""Scenario 3: the primary region is gone, or is to be left. The replica in the DR region takes over, and the name follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from actions.values import Finding, Json
from actions.world import World
from commands.plan import Plan, Stage
from commands.region import failback as failback
from commands.region import keep as keep
from commands.region import stages
from commands.region.findings import (
    doubts,
    dr_findings,
    kept_findings,
    loss_findings,
    name_findings,
    region_findings,
    replica_findings,
    unfenced,
)
from commands.region.loss import Loss, loss_of
from commands.region.meant import Meant
from commands.region.seen import Seen, look
from commands.region.stability import dead_needs, stands_on, whole
from commands.scenario import scenario
from commands.shared import chosen_database, given

FAILOVER = "region failover"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of the ways a failover goes: what its plan is called, what it does, why, and what its button says."""

    name: str
    title: str
    why: str
    stages: tuple[Stage, ...]
    cleanup: tuple[Stage, ...] = ()
    approve: str = ""
    interrupts: str = ""
    cost: tuple[str, ...] = ()


@scenario(FAILOVER)
async def failover(world: World, *, database: str = "", anyway: bool = False) -> Plan:
    """Move to the DR region: without loss if the primary answers; else promote the replica and say what is lost."""
    meant = Meant.of(world.site, chosen_database(world, database))
    return plan_for(world, await look(world, meant), given(database=database, anyway=anyway))


def plan_for(world: World, seen: Seen, arguments: dict[str, str]) -> Plan:
    """The plan for what was seen: the rest of a failover, a graceful one, or one that loses what the replica lacks."""
    loss = loss_of(seen.position.value, seen.rhythm)
    way = (
        _rest(world, seen)
        if seen.promoted
        else _graceful(world, seen)
        if seen.primary_answers
        else _ungraceful(world, seen, loss)
    )
    anyway = arguments.get("anyway") == "yes"
    plan = Plan(
        scenario=FAILOVER,
        title=way.title,
        arguments=arguments,
        why=way.why,
        target=str(seen.meant.primary),
        locks=seen.meant.locks,
        stages=way.stages,
        cleanup=way.cleanup,
        basis={"way": way.name, "name": _name(seen)},
        identity=_identity(seen),
        findings=tuple(_findings(world, seen, way, loss, anyway)),
        cost=way.cost,
        interrupts=way.interrupts,
        confirm=seen.meant.replica.instance,
        approve=way.approve,
    )
    gone = [whole(seen.meant.primary.region)] if way.name == "ungraceful" else []
    return replace(plan, findings=(*plan.findings, *dead_needs(plan, world.site, gone), stands_on(plan, world.site)))


def _ungraceful(world: World, seen: Seen, loss: Loss | None) -> Way:
    region, replica, primary = seen.meant.replica.region, seen.meant.replica.instance, seen.meant.primary
    figure = loss.figure if loss else "nobody knows how much"
    return Way(
        name="ungraceful",
        title=f"Fail over to {region} UNFENCED" + (f", losing {figure}" if loss else ""),
        why=f"{primary.instance} does not answer. {replica} takes over with what it has; the rest is lost.",
        stages=stages.ungraceful(world, seen, loss) if loss else (),
        approve=f"Promote and lose {figure}" if loss else "",
        cost=(
            f"What {primary.instance} committed and {replica} never got is lost: {figure}.",
            f"The promotion can't be taken back. {primary.instance} is not fenced and may take writes again.",
            *_after(seen),
        ),
    )


def _graceful(world: World, seen: Seen) -> Way:
    region, primary = seen.meant.replica.region, seen.meant.primary
    return Way(
        name="graceful",
        title=f"Switch over to {region}, losing nothing",
        why=f"{primary.instance} answers, so it is fenced first, and {seen.meant.replica.instance} gets all that it has.",
        stages=stages.graceful(world, seen),
        cleanup=stages.back_if_not_promoted(seen),
        interrupts=f"the service in {primary.region}",
        cost=(
            f"Nobody can write from the stop in {primary.region} until the service runs in {region}: some minutes.",
            "The promotion can't be taken back. If the run ends before it, the primary serves again.",
            *_after(seen),
        ),
    )


def _rest(world: World, seen: Seen) -> Way:
    region, replica = seen.meant.replica.region, seen.meant.replica.instance
    return Way(
        name="rest",
        title=f"Finish the failover to {region}",
        why=f"{replica} is no longer a replica: it was promoted before. What is left is done.",
        stages=stages.rest(world, seen),
        cost=_after(seen),
    )


def _after(seen: Seen) -> tuple[str, ...]:
    return (f"Afterwards there is no replica in {seen.meant.primary.region}: the run ends with a list of what is unprotected.",)


def _findings(world: World, seen: Seen, way: Way, loss: Loss | None, anyway: bool) -> Iterator[Finding]:
    yield from region_findings(seen)
    if way.name == "ungraceful":
        yield unfenced(seen)
        yield from loss_findings(world, seen, loss)
        yield from doubts(seen, anyway=anyway)
    yield from replica_findings(seen)
    yield from dr_findings(world, seen)
    yield from name_findings(seen)
    yield from kept_findings(seen)


def _name(seen: Seen) -> Json:
    """What the public name points to; None if that couldn't be read."""
    return list(seen.name.value.values) if seen.name and seen.name.value else None


def _identity(seen: Seen) -> dict[str, str]:
    there = seen.replica.value
    return {"DbiResourceId of the replica": there.resource_id if there else ""}
