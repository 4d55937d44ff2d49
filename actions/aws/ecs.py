"""Actions on an ECS service: restart it by a new deployment, or roll it back to an earlier revision.

The proofs follow AWS's own records: deployment ids, and the service deployments that ECS keeps. `services_stable` is never
asked: after an automatic rollback it reports success on the old revision.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from actions.aws.call import Call
from actions.aws.deployments import (
    Deployment,
    Rollout,
    Service,
    describe_service,
    failure_reasons,
    rollout,
    rollouts,
    stopped_tasks,
)
from actions.aws.follow import follow
from actions.errors import Unreachable
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, count, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

CLOCK_SKEW = timedelta(seconds=5)  # AWS's Date header is in whole seconds, and its hosts do not agree to the second
LEAST = 30.0  # seconds of our own clock: a rehearsal starts real processes, which are no faster than elsewhere
REMEMBERED = timedelta(minutes=10)
ENDED_BADLY = ("STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_REQUESTED")


@dataclass(frozen=True, kw_only=True)
class _Deploy(Action):
    """What both actions share: the state before, one UpdateService, and following the deployment that came of it."""

    cluster: str
    service: str
    region: str

    timeout: ClassVar[float] = 600.0
    settle: ClassVar[float] = 30.0
    plane: ClassVar[str] = "control"

    @property
    @abstractmethod
    def call(self) -> Call:
        """The one request."""

    @property
    def target(self) -> str:
        return f"service {self.cluster}/{self.service}"

    @property
    def permissions(self) -> tuple[str, ...]:
        reads = ("DescribeServices", "ListServiceDeployments", "DescribeServiceDeployments", "ListTasks", "DescribeTasks")
        return (self.call.permission, *(f"ecs:{name}" for name in reads))

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        service = await describe_service(world, self.cluster, self.service, self.region)
        return {
            "t0": service.at.isoformat(),
            "status": service.status,
            "revision": service.revision,
            "desired": service.desired,
            "deployments": [d.id for d in service.deployments],
            "primary": service.primary.id if service.primary else "",
            "rollouts": await self._rollouts(world, service.at - REMEMBERED),
        }

    def precheck(self, facts: Facts) -> Finding:
        if facts["status"] != "ACTIVE":
            return stop(
                f"Service {self.cluster}/{self.service} is {facts['status']} in {self.region}; there is nothing to deploy."
            )
        if facts["desired"] == 0:
            return stop(f"The desired count of {self.service} is 0, so a deployment starts nothing; set the desired count first.")
        return ok(f"Service {self.service} is active on {facts['revision']}, and it wants {count(facts['desired'], 'task')}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        answer = await world.aws.change(self.call)
        deployments = answer.get("service", {}).get("deployments", [])
        primary = next((d["id"] for d in deployments if d.get("status") == "PRIMARY"), "")
        return {"request_id": answer.request_id, "deployment": primary}

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        if not receipt.get("deployment") and not receipt.get("rollout"):
            receipt = {**receipt, **(await self._find(world, facts))}
        look = partial(self._follow, world, receipt)
        gave_up = f"The deployment of {self.service} is not complete"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=LEAST)

    async def _find(self, world: World, facts: Facts) -> Facts:
        try:
            return (await self.applied(world, facts)).receipt
        except Unreachable:
            return {}

    async def _rollouts(self, world: World, since: datetime) -> list[str] | None:
        """The ARNs of the service deployments since then; None if ECS doesn't say."""
        try:
            return [r.arn for r in await rollouts(world, self.cluster, self.service, self.region, since=since)]
        except Unreachable:
            return None

    async def _follow(self, world: World, receipt: Facts, passed: float) -> Outcome | str:
        """One look at our deployment: how it ended, or how far it is."""
        service = await describe_service(world, self.cluster, self.service, self.region)
        ours = service.deployment(receipt.get("deployment", ""))
        if ours is None:
            return await self._follow_record(world, service, receipt)
        if ours.rollout == "COMPLETED":
            return done(f"Deployment {ours.id} of {ours.revision} is complete with {ours.running} running after {passed:.0f} s.")
        stuck = ours.running == 0 and ours.failed >= max(3, service.desired) and not service.breaker
        if ours.rollout == "FAILED" or stuck:
            return failed(await self._why_failed(world, service, ours))
        runs = f"{ours.running} of {count(service.desired, 'task')} running on {ours.revision}"
        return f"{runs}, {ours.failed} failed: {await self._reasons(world, ours)}." if ours.failed else f"{runs}, none failed."

    async def _follow_record(self, world: World, service: Service, receipt: Facts) -> Outcome | str:
        """Our deployment is no longer listed: ECS's record of it says how it ended, else the service's revision does."""
        runs = f"the service now runs {service.revision}"
        if receipt.get("rollout"):
            record = await rollout(world, receipt["rollout"], self.region)
            if record and record.status == "SUCCESSFUL":
                return done(f"The deployment is recorded as successful; {runs}.")
            if record and record.status not in ENDED_BADLY:
                return f"ECS records the deployment as {record.status}."
            if record:
                return failed(
                    f"ECS records the deployment as {record.status} ({record.reason.rstrip('.') or 'no reason given'}); {runs}."
                )
        if not receipt.get("deployment"):
            return "the new deployment is not visible yet"
        return failed(f"Deployment {receipt['deployment']} has vanished, so it was rolled back or replaced; {runs}.")

    async def _why_failed(self, world: World, service: Service, ours: Deployment) -> str:
        after = "ECS now rolls back by itself" if service.rolls_back else "ECS does not roll back by itself"
        why = await self._reasons(world, ours)
        return f"Deployment {ours.id} of {ours.revision} failed after {count(ours.failed, 'failed task')}: {why}. {after}."

    async def _reasons(self, world: World, ours: Deployment) -> str:
        try:
            stopped = await stopped_tasks(world, self.cluster, self.service, self.region)
        except Unreachable as error:
            return f"the stopped tasks cannot be read: {error}".rstrip(".")
        return failure_reasons(stopped, ours.revision) or ours.reason.rstrip(".") or "no reason given"


@dataclass(frozen=True, kw_only=True)
class ForceNewDeployment(_Deploy, kind="ecs.force_new_deployment"):
    """Restart a service: ECS starts fresh tasks of the same revision, and stops the old ones when the new ones are healthy."""

    @property
    def title(self) -> str:
        return f"Restart service {self.service}"

    @property
    def call(self) -> Call:
        parameters = {"cluster": self.cluster, "service": self.service, "forceNewDeployment": True}
        return Call(service="ecs", operation="UpdateService", region=self.region, parameters=parameters)

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            service = await describe_service(world, self.cluster, self.service, self.region)
            listed = None
            if facts["rollouts"] is not None:
                listed = await rollouts(world, self.cluster, self.service, self.region, since=_t0(facts) - CLOCK_SKEW)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_restart(facts, service.deployments, listed)


@dataclass(frozen=True, kw_only=True)
class RollBack(_Deploy, kind="ecs.roll_back"):
    """Roll a service back: ECS deploys an earlier task definition revision, and stops the newer one's tasks."""

    task_definition: str

    @property
    def title(self) -> str:
        return f"Roll service {self.service} back to {self.task_definition}"

    @property
    def call(self) -> Call:
        parameters = {"cluster": self.cluster, "service": self.service, "taskDefinition": self.task_definition}
        return Call(service="ecs", operation="UpdateService", region=self.region, parameters=parameters)

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            service = await describe_service(world, self.cluster, self.service, self.region)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_rollback(self.task_definition, facts, service)


def judge_restart(facts: Mapping[str, Any], deployments: Sequence[Deployment], listed: Sequence[Rollout] | None) -> Proof:
    """Whether exactly one deployment of the same revision began since `facts`. `listed` is None if ECS keeps no record.

    An automatic rollback is a second deployment, but no second record: so the record counts if there is one.
    """
    new = sorted((d for d in deployments if _is_new(d, facts)), key=lambda d: d.created_at)
    fresh = None if listed is None else [r for r in listed if r.arn not in (facts["rollouts"] or [])]
    begun = len(new) if fresh is None else max(len(fresh), min(len(new), 1))
    if begun > 1:
        return Proof(verdict=Verdict.UNKNOWN, says=f"{begun} deployments began since {facts['t0']}; one may be another person's.")
    if new and new[0].revision != facts["revision"]:
        says = f"Deployment {new[0].id} of {new[0].revision} began, and a restart deploys {facts['revision']}: another person's."
        return Proof(verdict=Verdict.UNKNOWN, says=says)
    if not begun and not deployments:
        return Proof(verdict=Verdict.UNKNOWN, says="ECS shows no deployment of the service any more.")
    if not begun:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: no deployment began since {facts['t0']}.")
    receipt = {"deployment": new[0].id if new else "", "rollout": fresh[0].arn if fresh else ""}
    return Proof(verdict=Verdict.DONE, says=f"Deployment {receipt['deployment'] or receipt['rollout']} began.", receipt=receipt)


def judge_rollback(wanted: str, facts: Mapping[str, Any], service: Service) -> Proof:
    """Whether the service and its primary deployment are of the wanted revision. Not done only if all is as it was."""
    primary = service.primary
    if primary is not None and service.revision == wanted and primary.revision == wanted:
        return Proof(verdict=Verdict.DONE, says=f"The service deploys {wanted}.", receipt={"deployment": primary.id})
    if primary is not None and primary.id == facts["primary"] and service.revision == facts["revision"]:
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: the service is still on {service.revision}.")
    now = f"on {service.revision}" if primary else service.status
    says = f"The service was on {facts['revision']} and is {now}, by another deployment: ours may have been replaced by it."
    return Proof(verdict=Verdict.UNKNOWN, says=says)


def _is_new(deployment: Deployment, facts: Mapping[str, Any]) -> bool:
    return deployment.id not in facts["deployments"] and deployment.created_at >= _t0(facts) - CLOCK_SKEW


def _t0(facts: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(facts["t0"])
