"""ECS's operations on the rehearsal's one cluster and service, each as AWS answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from rehearsal.aws.ecs.asked import between, page
from rehearsal.aws.ecs.scheduler import IN_PROGRESS, ServiceDeployment
from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.ecs.tasks import Revision
from rehearsal.aws.front import AwsError, Handler

Params = dict[str, Any]


def ecs_handlers(services: Iterable[Ecs]) -> dict[str, Handler]:
    """For `Front.add("ecs", ...)`: each region has its own service. A region without one has no cluster."""
    by_region = {one.region: Operations(one).by_name() for one in services}
    names = {name for operations in by_region.values() for name in operations}

    def handler(name: str) -> Handler:
        def answer(region: str, params: Params) -> Awaitable[dict[str, Any]] | dict[str, Any]:
            if region not in by_region:
                raise AwsError("ClusterNotFoundException", "Cluster not found.")
            return by_region[region][name](params)

        return answer

    return {name: handler(name) for name in names}


class Operations:
    """The operations of one region."""

    def __init__(self, ecs: Ecs) -> None:
        self.ecs = ecs
        self.views = ecs.views
        self.scheduler = ecs.scheduler

    def by_name(self) -> dict[str, Callable[[Params], dict[str, Any]]]:
        """What answers each operation, by its name."""
        return {
            "DescribeClusters": self._describe_clusters,
            "DescribeServices": self._describe_services,
            "ListServices": self._list_services,
            "CreateService": self._create_service,
            "UpdateService": self._update_service,
            "ListServiceDeployments": self._list_service_deployments,
            "DescribeServiceDeployments": self._describe_service_deployments,
            "DescribeServiceRevisions": lambda params: self.views.service_revisions(between(params, "serviceRevisionArns", 20)),
            "StopServiceDeployment": self._stop_service_deployment,
            "ListTasks": self._list_tasks,
            "DescribeTasks": self._describe_tasks,
            "ListTaskDefinitions": self._list_task_definitions,
            "DescribeTaskDefinition": self._describe_task_definition,
        }

    def _describe_clusters(self, params: Params) -> dict[str, Any]:
        found, failures = [], []
        for name in between(params, "clusters", 100, least=0) or ["default"]:
            if name in (self.ecs.cluster, self.views.cluster_arn):
                found.append(self.views.cluster(exists=self.ecs.exists))
            else:
                failures.append({"arn": self.views.arn("cluster", name), "reason": "MISSING"})
        return {"clusters": found, "failures": failures}

    def _list_services(self, params: Params) -> dict[str, Any]:
        self._check_cluster(params)
        return page("serviceArns", [self.views.service_arn] if self.ecs.exists else [], params, default=10)

    def _describe_services(self, params: Params) -> dict[str, Any]:
        self._check_cluster(params)
        found, failures = [], []
        for name in between(params, "services", 10):
            if self._is_service(name):
                found.append(self.views.service())
            else:
                arn = name if name.startswith("arn:") else self.views.arn("service", self.ecs.cluster, name)
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"services": found, "failures": failures}

    def _create_service(self, params: Params) -> dict[str, Any]:
        """The one service that there can be here; the same token again is the same creation."""
        self._check_cluster(params)
        name, token = params["serviceName"], params.get("clientToken")
        if self.ecs.exists and not (token and token == self.ecs.created_by):
            raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
        if name != self.ecs.service:
            raise AwsError(
                "InvalidParameterException", f"The rehearsal's cluster has room for the service {self.ecs.service} only."
            )
        if not params.get("taskDefinition"):
            raise AwsError("InvalidParameterException", "TaskDefinition can not be blank.")
        if params.get("desiredCount", -1) < 0:
            raise AwsError("InvalidParameterException", "desiredCount must be given, and cannot be negative.")
        revision = self._revision_named(params["taskDefinition"], otherwise="TaskDefinition not found.")
        if not self.ecs.exists:
            self.ecs.create(revision, desired=params["desiredCount"], token=token)
            self._set_rules(params.get("deploymentConfiguration", {}))
        return {"service": self.views.service()}

    def _update_service(self, params: Params) -> dict[str, Any]:
        self._check_service(params)
        scheduler = self.scheduler
        revision = scheduler.primary.revision
        if "taskDefinition" in params:
            revision = self._revision_named(params["taskDefinition"], otherwise="TaskDefinition not found.")
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
        self._check_service(params)
        wanted, between = params.get("status"), params.get("createdAt", {})
        found = [
            self.views.brief(record)
            for record in reversed(self.scheduler.records)
            if (not wanted or record.status in wanted)
            and between.get("after", record.created_at) <= record.created_at
            and record.created_at <= between.get("before", record.created_at)
        ]
        return page("serviceDeployments", found, params, default=20)

    def _record(self, arn: str) -> ServiceDeployment | None:
        return next((one for one in self.scheduler.records if self.views.record_arn(one) == arn), None)

    def _describe_service_deployments(self, params: Params) -> dict[str, Any]:
        found, failures = [], []
        for arn in between(params, "serviceDeploymentArns", 20):
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
        self._check_cluster(params)
        if "serviceName" in params and not self._is_service(params["serviceName"]):
            raise AwsError("ServiceNotFoundException", "Service not found.")
        wanted = params.get("desiredStatus", "RUNNING")
        found = [
            self.views.arn("task", self.ecs.cluster, task.id)
            for task in reversed(self.scheduler.tasks)
            if task.desired == wanted and params.get("startedBy") in (None, task.deployment)
        ]
        return page("taskArns", found, params)

    def _describe_tasks(self, params: Params) -> dict[str, Any]:
        self._check_cluster(params)
        by_id = {task.id: task for task in self.scheduler.tasks}
        found, failures = [], []
        for name in between(params, "tasks", 100):
            task = by_id.get(name.rpartition("/")[2])
            if task is None:
                failures.append({"arn": name, "reason": "MISSING"})
            else:
                found.append(self.views.task(task))
        return {"tasks": found, "failures": failures}

    def _list_task_definitions(self, params: Params) -> dict[str, Any]:
        numbers = sorted(self.ecs.revisions, reverse=params.get("sort") == "DESC")
        if params.get("familyPrefix", self.ecs.service) != self.ecs.service or params.get("status", "ACTIVE") != "ACTIVE":
            return {"taskDefinitionArns": []}
        arns = [self.views.definition_arn(self.ecs.revisions[number]) for number in numbers]
        return page("taskDefinitionArns", arns, params)

    def _describe_task_definition(self, params: Params) -> dict[str, Any]:
        revision = self._revision_named(params["taskDefinition"], otherwise="Unable to describe task definition.")
        return {"taskDefinition": self.views.definition(revision), "tags": []}

    def _revision_named(self, name: str, *, otherwise: str) -> Revision:
        """The revision of "family", "family:7" or its ARN; ClientException with the sentence `otherwise` if there is none."""
        family, _, number = name.rpartition("/")[2].partition(":")
        if family == self.ecs.service and not number:
            return self.ecs.revisions[max(self.ecs.revisions)]
        if family != self.ecs.service or not number.isdigit() or int(number) not in self.ecs.revisions:
            raise AwsError("ClientException", otherwise)
        return self.ecs.revisions[int(number)]

    def _check_cluster(self, params: Params) -> None:
        """ClusterNotFoundException unless it's this cluster."""
        name = params.get("cluster", "default")
        if name not in (self.ecs.cluster, self.views.cluster_arn):
            raise AwsError("ClusterNotFoundException", "Cluster not found.")

    def _is_service(self, name: str) -> bool:
        """Whether the service exists and this is its name or ARN."""
        return self.ecs.exists and name in (self.ecs.service, self.views.service_arn)

    def _check_service(self, params: Params) -> None:
        """ServiceNotFoundException unless it's this service."""
        self._check_cluster(params)
        if not self._is_service(params["service"]):
            raise AwsError("ServiceNotFoundException", "Service not found.")
