"""ECS in the rehearsal: one cluster with one service, whose tasks are real processes of this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.ecs.scheduler import COMPLETED, IN_PROGRESS, Scheduler, ServiceDeployment
from rehearsal.aws.ecs.tasks import Revision, Runner, Spawn, Task, spawn_child
from rehearsal.aws.ecs.views import Views
from rehearsal.aws.front import AwsError, Handler
from rehearsal.aws.logs import Logs
from rehearsal.machines.balancer import Balancer

Params = dict[str, Any]
BROKEN_EXIT_AFTER = 60.0  # AWS seconds until the program of a bad release gives up


def known_revisions(behaviour: str = "good") -> tuple[Revision, ...]:
    """The task definitions that exist when the rehearsal begins: :6 before, :7 now, :8 a bad one nobody runs yet."""
    now = datetime.now(UTC)
    return (
        Revision(number=6, image="shielda/control-plane:2026.11.04", registered_at=now - timedelta(days=18),
                 behaviour=behaviour),
        Revision(number=7, image="shielda/control-plane:2026.11.18", registered_at=now - timedelta(days=4),
                 behaviour=behaviour),
        Revision(number=8, image="shielda/control-plane:2026.11.22", registered_at=now - timedelta(minutes=20),
                 behaviour="broken"),
    )  # fmt: skip


class Ecs:
    """A cluster and its service in one region; without `start` the service does not exist yet.

    `environment` is asked at every task's start, so that a task gets the secrets of that moment.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        logs: Logs,
        balancer: Balancer,
        spawn: Spawn = spawn_child,
        environment: Callable[[], Mapping[str, str]] = dict,
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
        logs.create(region, self.log_group)

        def keep(task: Task, line: str) -> None:
            logs.put(region, self.log_group, f"ecs/{service}/{task.id}", line)

        def surroundings() -> Mapping[str, str]:
            patience = max(clock.real(BROKEN_EXIT_AFTER), 0.1)
            return {"BROKEN_EXIT_AFTER": f"{patience:g}", **environment()}

        runner = Runner(clock=clock, spawn=spawn, output=keep)
        self.scheduler = Scheduler(name=service, clock=clock, runner=runner, balancer=balancer, environment=surroundings)
        self.views = Views(scheduler=self.scheduler, region=region, cluster=cluster, service=service, log_group=self.log_group)

    # --- the world's own hands ----------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the service has been created."""
        return bool(self.scheduler.deployments)

    async def start(self, revision: int = 7, *, desired: int = 1, seconds: float = 30.0) -> None:
        """Creates the service with its first deployment; returns when that is COMPLETED, without AWS's waiting."""
        earlier = [self.revisions[number] for number in sorted(self.revisions) if number < revision]
        for number, old in enumerate(earlier[-1:], 1):
            self.scheduler.records.append(_past(number, old))
        self.scheduler.desired = desired
        deployment = self.scheduler.deploy(self.revisions[revision], settle=0, pull=0)
        async with asyncio.timeout(seconds):
            # The scheduler's own loop carries the deployment on; this only watches it.
            while deployment.rollout != COMPLETED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def deploy_badly(self, revision: int = 8) -> None:
        """The fault "bad deploy": someone's pipeline ships a revision whose program answers 500 and exits with 1."""
        rules = self.scheduler.rules
        rules.minimum_healthy_percent, rules.maximum_percent = 0, 100
        rules.breaker = rules.breaker_rolls_back = False
        self.scheduler.deploy(self.revisions[revision])
        # Until the first new container runs the good one is already gone; ECS starts on this at once.
        self.scheduler.reconcile()

    async def hang(self) -> list[int]:
        """The fault "control plane down": freezes every running task, which ECS goes on counting; the process ids."""
        frozen = []
        for task in self.scheduler.tasks:
            if task.last == "RUNNING" and task.process is not None and task.process.returncode is None:
                os.kill(task.process.pid, signal.SIGSTOP)
                frozen.append(task.process.pid)
        return frozen

    async def close(self) -> None:
        """Ends every process of the service."""
        await self.scheduler.close()

    # --- what the API asks --------------------------------------------------------------------------------------

    def revision_named(self, name: str, *, otherwise: str) -> Revision:
        """The revision of "family", "family:7" or its ARN; raises ClientException with the given sentence."""
        family, _, number = name.rpartition("/")[2].partition(":")
        if family == self.service and not number:
            return self.revisions[max(self.revisions)]
        if family != self.service or not number.isdigit() or int(number) not in self.revisions:
            raise AwsError("ClientException", otherwise)
        return self.revisions[int(number)]

    def check_cluster(self, params: Params) -> None:
        """Raises ClusterNotFoundException for any cluster but this one."""
        name = params.get("cluster", "default")
        if name not in (self.cluster, self.views.cluster_arn):
            raise AwsError("ClusterNotFoundException", "Cluster not found.")

    def is_service(self, name: str) -> bool:
        """Whether a name or ARN means the service, and the service exists."""
        return self.exists and name in (self.service, self.views.service_arn)

    def check_service(self, params: Params) -> None:
        """Raises ServiceNotFoundException for any service but this one."""
        self.check_cluster(params)
        if not self.is_service(params["service"]):
            raise AwsError("ServiceNotFoundException", "Service not found.")

    def handlers(self) -> dict[str, Handler]:
        """For `Front.add("ecs", ...)` where there is one region only; see `ecs_handlers`."""
        return ecs_handlers([self])

    def operations(self) -> dict[str, Callable[[Params], dict[str, Any]]]:
        """Operation -> what answers it in this region."""
        return {
            "DescribeClusters": self._describe_clusters,
            "DescribeServices": self._describe_services,
            "ListServices": self._list_services,
            "UpdateService": self._update_service,
            "ListServiceDeployments": self._list_service_deployments,
            "DescribeServiceDeployments": self._describe_service_deployments,
            "DescribeServiceRevisions": lambda params: self.views.service_revisions(params["serviceRevisionArns"]),
            "StopServiceDeployment": self._stop_service_deployment,
            "ListTasks": self._list_tasks,
            "DescribeTasks": self._describe_tasks,
            "ListTaskDefinitions": self._list_task_definitions,
            "DescribeTaskDefinition": self._describe_task_definition,
        }

    def _describe_clusters(self, params: Params) -> dict[str, Any]:
        found, failures = [], []
        for name in params.get("clusters", ["default"]):
            if name in (self.cluster, self.views.cluster_arn):
                found.append(self.views.cluster(exists=self.exists))
            else:
                failures.append({"arn": self.views.arn("cluster", name), "reason": "MISSING"})
        return {"clusters": found, "failures": failures}

    def _list_services(self, params: Params) -> dict[str, Any]:
        self.check_cluster(params)
        return {"serviceArns": [self.views.service_arn] if self.exists else []}

    def _describe_services(self, params: Params) -> dict[str, Any]:
        self.check_cluster(params)
        found, failures = [], []
        for name in params["services"]:
            if self.is_service(name):
                found.append(self.views.service())
            else:
                arn = name if name.startswith("arn:") else self.views.arn("service", self.cluster, name)
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"services": found, "failures": failures}

    def _update_service(self, params: Params) -> dict[str, Any]:
        self.check_service(params)
        scheduler = self.scheduler
        revision = scheduler.primary.revision
        if "taskDefinition" in params:
            revision = self.revision_named(params["taskDefinition"], otherwise="TaskDefinition not found.")
        if params.get("desiredCount", 0) < 0:
            raise AwsError("InvalidParameterException", "desiredCount cannot be negative.")
        if params.get("desiredCount", scheduler.desired) != scheduler.desired:
            scheduler.desired, scheduler.primary.steady = params["desiredCount"], False
        self._set_rules(params.get("deploymentConfiguration", {}))
        if params.get("forceNewDeployment") or revision is not scheduler.primary.revision:
            scheduler.deploy(revision)
        return {"service": self.views.service()}

    def _set_rules(self, wanted: dict[str, Any]) -> None:
        rules = self.scheduler.rules
        rules.minimum_healthy_percent = wanted.get("minimumHealthyPercent", rules.minimum_healthy_percent)
        rules.maximum_percent = wanted.get("maximumPercent", rules.maximum_percent)
        breaker = wanted.get("deploymentCircuitBreaker", {})
        rules.breaker = breaker.get("enable", rules.breaker)
        rules.breaker_rolls_back = breaker.get("rollback", rules.breaker_rolls_back)

    def _list_service_deployments(self, params: Params) -> dict[str, Any]:
        self.check_service(params)
        wanted, between = params.get("status"), params.get("createdAt", {})
        found = [
            self.views.brief(record)
            for record in reversed(self.scheduler.records)
            if (not wanted or record.status in wanted)
            and between.get("after", record.created_at) <= record.created_at
            and record.created_at <= between.get("before", record.created_at)
        ]
        return {"serviceDeployments": found[: params.get("maxResults", 20)]}

    def _record(self, arn: str) -> ServiceDeployment | None:
        return next((one for one in self.scheduler.records if self.views.record_arn(one) == arn), None)

    def _describe_service_deployments(self, params: Params) -> dict[str, Any]:
        found, failures = [], []
        for arn in params["serviceDeploymentArns"]:
            record = self._record(arn)
            if record is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(self.views.record(record))
        return {"serviceDeployments": found, "failures": failures}

    def _stop_service_deployment(self, params: Params) -> dict[str, Any]:
        arn = params["serviceDeploymentArn"]
        record = self._record(arn)
        if record is None:
            raise AwsError("ServiceDeploymentNotFoundException", f"The service deployment {arn} was not found.")
        if record.status != IN_PROGRESS:
            raise AwsError("ConflictException", f"The service deployment is {record.status} and cannot be stopped.")
        if params.get("stopType", "ROLLBACK") == "ROLLBACK":
            self.scheduler.roll_back("Service deployment rollback requested by a user.")
        else:
            self.scheduler.abort()
        return {"serviceDeploymentArn": arn}

    def _list_tasks(self, params: Params) -> dict[str, Any]:
        self.check_cluster(params)
        if "serviceName" in params and not self.is_service(params["serviceName"]):
            raise AwsError("ServiceNotFoundException", "Service not found.")
        wanted = params.get("desiredStatus", "RUNNING")
        found = [
            self.views.arn("task", self.cluster, task.id)
            for task in reversed(self.scheduler.tasks)
            if task.desired == wanted and params.get("startedBy") in (None, task.deployment)
        ]
        return {"taskArns": found[: params.get("maxResults", 100)]}

    def _describe_tasks(self, params: Params) -> dict[str, Any]:
        self.check_cluster(params)
        by_id = {task.id: task for task in self.scheduler.tasks}
        found, failures = [], []
        for name in params["tasks"]:
            task = by_id.get(name.rpartition("/")[2])
            if task is None:
                failures.append({"arn": name, "reason": "MISSING"})
            else:
                found.append(self.views.task(task))
        return {"tasks": found, "failures": failures}

    def _list_task_definitions(self, params: Params) -> dict[str, Any]:
        numbers = sorted(self.revisions, reverse=params.get("sort") == "DESC")
        if params.get("familyPrefix", self.service) != self.service or params.get("status", "ACTIVE") != "ACTIVE":
            return {"taskDefinitionArns": []}
        arns = [self.views.definition_arn(self.revisions[number]) for number in numbers]
        return {"taskDefinitionArns": arns[: params.get("maxResults", 100)]}

    def _describe_task_definition(self, params: Params) -> dict[str, Any]:
        revision = self.revision_named(params["taskDefinition"], otherwise="Unable to describe task definition.")
        return {"taskDefinition": self.views.definition(revision), "tags": []}


def ecs_handlers(services: Iterable[Ecs]) -> dict[str, Handler]:
    """For `Front.add("ecs", ...)`: each region's own service; a region without one has no cluster."""
    by_region = {one.region: one.operations() for one in services}
    names = {name for operations in by_region.values() for name in operations}

    def handler(name: str) -> Handler:
        def answer(region: str, params: Params) -> Awaitable[dict[str, Any]] | dict[str, Any]:
            if region not in by_region:
                raise AwsError("ClusterNotFoundException", "Cluster not found.")
            return by_region[region][name](params)

        return answer

    return {name: handler(name) for name in names}


def _past(number: int, revision: Revision) -> ServiceDeployment:
    """The finished deployment of an earlier revision, so that the service has a history."""
    return ServiceDeployment(
        number=number,
        revision=revision,
        created_at=revision.registered_at,
        finished_at=revision.registered_at + timedelta(minutes=3),
        status="SUCCESSFUL",
    )
