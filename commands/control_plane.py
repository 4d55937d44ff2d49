"""Scenario 1, control plane down: restart it, or roll it back where the newest deployment is what broke it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from actions.aws import deployments, logs
from actions.aws.deployments import Revision, Service, StoppedTask, failure_reasons
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.logs import LogLine
from actions.base import Finding, Json, Step, ok, stop, warn
from actions.health import HealthAnswers
from actions.world import World
from commands.facts import Fact, read
from commands.plan import Plan, Stage
from commands.scenario import scenario

if TYPE_CHECKING:
    from actions.db.connect import Diagnosis
    from actions.http import Answer

RESTART, ROLLBACK = "control-plane restart", "control-plane rollback"
SUSPICIOUS_FOR = timedelta(minutes=60)  # a revision that is younger than this is the first suspect
DOWN = ("refused", "timeout", "starting", "slots used up", "read-only")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read about the control plane. `previous` is where one could roll back to."""

    service: Fact[Service]
    history: Fact[list[deployments.Rollout]]
    stopped: Fact[list[StoppedTask]]
    previous: Fact[Revision | None]
    lines: Fact[tuple[LogLine, ...]]
    health: Fact[Answer]
    region_health: Fact[Answer] | None
    database: Fact[Diagnosis]

    @property
    def healthy(self) -> bool:
        """Whether the public health address answers well."""
        return self.health.value is not None and self.health.value.good

    @property
    def database_down(self) -> bool:
        """Whether the database is known to be the trouble."""
        return self.database.value is not None and self.database.value.kind in DOWN


@scenario(RESTART)
async def restart(world: World, *, anyway: bool = False) -> Plan:
    """Restart the control plane: a new deployment of what runs now, or its rollback where that is the better cure."""
    seen = await look(world)
    reason = "" if anyway or seen.database_down else rollback_reason(seen)
    if reason:
        return rollback_plan(world, seen, reason)
    return restart_plan(world, seen, anyway)


@scenario(ROLLBACK)
async def rollback(world: World) -> Plan:
    """Roll the control plane back to the revision that was completed before the current one."""
    seen = await look(world)
    return rollback_plan(world, seen, rollback_reason(seen) or "A rollback was asked for.")


async def look(world: World) -> Seen:
    """Read all sources at once; only the previous revision has to wait for the service's answer."""
    site, region = world.site.control_plane, world.site.aws.region
    where = (world, site.cluster, site.service, region)
    async with asyncio.TaskGroup() as group:
        service = group.create_task(read("ECS service", deployments.describe_service(*where)))
        history = group.create_task(read("ECS service deployments", deployments.rollouts(*where)))
        stopped = group.create_task(read("ECS stopped tasks", deployments.stopped_tasks(*where)))
        previous = group.create_task(read("The previous revision", _previous(world, service), timeout=20.0))
        lines = group.create_task(read(f"Log group {site.log_group}", logs.tail(world, site.log_group, region)))
        health = group.create_task(read(f"Health address {site.health_url}", world.http.get(site.health_url)))
        in_region = group.create_task(_region_health(world))
        database = group.create_task(read("The database", world.databases.diagnose()))
    return Seen(
        service=service.result(),
        history=history.result(),
        stopped=stopped.result(),
        previous=previous.result(),
        lines=lines.result(),
        health=health.result(),
        region_health=in_region.result(),
        database=database.result(),
    )


def rollback_reason(seen: Seen) -> str:
    """Why a rollback is the better cure, as a sentence; "" where a restart is. Another rollout cures no broken image."""
    service = seen.service.value
    primary = service.primary if service else None
    if service is None or primary is None or seen.previous.value is None:
        return ""
    if primary.rollout == "FAILED" or (primary.rollout == "IN_PROGRESS" and primary.failed > 0):
        return f"The tasks of the newest deployment, {primary.revision}, keep failing: {primary.failed} have failed."
    if service.at - primary.created_at > SUSPICIOUS_FOR or seen.healthy:
        return ""
    minutes = (service.at - primary.created_at).total_seconds() // 60
    crashed = [task for task in seen.stopped.value or [] if task.crashed and task.revision == primary.revision]
    if len(crashed) > max(1, service.desired):
        return f"{primary.revision} was deployed {minutes:.0f} min ago, and {len(crashed)} of its tasks have crashed since."
    status = seen.health.value.status if seen.health.value else 0
    if 500 <= status < 600 and status != 504:  # 504 is a task that hangs, and that is what a restart cures
        return f"{primary.revision} was deployed {minutes:.0f} min ago, and the health address answers {status}."
    return ""


def restart_plan(world: World, seen: Seen, anyway: bool) -> Plan:
    """The plan of a restart for what was seen."""
    site, region = world.site.control_plane, world.site.aws.region
    previous = seen.previous.value
    return Plan(
        scenario=RESTART,
        arguments={"anyway": "yes"} if anyway else {},
        why=f"{_health_said(seen)} A restart starts fresh tasks of {_revision(seen)}.",
        target=f"service {site.cluster}/{site.service}",
        stages=((ForceNewDeployment(cluster=site.cluster, service=site.service, region=region),), _health_stage(world)),
        basis=_basis(seen, "restart"),
        findings=(*_database_findings(seen, anyway), *_findings(seen)),
        cost=(
            "ECS starts fresh tasks beside the old ones where capacity allows; requests in flight on a replaced task are cut.",
            "A deployment typically takes AWS 2 to 5 minutes; we follow it for at most 10.",
        ),
        fallback=ROLLBACK if previous is not None else "",
    )


def rollback_plan(world: World, seen: Seen, why: str) -> Plan:
    """The plan of a rollback for what was seen."""
    site, region = world.site.control_plane, world.site.aws.region
    previous = seen.previous.value
    deploy: Stage = ()
    if previous is not None:
        deploy = (RollBack(cluster=site.cluster, service=site.service, region=region, task_definition=previous.name),)
    return Plan(
        scenario=ROLLBACK,
        arguments={},
        why=why,
        target=f"service {site.cluster}/{site.service}",
        stages=tuple(stage for stage in (deploy, _health_stage(world)) if stage),
        basis=_basis(seen, "rollback"),
        findings=(*_revision_findings(seen), *_database_findings(seen, True), *_findings(seen)),
        cost=(
            f"What {_revision(seen)} brought is gone until it is deployed again; its database migrations are not undone.",
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


def _health_stage(world: World) -> Stage:
    site = world.site.control_plane
    urls = dict.fromkeys(url for url in (site.region_health_url, site.health_url) if url)
    return tuple[Step, ...](HealthAnswers(url=url) for url in urls)


def _database_findings(seen: Seen, anyway: bool) -> Iterator[Finding]:
    diagnosis = seen.database.value
    if diagnosis is None:
        return
    if diagnosis.answers:
        yield ok(diagnosis.says, diagnosis.evidence)
    elif not seen.database_down:
        yield warn(f"{diagnosis.says} That may be our own access and not the control plane's.", diagnosis.evidence)
    elif anyway:
        yield warn(f"{diagnosis.says} Health cannot pass before it does: see `/dr database failover`.", diagnosis.evidence)
    else:
        says = f"{diagnosis.says} The control plane is down because of it, so plan `/dr database failover` instead"
        yield stop(f"{says}; or restart all the same with `/dr {RESTART} anyway=yes`.", diagnosis.evidence)


def _findings(seen: Seen) -> Iterator[Finding]:
    yield from _service_findings(seen)
    yield from _task_findings(seen)
    yield from _health_findings(seen)
    yield from _log_findings(seen)
    for fact in (seen.history, seen.stopped, seen.previous, seen.lines, seen.database):
        if not fact.known:
            yield fact.missing()


def _service_findings(seen: Seen) -> Iterator[Finding]:
    service = seen.service.value
    if service is None:
        says = "ECS could not be read, so nothing can be deployed. If all of the region is down, plan `/dr region failover`."
        yield stop(says, seen.service.error)
        return
    if service.status != "ACTIVE":
        yield stop(f"ECS says that the service is {service.status}; look at [control_plane] cluster and service.")
        return
    says = f"{service.running} of {service.desired} tasks run on {service.revision}, {service.pending} are pending."
    yield (ok if service.running >= service.desired else warn)(says, " | ".join(service.events))
    if service.desired == 0:
        yield stop("The desired count is 0: somebody scaled the service down, and a deployment starts nothing.")
    primary = service.primary
    if primary and primary.rollout == "IN_PROGRESS":
        yield warn(f"A deployment of {primary.revision} is under way already, and a new one replaces it.", primary.reason)
    if not service.rolls_back:
        yield warn("The service's circuit breaker does not roll back: should this deployment fail, ECS goes on trying.")


def _task_findings(seen: Seen) -> Iterator[Finding]:
    if reasons := failure_reasons(seen.stopped.value or []):
        yield warn(f"Tasks have failed in the last hour: {reasons}.")
    failed = [r for r in (seen.history.value or [])[:1] if r.status not in ("SUCCESSFUL", "IN_PROGRESS", "PENDING")]
    for record in failed:
        yield warn(f"The newest deployment ended as {record.status} at {_clock(record.created_at)}.", record.reason)


def _health_findings(seen: Seen) -> Iterator[Finding]:
    if seen.healthy:
        yield warn(f"{_health_said(seen)} Nothing seems to be down.")
    else:
        yield warn(f"{_health_said(seen)} This is the symptom.", seen.health.error)
    inside = seen.region_health
    if inside is not None and inside.value is not None and inside.value.good and not seen.healthy:
        yield warn("The region's own address is healthy while the public name is not: the fault may be DNS or the edge.")
    elif inside is not None and not inside.known:
        yield warn("The region's own address does not answer either.", inside.error)


def _log_findings(seen: Seen) -> Iterator[Finding]:
    lines = seen.lines.value
    if lines is None:
        return
    bad = [line for line in lines if line.troubled]
    if bad:
        newest = " | ".join(f"{_clock(line.at)} {line.message[:200]}" for line in bad[-3:])
        yield warn(f"{len(bad)} of the last {len(lines)} log lines (15 min) speak of errors.", newest)
    elif not lines:
        yield warn("The log has had no line in the last 15 minutes.")


def _revision_findings(seen: Seen) -> Iterator[Finding]:
    previous = seen.previous.value
    if previous is None:
        yield stop("No earlier completed revision was found, so there is nothing to roll back to.", seen.previous.error)
        return
    yield ok(f"{previous.name} is the newest completed revision before {_revision(seen)} (from the {previous.found_by}).")
    if previous.missing_images:
        yield stop(f"The image of {previous.name} is no longer in its registry: {', '.join(previous.missing_images)}.")
    elif previous.unchecked_images:
        yield warn(f"Nobody could say whether {', '.join(previous.unchecked_images)} still exists.")


async def _previous(world: World, service: asyncio.Task[Fact[Service]]) -> Revision | None:
    site, now = world.site.control_plane, (await service).value
    if now is None or not now.revision:
        return None
    return await deployments.previous_revision(world, site.cluster, site.service, world.site.aws.region, now.revision)


async def _region_health(world: World) -> Fact[Answer] | None:
    url = world.site.control_plane.region_health_url
    return await read(f"Health address {url}", world.http.get(url)) if url else None


def _health_said(seen: Seen) -> str:
    if seen.health.value is None:
        return f"{seen.health.source} does not answer."
    return f"{seen.health.source} answers {seen.health.value.status}."


def _revision(seen: Seen) -> str:
    return (seen.service.value.revision if seen.service.value else "") or "the current revision"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
