"""Scenario 1, control plane down: restart it, or roll it back if the newest deployment is what broke it."""

from __future__ import annotations

from dataclasses import replace

from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.health import HealthAnswers
from actions.step import Step
from actions.values import Json
from actions.world import World
from commands.control_plane.findings import database_findings, findings, revision_findings
from commands.control_plane.seen import RESTART, ROLLBACK, Seen, health_said, look, revision, target
from commands.control_plane.suspicion import why_roll_back
from commands.plan import Plan, Stage, spelled
from commands.scenario import scenario
from commands.shared import chosen_service, given

WORKING = "a working control plane"


@scenario(RESTART)
async def restart(world: World, *, service: str = "", anyway: bool = False) -> Plan:
    """Restart the control plane: a new deployment of what runs now, or a rollback if the newest revision broke it."""
    seen = await look(world, chosen_service(world, service))
    reason = "" if anyway or seen.database_down else rollback_reason(seen)
    plan = rollback_plan(world, seen, reason) if reason else restart_plan(world, seen, anyway, service)
    return replace(plan, arguments=given(service=service, anyway=anyway and not reason))


@scenario(ROLLBACK)
async def rollback(world: World, *, service: str = "") -> Plan:
    """Roll the control plane back to the revision that was completed before the current one."""
    seen = await look(world, chosen_service(world, service))
    plan = rollback_plan(world, seen, rollback_reason(seen) or "A rollback was asked for.")
    return replace(plan, arguments=given(service=service))


def rollback_reason(seen: Seen) -> str:
    """Why a rollback is the better cure, as a sentence; "" if a restart is, or if there is nothing to roll back to."""
    if seen.suspect is None or seen.previous.value is None:
        return ""
    inside = seen.region_health if seen.healthy_inside else None  # then it is the way to it that is broken
    return why_roll_back(seen.suspect, seen.stopped.value or [], (inside or seen.health).value)


def restart_plan(world: World, seen: Seen, anyway: bool, service: str) -> Plan:
    """The plan of a restart for what was seen."""
    site, region = seen.site, world.site.aws.region
    deploy = ForceNewDeployment(cluster=site.cluster, service=site.service, region=region)
    return Plan(
        scenario=RESTART,
        title=deploy.title,
        arguments={},
        why=f"{health_said(seen)} A restart starts fresh tasks of {revision(seen)}.",
        target=target(seen.site),
        stages=((deploy,), _health_stage(seen)),
        identity=_identity(seen),
        basis=_basis(seen, "restart"),
        findings=(*database_findings(seen, anyway), *findings(seen)),
        interrupts=WORKING if seen.healthy else "",
        loss_seconds=0.0,
        cost=(
            "ECS starts fresh tasks beside the old ones if capacity allows; requests in flight on a replaced task are cut.",
            "A deployment typically takes AWS 2 to 5 minutes; we follow it for at most 10.",
        ),
        fallback=spelled(ROLLBACK, given(service=service)) if seen.previous.value is not None else "",
    )


def rollback_plan(world: World, seen: Seen, why: str) -> Plan:
    """The plan of a rollback for what was seen."""
    site, region = seen.site, world.site.aws.region
    previous = seen.previous.value
    deploy: Stage = ()
    if previous is not None:
        deploy = (RollBack(cluster=site.cluster, service=site.service, region=region, task_definition=previous.name),)
    return Plan(
        scenario=ROLLBACK,
        title=deploy[0].title if deploy else f"Roll service {site.service} back",
        arguments={},
        why=why,
        target=target(seen.site),
        stages=tuple(stage for stage in (deploy, _health_stage(seen)) if stage),
        identity=_identity(seen),
        basis=_basis(seen, "rollback"),
        findings=(*revision_findings(seen), *database_findings(seen, True), *findings(seen)),
        interrupts=WORKING if seen.healthy and deploy else "",
        loss_seconds=0.0,
        cost=(
            f"What {revision(seen)} brought is gone until it is deployed again; its database migrations are not undone.",
            "A deployment typically takes AWS 2 to 5 minutes; we follow it for at most 10.",
        ),
    )


def _basis(seen: Seen, rule: str) -> dict[str, Json]:
    service, previous = seen.service.value, seen.previous.value
    return {
        "rule": rule,
        "task_definition": service.revision if service else None,
        "desired_count": service.desired if service else None,
        "previous_revision": previous.name if previous else None,
    }


def _identity(seen: Seen) -> dict[str, str]:
    """Which service this is; "" if ECS could not be read."""
    return {"ARN": seen.service.value.arn if seen.service.value else ""}


def _health_stage(seen: Seen) -> Stage:
    urls = dict.fromkeys(url for url in (seen.site.region_health_url, seen.site.health_url) if url)
    return tuple[Step, ...](HealthAnswers(url=url) for url in urls)
