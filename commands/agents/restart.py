"""`/dr agents restart`: the agents that are offline, canaries first, in batches that grow, and no further than is safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from actions.site import Agents
from actions.ssh import lines, rollout
from actions.ssh.batch import AgentsHealthy, RestartBatch, named
from actions.ssh.inventory import Host, fingerprint
from actions.step import Step
from actions.values import Finding, count, ok, stop, warn
from actions.world import World
from commands.agents.gate import Door
from commands.agents.seen import Seen, chosen, inventory, look, service_of
from commands.control_plane import restart as restart_control_plane
from commands.plan import Plan, Stage
from commands.scenario import BadCommand, scenario
from commands.shared import given

RESTART = "agents restart"
OFFLINE, ALL = "offline", "all"


@scenario(RESTART)
async def restart(world: World, *, hosts: str = "", only: str = "") -> Plan:
    """Restart the agents that are offline, canaries first and in growing batches; stop if that does not help.

    `hosts` is a group or a host of the inventory. `only` is "offline" (the default), "all", a zone or a version.
    """
    site, known = await inventory(world)
    picked = narrowed(chosen(known, hosts), only)
    seen = await look(world, picked)
    if seen.control_plane_down and seen.gate.value is not None:
        service = service_of(world)
        plan = await restart_control_plane(world, service="" if service == next(iter(world.site.services)) else service)
        return replace(plan, why=f"{seen.gate.value.says} {plan.why}")
    due = list(picked) if only == ALL else seen.offline
    return replace(restart_plan(site, seen, due, healthy_too=only == ALL), arguments=given(hosts=hosts, only=only))


def narrowed(hosts: Sequence[Host], only: str) -> list[Host]:
    """The hosts of the zone or version in `only`; all of them for "", "offline" and "all". Raises `BadCommand`."""
    if only in ("", OFFLINE, ALL):
        return list(hosts)
    found = [host for host in hosts if only in (host.zone, host.version)]
    if not found:
        words = sorted({word for host in hosts for word in (host.zone, host.version) if word})
        raise BadCommand(f"only={only} can't be used: {', '.join([OFFLINE, ALL, *words])} are expected.")
    return found


def restart_plan(site: Agents, seen: Seen, due: Sequence[Host], *, healthy_too: bool) -> Plan:
    """The plan for the hosts that are due."""
    stages = tuple(batch_stages(site, due, healthy_too))
    healthy = len(seen.healthy)
    return Plan(
        scenario=RESTART,
        title=f"Restart {count(len(due), 'agent')}, {len(stages[0][0].hosts)} at first" if stages else "Restart no agent",  # type: ignore[attr-defined]
        arguments={},
        why=why(seen, due),
        target="agents",
        stages=(*stages, _bake(site, due)) if stages else (),
        basis={"inventory": fingerprint(seen.chosen), "agents": len(seen.chosen)},
        findings=tuple(findings(site, seen, due)),
        interrupts="working agents" if healthy_too and healthy else "",
        loss_seconds=0.0,
        cost=(
            "An agent that is restarted misses its heartbeats for some seconds, and drops what it is doing.",
            f"It stops at any failure in the first {rollout.STRICT_BATCHES} batches, if more than "
            f"{site.batch_budget_percent} % of a batch fail, and if more than "
            f"{rollout.allowed(site.budget_percent, len(due))} of {len(due)} fail in all. A host that can't be reached counts.",
            f"After each batch it waits for heartbeats for at most {site.heartbeat_seconds + site.healthy_seconds:g} s.",
        ),
    )


def batch_stages(site: Agents, due: Sequence[Host], healthy_too: bool) -> Iterator[Stage]:
    """One stage a batch."""
    parts = rollout.batches(site, due)
    for number, part in enumerate(parts, 1):
        by_runtime = {kind: [host for host in part if host.runtime == kind] for kind in ("systemd", "docker")}
        line = {kind: lines.restart(site, hosts[0]) if hosts else "" for kind, hosts in by_runtime.items()}
        strict = number <= rollout.STRICT_BATCHES
        step: Step = RestartBatch(
            systemd=tuple(host.name for host in by_runtime["systemd"]),
            docker=tuple(host.name for host in by_runtime["docker"]),
            systemd_line=line["systemd"],
            docker_line=line["docker"],
            batch=number,
            of=len(parts),
            budget=rollout.allowed(site.budget_percent, len(due)),
            batch_budget=0 if strict else rollout.allowed(site.batch_budget_percent, len(part)),
            healthy_too=healthy_too,
        )
        yield (step,)


def why(seen: Seen, due: Sequence[Host]) -> str:
    """Why the agents are to be restarted."""
    total, age = len(seen.chosen), seen.site.fresh_seconds
    if seen.beats.value is None:
        return f"We can't tell which of {count(total, 'agent')} are offline."
    return (
        f"{len(seen.offline)} of {count(total, 'agent')} sent no heartbeat in the last {age:g} s; {len(due)} are to be restarted."
    )


def findings(site: Agents, seen: Seen, due: Sequence[Host]) -> Iterator[Finding]:
    """What speaks for the plan, and against it."""
    if seen.gate.value is None:
        yield stop("The heartbeat address could not be asked, so nobody knows whether heartbeats get through.", seen.gate.error)
    elif seen.gate.value.door is Door.SHUT:
        yield ok(seen.gate.value.says)
    else:
        yield stop(seen.gate.value.says, seen.gate.value.error)
    if seen.beats.value is None:
        yield stop(
            "The heartbeats in the database can't be read, so we couldn't tell whether a restart would help.", seen.beats.error
        )
    elif not due:
        yield stop(f"Every agent that was asked about is healthy ({len(seen.chosen)}), so there is nothing to restart.")
    elif healthy := len(seen.chosen) - len(seen.offline):
        yield ok(f"{count(healthy, 'agent')} healthy.")
    for zone in sorted({host.zone for host in due if host.zone}):
        yield from _about_zone(zone, seen, due)
    if due and not rollout.allowed(site.budget_percent, len(due)):
        yield warn(f"{site.budget_percent} % of {count(len(due), 'agent')} is less than one: it stops at the first failure.")


def _about_zone(zone: str, seen: Seen, due: Sequence[Host]) -> Iterator[Finding]:
    there = [host.name for host in seen.chosen if host.zone == zone]
    down = [host.name for host in due if host.zone == zone]
    others_fine = all(host.zone == zone for host in due) and len(seen.chosen) > len(there)
    if others_fine and len(down) > 1:
        says = f"All {len(down)} agents that are offline are in {zone}, so its network may be the problem: {named(down)}."
        yield warn(f"{says} A restart does not cure that, and the canary would show it.")


def _bake(site: Agents, due: Sequence[Host]) -> Stage:
    names = tuple(sorted(host.name for host in due))
    return (AgentsHealthy(hosts=names, budget=rollout.allowed(site.budget_percent, len(due))),)
