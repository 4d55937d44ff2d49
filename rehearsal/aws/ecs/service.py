"""The one service of the rehearsal's ECS, whose tasks are real processes, and what goes wrong with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rehearsal.aws.clock import Clock
from rehearsal.aws.ecs.scheduler import COMPLETED, FAILED, Deployment, Rules, Scheduler, ServiceDeployment
from rehearsal.aws.ecs.tasks import Revision, Runner, Spawn, Task, spawn_child
from rehearsal.aws.ecs.views import Views
from rehearsal.aws.logs import Logs
from rehearsal.machines.balancer import Balancer
from rehearsal.waiting import until

CURRENT, PREVIOUS, BROKEN = 7, 6, 8  # the revisions that exist when a rehearsal starts
BROKEN_EXIT_AFTER = 60.0  # AWS seconds until the program of a bad release gives up


def known_revisions(behaviour: str = "good") -> tuple[Revision, ...]:
    """The task definitions at the start: :6 ran before, :7 runs now, and :8 is a bad one that nobody has deployed yet."""
    now = datetime.now(UTC)
    return (
        Revision(number=PREVIOUS, image="shielda/control-plane:2026.11.04", registered_at=now - timedelta(days=18),
                 behaviour=behaviour),
        Revision(number=CURRENT, image="shielda/control-plane:2026.11.18", registered_at=now - timedelta(days=4),
                 behaviour=behaviour),
        Revision(number=BROKEN, image="shielda/control-plane:2026.11.22", registered_at=now - timedelta(minutes=20),
                 behaviour="broken"),
    )  # fmt: skip


class Ecs:
    """A cluster and its service in one region. The service doesn't exist before `start`.

    Every task asks `environment` when it starts, so that it gets the secrets of that moment; `secrets` (variable -> the
    secret's ARN) is what the task definition says about them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        logs: Logs,
        balancer: Balancer,
        spawn: Spawn = spawn_child,
        environment: Callable[[], Mapping[str, str]] = dict,
        secrets: Mapping[str, str] | None = None,
        revisions: Sequence[Revision] | None = None,
        cluster: str = "shielda",
        service: str = "control-plane",
        region: str = "us-west-2",
    ) -> None:
        self.clock = clock
        self.cluster = cluster
        self.service = service
        self.region = region
        self.revisions = {one.number: one for one in revisions or known_revisions()}
        self.log_group = f"/ecs/{cluster}-{service}"
        self._frozen: set[int] = set()
        logs.create(region, self.log_group)

        def keep(task: Task, line: str) -> None:
            logs.put(region, self.log_group, f"ecs/{service}/{task.id}", line)

        def task_environment() -> Mapping[str, str]:
            patience = max(clock.real(BROKEN_EXIT_AFTER), 0.1)
            return {"BROKEN_EXIT_AFTER": f"{patience:g}", **environment()}

        self._desired = 1
        self.created_by: str | None = None  # the token of the CreateService that made the service
        runner = Runner(clock=clock, spawn=spawn, drained=balancer.drained, output=keep)
        self.scheduler = Scheduler(name=service, clock=clock, runner=runner, balancer=balancer, environment=task_environment)
        self.views = Views(
            scheduler=self.scheduler,
            region=region,
            cluster=cluster,
            service=service,
            log_group=self.log_group,
            secrets=secrets or {},
        )

    @property
    def exists(self) -> bool:
        """Whether the service has been created."""
        return bool(self.scheduler.deployments)

    @property
    def healthy(self) -> bool:
        """Whether the current revision is deployed, and every task of it is healthy and not frozen."""
        primary = self.scheduler.primary
        tasks = self.scheduler.of(primary)
        deployed = primary.revision.number == CURRENT and primary.rollout != FAILED
        return deployed and bool(tasks) and all(self._responds(task) for task in tasks)

    async def start(self, revision: int = CURRENT, *, desired: int = 1) -> None:
        """Create the service, and wait until its first deployment is complete. This one doesn't take AWS's time."""
        earlier = [self.revisions[number] for number in sorted(self.revisions) if number < revision]
        for number, old in enumerate(earlier[-1:], 1):
            self.scheduler.records.append(_past(number, old))
        self.scheduler.desired = self._desired = desired
        await self.deploy(revision)

    def create(self, revision: Revision, *, desired: int, token: str | None = None) -> None:
        """Somebody creates the service; its first deployment takes AWS's time."""
        self.created_by = token
        self.scheduler.desired = self._desired = desired
        self.scheduler.deploy(revision)

    async def remove(self) -> None:
        """The service is gone, as if it had never been created."""
        await self.scheduler.close()
        self.scheduler.forget()
        self.created_by = None

    async def deploy(self, revision: int) -> None:
        """Somebody deploys this revision; returns once that is complete, without AWS's time."""
        await self.completed(self.scheduler.deploy(self.revisions[revision], settle=0, pull=0))

    async def completed(self, deployment: Deployment | None = None, timeout: float = 30.0) -> None:
        """Wait until a deployment is complete: the newest one if none is given."""
        await until(lambda: (deployment or self.scheduler.primary).rollout == COMPLETED, timeout, "a complete deployment")

    async def restore(self, *, restart: bool = False) -> None:
        """Undo every fault: the current revision is deployed and healthy, under the rules and as often as it started.

        With `restart` the tasks are new ones, which read their secrets again.
        """
        self.scheduler.rules = Rules()
        self.scheduler.desired = self._desired
        if restart or not self.healthy:
            await self.deploy(CURRENT)
        await self.completed()

    async def deploy_badly(self, revision: int = BROKEN) -> None:
        """Fault "bad deploy": somebody's pipeline ships a revision whose program answers 500 and exits with 1."""
        rules = self.scheduler.rules
        rules.minimum_healthy_percent, rules.maximum_percent = 0, 100
        rules.breaker = rules.breaker_rolls_back = False
        self.scheduler.deploy(self.revisions[revision])
        # The good container is gone before the first new one runs; ECS starts on this at once.
        self.scheduler.reconcile()

    async def hang(self) -> list[int]:
        """Fault "control plane down": freeze every running task, which ECS still counts; returns the process ids."""
        running = [task.process for task in self.scheduler.tasks if task.last == "RUNNING" and task.process is not None]
        frozen = [process.pid for process in running if process.returncode is None]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        self._frozen.update(frozen)
        return frozen

    async def close(self) -> None:
        """End every process of the service."""
        await self.scheduler.close()

    def _responds(self, task: Task) -> bool:
        return task.health == "HEALTHY" and task.process is not None and task.process.pid not in self._frozen


def _past(number: int, revision: Revision) -> ServiceDeployment:
    """The completed deployment of an earlier revision, so that the service has a history."""
    return ServiceDeployment(
        number=number,
        revision=revision,
        created_at=revision.registered_at,
        finished_at=revision.registered_at + timedelta(minutes=3),
        status="SUCCESSFUL",
    )
