"""Questions about an ECS service: what runs, what was deployed when, why tasks stopped, and to what one may roll back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from actions.aws.call import AwsUnreachable, Call
from actions.errors import Unreachable
from actions.scrub import scrub
from actions.values import Json

if TYPE_CHECKING:
    from actions.world import World

ECR_IMAGE = re.compile(r"(?P<registry>\d+)\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[^:@]+)(?P<tag>[:@].+)?$")
MOST_REVISIONS = 20  # that DescribeServiceRevisions takes at once
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployment of a service. `revision` is the task definition as family:revision."""

    id: str
    status: str
    revision: str
    rollout: str
    reason: str
    created_at: datetime
    running: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service as DescribeServices reports it, at AWS's time `at`. The status is "MISSING" if there is none."""

    arn: str
    status: str
    revision: str
    desired: int
    running: int
    pending: int
    breaker: bool
    rolls_back: bool
    deployments: tuple[Deployment, ...]
    events: tuple[str, ...]
    at: datetime

    @property
    def primary(self) -> Deployment | None:
        """The deployment that ECS is steering to."""
        return next((d for d in self.deployments if d.status == "PRIMARY"), None)

    def deployment(self, deployment_id: str) -> Deployment | None:
        """The deployment with this id; None if it has vanished."""
        return next((d for d in self.deployments if d.id == deployment_id), None)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A service deployment: the record that ECS keeps of a deployment, also after it has ended.

    `revision` is the task definition that it deployed; "" if ECS was not asked for it or has forgotten it.
    """

    arn: str
    status: str
    reason: str
    created_at: datetime
    target: str
    revision: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end with healthy tasks."""
        return self.status == "SUCCESSFUL"


@dataclass(frozen=True, kw_only=True)
class Own:
    """A deployment that this bot made: of which revision, by rolling back to it or by restarting it, and when."""

    revision: str
    rolled_back: bool
    began: datetime
    ended: datetime


@dataclass(frozen=True, kw_only=True)
class StoppedTask:
    """A task that has stopped, with its containers' exit codes."""

    revision: str
    reason: str
    code: str
    exit_codes: tuple[int, ...]
    stopped_at: datetime

    @property
    def crashed(self) -> bool:
        """Whether a container ended by itself and badly; 143 is an ordinary stop."""
        return self.code == "EssentialContainerExited" and any(code not in (0, 143) for code in self.exit_codes)

    @property
    def failed(self) -> bool:
        """Whether it stopped because something was wrong: it crashed, could not start, or failed its health checks."""
        return self.crashed or self.code == "TaskFailedToStart" or self.reason.startswith("Task failed")


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A task definition revision that the service completed earlier, and how it was found."""

    name: str
    found_by: str
    images: tuple[str, ...]
    missing_images: tuple[str, ...] = ()
    unchecked_images: tuple[str, ...] = ()


async def describe_service(world: World, cluster: str, service: str, region: str, *, briefly: bool = False) -> Service:
    """The service as it is now; `briefly` asks once, in a region that may be dead."""
    ask = world.aws.probe if briefly else world.aws.read
    answer = await ask(_call("DescribeServices", region, cluster=cluster, services=[service]))
    if not answer.keys() & {"services", "failures"}:
        raise AwsUnreachable(f"ECS's answer about service {service} names no service and no failure.")
    if not answer.get("services"):
        reason = next((failure.get("reason", "") for failure in answer.get("failures", [])), "") or "MISSING"
        return _service({"status": scrub(reason)}, answer.server_time)
    return _service(answer["services"][0], answer.server_time)


async def rollouts(world: World, cluster: str, service: str, region: str, *, since: datetime | None = None) -> list[Rollout]:
    """The service deployments that ECS remembers, newest first."""
    parameters: dict[str, Json] = {"cluster": cluster, "service": service}
    parameters["createdAt"] = {"after": since.isoformat()} if since else None
    found = await world.aws.read_all(_call("ListServiceDeployments", region, **parameters), "serviceDeployments", at_most=100)
    return sorted((_rollout(raw) for raw in found), key=lambda r: r.created_at, reverse=True)


async def history(world: World, cluster: str, service: str, region: str) -> list[Rollout]:
    """The service deployments that ECS remembers, newest first, each with its task definition."""
    found = await rollouts(world, cluster, service, region)
    arns = list(dict.fromkeys(record.target for record in found if record.target))
    asked = [arns[n : n + MOST_REVISIONS] for n in range(0, len(arns), MOST_REVISIONS)]
    calls = (world.aws.read(_call("DescribeServiceRevisions", region, serviceRevisionArns=some)) for some in asked)
    answers = await asyncio.gather(*calls)
    known = {r["serviceRevisionArn"]: short(r.get("taskDefinition", "")) for a in answers for r in a.get("serviceRevisions", [])}
    return [replace(record, revision=known.get(record.target, "")) for record in found]


async def rollout(world: World, arn: str, region: str) -> Rollout | None:
    """One service deployment by its ARN; None if ECS has forgotten it."""
    answer = await world.aws.read(_call("DescribeServiceDeployments", region, serviceDeploymentArns=[arn]))
    found = answer.get("serviceDeployments", [])
    return _rollout(found[0]) if found else None


async def stopped_tasks(world: World, cluster: str, service: str, region: str) -> list[StoppedTask]:
    """The tasks that stopped lately (ECS remembers them for about an hour), newest first."""
    call = _call("ListTasks", region, cluster=cluster, serviceName=service, desiredStatus="STOPPED")
    arns = await world.aws.read_all(call, "taskArns", at_most=100)
    if not arns:
        return []
    answer = await world.aws.read(_call("DescribeTasks", region, cluster=cluster, tasks=arns))
    tasks = [_stopped(task) for task in answer.get("tasks", [])]
    return sorted(tasks, key=lambda t: t.stopped_at, reverse=True)


async def previous_revision(world: World, region: str, current: str, known: Sequence[Rollout]) -> Revision | None:
    """The newest completed revision before `current` in the service's own history; else the one below in its family."""
    names, found_by = [record.revision for record in known if record.succeeded and record.revision], "service deployments"
    if not any(name != current for name in names):
        names, found_by = await _family(world, region, current), "task definitions"
    for name in _before(current, names)[:3]:
        revision = await _describe_revision(world, region, name, found_by)
        if revision is not None:
            return revision
    return None


def short(arn: str) -> str:
    """The part of an ARN that people say: "control-plane:41"."""
    return arn.rpartition("/")[2]


def failure_reasons(tasks: list[StoppedTask], revision: str = "") -> str:
    """Why tasks failed, as one line of at most three reasons; "" if none did."""
    said = [_failure(task).rstrip(".") for task in tasks if task.failed and revision in ("", task.revision)]
    return "; ".join(list(dict.fromkeys(said))[:3])


def _failure(task: StoppedTask) -> str:
    return f"exit code {'/'.join(map(str, task.exit_codes))} ({task.reason})" if task.crashed else task.reason


def _before(current: str, names: list[str]) -> list[str]:
    """The candidates, best first: of the same family those with a lower number, else whatever differs."""
    family, _, number = current.rpartition(":")
    others = [name for name in dict.fromkeys(names) if name != current]
    lower = [n for n in others if n.rpartition(":")[0] == family and _number(n) < _number(f":{number}")]
    return lower or [n for n in others if n.rpartition(":")[0] != family]


def _number(name: str) -> int:
    number = name.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


async def _family(world: World, region: str, current: str) -> list[str]:
    family = current.rpartition(":")[0]
    call = _call("ListTaskDefinitions", region, familyPrefix=family, status="ACTIVE", sort="DESC")
    return [short(arn) for arn in await world.aws.read_all(call, "taskDefinitionArns", at_most=100)]


async def _describe_revision(world: World, region: str, name: str, found_by: str) -> Revision | None:
    answer = await world.aws.read(_call("DescribeTaskDefinition", region, taskDefinition=name))
    definition = answer["taskDefinition"]
    if definition.get("status", "ACTIVE") != "ACTIVE":
        return None
    images = tuple(container.get("image", "") for container in definition.get("containerDefinitions", []))
    there = [await _image_exists(world, image) for image in images]
    return Revision(
        name=name,
        found_by=found_by,
        images=images,
        missing_images=tuple(image for image, known in zip(images, there, strict=True) if known is False),
        unchecked_images=tuple(image for image, known in zip(images, there, strict=True) if known is None),
    )


async def _image_exists(world: World, image: str) -> bool | None:
    """Whether ECR still has the image; None if that's unknown (another registry, or ECR does not answer)."""
    match = ECR_IMAGE.match(image)
    if match is None:
        return None
    tag = match["tag"] or ":latest"
    wanted = {"imageTag": tag[1:]} if tag.startswith(":") else {"imageDigest": tag[1:]}
    parameters = {"registryId": match["registry"], "repositoryName": match["name"], "imageIds": [wanted]}
    try:
        await world.aws.read(Call(service="ecr", operation="DescribeImages", region=match["region"], parameters=parameters))
    except AwsUnreachable as error:
        return False if error.code in ("ImageNotFoundException", "RepositoryNotFoundException") else None
    except Unreachable:
        return None
    return True


def _call(operation: str, region: str, **parameters: Json) -> Call:
    return Call(service="ecs", operation=operation, region=region, parameters=parameters)


def _service(raw: Mapping[str, Any], at: datetime) -> Service:
    breaker = raw.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {})
    return Service(
        arn=raw.get("serviceArn", ""),
        status=raw.get("status", "ACTIVE"),
        revision=short(raw.get("taskDefinition", "")),
        desired=raw.get("desiredCount", 0),
        running=raw.get("runningCount", 0),
        pending=raw.get("pendingCount", 0),
        breaker=bool(breaker.get("enable")),
        rolls_back=bool(breaker.get("enable") and breaker.get("rollback")),
        deployments=tuple(_deployment(d) for d in raw.get("deployments", [])),
        events=tuple(scrub(event.get("message", "")) for event in raw.get("events", [])[:5]),
        at=at,
    )


def _deployment(raw: Mapping[str, Any]) -> Deployment:
    return Deployment(
        id=raw["id"],
        status=raw.get("status", ""),
        revision=short(raw.get("taskDefinition", "")),
        rollout=raw.get("rolloutState", ""),
        reason=scrub(raw.get("rolloutStateReason", "")),
        created_at=raw.get("createdAt", EPOCH),
        running=raw.get("runningCount", 0),
        failed=raw.get("failedTasks", 0),
    )


def _rollout(raw: Mapping[str, Any]) -> Rollout:
    target = raw.get("targetServiceRevisionArn") or raw.get("targetServiceRevision", {}).get("arn", "")
    return Rollout(
        arn=raw["serviceDeploymentArn"],
        status=raw.get("status", ""),
        reason=scrub(raw.get("statusReason", "")),
        created_at=raw.get("createdAt", EPOCH),
        target=target,
    )


def _stopped(raw: Mapping[str, Any]) -> StoppedTask:
    containers = raw.get("containers", [])
    reason = raw.get("stoppedReason") or next((c["reason"] for c in containers if c.get("reason")), "no reason given")
    return StoppedTask(
        revision=short(raw.get("taskDefinitionArn", "")),
        reason=scrub(reason),
        code=raw.get("stopCode", ""),
        exit_codes=tuple(c["exitCode"] for c in containers if c.get("exitCode") is not None),
        stopped_at=raw.get("stoppedAt") or raw.get("createdAt") or EPOCH + timedelta(0),
    )
