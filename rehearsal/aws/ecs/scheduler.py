"""The scheduler of one ECS service: deployments, restarts with back-off, the circuit breaker, rollbacks."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.ecs.tasks import PULL, Revision, Runner, Task, environment_of
from rehearsal.aws.wire import AwsError
from rehearsal.machines.balancer import Balancer

SETTLE = 150.0  # AWS seconds that a deployment takes at least, from its request to COMPLETED
BACK_OFF, BACK_OFF_MOST = 15.0, 300.0  # AWS seconds before a failed task is started again
BREAKER_THRESHOLD = 3
KEPT_EVENTS, KEPT_TASKS, KEPT_DEPLOYMENTS = 100, 60, 30
IN_PROGRESS, COMPLETED, FAILED = "IN_PROGRESS", "COMPLETED", "FAILED"
log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class ServiceDeployment:
    """The permanent record of a deployment, which covers a rollback of it too."""

    number: int
    revision: Revision
    created_at: datetime
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:20])
    status: str = IN_PROGRESS
    reason: str | None = None
    stopped_at: datetime | None = None
    finished_at: datetime | None = None
    source: Revision | None = None
    failures: int = 0
    rollback_to: Revision | None = None
    rollback_started_at: datetime | None = None


@dataclass(kw_only=True, eq=False)
class Deployment:
    """One entry of `deployments`: the newest is PRIMARY, those that it replaces are ACTIVE."""

    revision: Revision
    record: ServiceDeployment
    created_at: datetime
    id: str = field(default_factory=lambda: f"ecs-svc/{random.randrange(10**18, 10**19)}")
    rollout: str = IN_PROGRESS
    reason: str = ""
    failed_tasks: int = 0
    updated_at: datetime = field(init=False)
    resume_at: datetime = field(init=False)
    settle: float = SETTLE
    pull: float = PULL
    steady: bool = False

    def __post_init__(self) -> None:
        self.updated_at = self.resume_at = self.created_at


@dataclass(kw_only=True)
class Rules:
    """How the service replaces tasks: the deploymentConfiguration."""

    minimum_healthy_percent: int = 100
    maximum_percent: int = 200
    breaker: bool = False
    breaker_rolls_back: bool = False


class Scheduler:
    """Keeps the desired number of tasks of the newest deployment running; `reconcile` looks once and acts."""

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        runner: Runner,
        balancer: Balancer,
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self.name = name
        self.clock = clock
        self.runner = runner
        self.balancer = balancer
        self.environment = environment
        self.rules = Rules()
        self.desired = 0
        self.deployments: list[Deployment] = []
        self.records: list[ServiceDeployment] = []
        self.tasks: list[Task] = []
        self.events: list[dict[str, Any]] = []
        self.last_completed: Revision | None = None
        self._running: dict[asyncio.Task[None], Task] = {}
        self._loop: asyncio.Task[None] | None = None

    @property
    def primary(self) -> Deployment:
        """The newest deployment."""
        return self.deployments[0]

    def of(self, deployment: Deployment) -> list[Task]:
        """The tasks of a deployment that haven't stopped."""
        return [task for task in self.tasks if task.deployment == deployment.id and task.last != "STOPPED"]

    # --- what is asked of it ------------------------------------------------------------------------------------

    def deploy(self, revision: Revision, *, settle: float = SETTLE, pull: float = PULL) -> Deployment:
        """Begin a new PRIMARY deployment, which supersedes one that's still under way."""
        now = self.clock.now()
        self._supersede(now)
        source = self.deployments[0].revision if self.deployments else None
        record = ServiceDeployment(number=len(self.records) + 1, revision=revision, created_at=now, source=source)
        self.records.append(record)
        return self._begin(Deployment(revision=revision, record=record, created_at=now, settle=settle, pull=pull))

    def roll_back(self, reason: str) -> Deployment | None:
        """Abandon the newest deployment for the last completed revision; None if there is none."""
        target, failed = self.last_completed, self.primary
        failed.rollout, failed.reason, failed.updated_at = FAILED, reason, self.clock.now()
        if target is None:
            failed.record.status = "ROLLBACK_FAILED"
            return None
        record = failed.record
        record.status, record.reason = "ROLLBACK_IN_PROGRESS", reason
        record.rollback_to, record.rollback_started_at = target, self.clock.now()
        self.tell(f"(deployment {failed.id}) deployment failed: {reason}")
        return self._begin(Deployment(revision=target, record=record, created_at=self.clock.now()))

    def abort(self) -> None:
        """Stop the newest deployment where it is; no more tasks are started for it."""
        deployment = self.primary
        deployment.rollout, deployment.reason = FAILED, "The deployment was stopped by a request."
        deployment.updated_at = deployment.record.stopped_at = deployment.record.finished_at = self.clock.now()
        deployment.record.status, deployment.record.reason = "STOPPED", deployment.reason

    def tell(self, message: str) -> None:
        """Add a service event in ECS's form."""
        text = f"(service {self.name}) {message}"
        if self.events and self.events[0]["message"] == text:
            return
        self.events.insert(0, {"id": str(uuid.uuid4()), "createdAt": self.clock.now(), "message": text})
        del self.events[KEPT_EVENTS:]

    def _begin(self, deployment: Deployment) -> Deployment:
        deployment.reason = f"ECS deployment {deployment.id} in progress."
        self.deployments.insert(0, deployment)
        del self.deployments[KEPT_DEPLOYMENTS:]
        if self._loop is None:
            self._loop = asyncio.create_task(self._watch())
        return deployment

    def _supersede(self, now: datetime) -> None:
        if self.deployments and self.primary.rollout == IN_PROGRESS:
            record = self.primary.record
            record.status, record.stopped_at, record.finished_at = "STOPPED", now, now
            record.reason = "A newer service deployment replaced it."

    # --- its own life -------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            try:
                self.reconcile()
            except Exception:
                log.exception("the scheduler of %s stumbled", self.name)
            await asyncio.sleep(max(self.clock.real(2.0), 0.02))

    def reconcile(self) -> None:
        """Looks once: notices what ended, starts and stops tasks, completes the deployment, points the balancer."""
        self._notice_ended()
        self._stop_replaced()
        self._start_missing()
        self._complete()
        self._point_balancer()
        self._forget()

    def _notice_ended(self) -> None:
        for job, task in list(self._running.items()):
            if job.done():
                del self._running[job]
                if not job.cancelled() and (error := job.exception()) is not None:
                    task.last = task.desired = "STOPPED"
                    task.stop_code, task.reason = "TaskFailedToStart", _why_not_started(error)
                    task.stopped_at = self.clock.now()
                self._count_failure(task)

    def _count_failure(self, task: Task) -> None:
        failed = task.stop_code in ("EssentialContainerExited", "TaskFailedToStart") or task.health == "UNHEALTHY"
        deployment = next((one for one in self.deployments if one.id == task.deployment), None)
        if not failed or deployment is None or deployment is not self.primary:
            return
        now = self.clock.now()
        deployment.failed_tasks += 1
        deployment.record.failures += 1
        deployment.updated_at, deployment.steady = now, False
        pause = min(BACK_OFF * 2 ** (deployment.failed_tasks - 1), BACK_OFF_MOST)
        deployment.resume_at = now + timedelta(seconds=self.clock.real(pause))
        self.tell(f"has stopped 1 running tasks: (task {task.id}): {task.reason}.")
        if deployment.failed_tasks >= BREAKER_THRESHOLD:
            self.tell("is unable to consistently start tasks successfully. For more information, see Troubleshooting.")
            self._break_circuit(deployment)

    def _break_circuit(self, deployment: Deployment) -> None:
        if not self.rules.breaker or deployment.rollout != IN_PROGRESS:
            return
        reason = "ECS deployment circuit breaker: tasks failed to start."
        if self.rules.breaker_rolls_back and deployment.record.rollback_to is None:
            self.roll_back(reason)
            return
        deployment.rollout, deployment.reason, deployment.updated_at = FAILED, reason, self.clock.now()
        deployment.record.status = "ROLLBACK_FAILED" if deployment.record.rollback_to else "STOPPED"
        deployment.record.reason, deployment.record.finished_at = reason, self.clock.now()

    def _stop_replaced(self) -> None:
        least = math.ceil(self.desired * self.rules.minimum_healthy_percent / 100)
        serving = sum(task.serving for task in self.tasks)
        ours = [task for task in self.of(self.primary) if task.desired == "RUNNING"]
        theirs = [task for task in self.tasks if task.desired == "RUNNING" and task.deployment != self.primary.id]
        for task in [*theirs, *ours[self.desired :]]:
            if task in theirs and task.serving and (serving - 1 < least or self.primary.rollout == FAILED):
                continue
            serving -= task.serving
            reason = f"Scaling activity initiated by (deployment {self.primary.id})"
            task.stop("ServiceSchedulerInitiated", reason, self.clock.now())
            self.tell(f"has stopped 1 running tasks: (task {task.id}).")

    def _start_missing(self) -> None:
        if self.primary.rollout == FAILED or self.clock.now() < self.primary.resume_at:
            return
        most = max(1, math.floor(self.desired * self.rules.maximum_percent / 100))
        there = sum(task.last != "STOPPED" for task in self.tasks)
        wanted = self.desired - sum(task.desired == "RUNNING" for task in self.of(self.primary))
        for _ in range(min(wanted, most - there)):
            self._start_one(self.primary)

    def _start_one(self, deployment: Deployment) -> None:
        task = Task(revision=deployment.revision, deployment=deployment.id, created_at=self.clock.now())
        self.tasks.append(task)
        job = asyncio.create_task(self._run(task, deployment))
        self._running[job] = task
        self.tell(f"has started 1 tasks: (task {task.id}).")

    async def _run(self, task: Task, deployment: Deployment) -> None:
        """The task from its start to its end; it gets the secrets of its start, or fails to start without them."""
        await self.runner.run(task, environment_of(task, self.environment()), pull=deployment.pull)

    def _complete(self) -> None:
        deployment, now = self.primary, self.clock.now()
        ready = sum(task.serving for task in self.of(deployment)) >= self.desired
        alone = all(task.deployment == deployment.id for task in self.tasks if task.last != "STOPPED")
        old_enough = now - deployment.created_at >= timedelta(seconds=self.clock.real(deployment.settle))
        if not (ready and alone and old_enough) or deployment.steady:
            return
        deployment.steady = True
        if deployment.rollout == IN_PROGRESS:
            self._conclude(deployment, now)
        self.tell("has reached a steady state.")

    def _conclude(self, deployment: Deployment, now: datetime) -> None:
        deployment.rollout, deployment.updated_at = COMPLETED, now
        deployment.reason = f"ECS deployment {deployment.id} completed."
        deployment.failed_tasks = 0
        record = deployment.record
        record.status = "ROLLBACK_SUCCESSFUL" if record.rollback_to else "SUCCESSFUL"
        record.finished_at = now
        self.last_completed = deployment.revision
        self.deployments[1:] = []
        self.tell(f"(deployment {deployment.id}) deployment completed.")

    def _point_balancer(self) -> None:
        ours = [task.port for task in self.of(self.primary) if task.serving]
        any_serving = [task.port for task in self.tasks if task.serving]
        # If no target is healthy, a load balancer fails open and asks them all.
        any_running = [task.port for task in self.tasks if task.last == "RUNNING" and task.desired == "RUNNING"]
        self.balancer.set_targets(ours or any_serving or any_running)

    def _forget(self) -> None:
        stopped = [task for task in self.tasks if task.last == "STOPPED"]
        for task in stopped[:-KEPT_TASKS]:
            self.tasks.remove(task)

    def forget(self) -> None:
        """The service has no past any more; call it after `close`."""
        self.deployments, self.records, self.tasks, self.events = [], [], [], []
        self.rules, self.desired, self.last_completed = Rules(), 0, None
        self.balancer.set_targets([])

    async def close(self) -> None:
        """End the scheduler and every process it started."""
        jobs = [*self._running, *([self._loop] if self._loop else [])]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._running.clear()
        self._loop = None


def _why_not_started(error: BaseException) -> str:
    if isinstance(error, AwsError):
        return f"ResourceInitializationError: unable to pull secrets or registry auth: {error}"
    return f"CannotStartContainerError: {error}"
