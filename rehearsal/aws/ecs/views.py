"""How a service, its deployments and its tasks look in ECS's answers. Nothing here changes anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from rehearsal.aws.ecs.scheduler import IN_PROGRESS, Deployment, Scheduler, ServiceDeployment
from rehearsal.aws.ecs.tasks import Revision, Task
from rehearsal.aws.sts import ACCOUNT


class Views:
    """The parts of answers about the cluster and service of one region."""

    def __init__(
        self, *, scheduler: Scheduler, region: str, cluster: str, service: str, log_group: str, secrets: Mapping[str, str]
    ) -> None:
        self.scheduler = scheduler
        self.region = region
        self.cluster_name = cluster
        self.service_name = service
        self.log_group = log_group
        self.secrets = secrets

    def arn(self, kind: str, *rest: str) -> str:
        """An ECS ARN of this region, such as arn("task", cluster, id)."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:{'/'.join((kind, *rest))}"

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN."""
        return self.arn("cluster", self.cluster_name)

    @property
    def service_arn(self) -> str:
        """The service's ARN."""
        return self.arn("service", self.cluster_name, self.service_name)

    def definition_arn(self, revision: Revision) -> str:
        """The ARN of a task definition's revision."""
        return self.arn("task-definition", f"{self.service_name}:{revision.number}")

    def record_arn(self, record: ServiceDeployment) -> str:
        """The ARN of a service deployment."""
        return self.arn("service-deployment", self.cluster_name, self.service_name, record.id)

    def _revision_arn(self, record: ServiceDeployment, revision: Revision) -> str:
        number = f"{record.number:04d}{revision.number:015d}"
        return self.arn("service-revision", self.cluster_name, self.service_name, number)

    def cluster(self, *, exists: bool) -> dict[str, Any]:
        """A Cluster."""
        tasks = self.scheduler.tasks
        return {
            "clusterArn": self.cluster_arn,
            "clusterName": self.cluster_name,
            "status": "ACTIVE",
            "runningTasksCount": sum(task.last == "RUNNING" for task in tasks),
            "pendingTasksCount": sum(task.last == "PENDING" for task in tasks),
            "activeServicesCount": int(exists),
            "registeredContainerInstancesCount": 0,
        }

    def service(self) -> dict[str, Any]:
        """A Service, with its deployments and its newest events first."""
        scheduler = self.scheduler
        shown = [
            one for one in scheduler.deployments if one is scheduler.primary or scheduler.of(one) or one.rollout != IN_PROGRESS
        ]
        return {
            "serviceArn": self.service_arn,
            "serviceName": self.service_name,
            "clusterArn": self.cluster_arn,
            "status": "ACTIVE",
            "desiredCount": scheduler.desired,
            "runningCount": sum(task.last == "RUNNING" for task in scheduler.tasks),
            "pendingCount": sum(task.last == "PENDING" for task in scheduler.tasks),
            "launchType": "FARGATE",
            "schedulingStrategy": "REPLICA",
            "taskDefinition": self.definition_arn(scheduler.primary.revision),
            "deploymentConfiguration": self.configuration(),
            "deploymentController": {"type": "ECS"},
            "deployments": [self.deployment(one) for one in shown],
            "events": list(scheduler.events),
            "createdAt": scheduler.records[0].created_at,
            "currentServiceDeployment": self.record_arn(scheduler.primary.record),
            "loadBalancers": [],
            "enableExecuteCommand": False,
        }

    def configuration(self) -> dict[str, Any]:
        """A DeploymentConfiguration."""
        rules = self.scheduler.rules
        return {
            "strategy": "ROLLING",
            "minimumHealthyPercent": rules.minimum_healthy_percent,
            "maximumPercent": rules.maximum_percent,
            "deploymentCircuitBreaker": {"enable": rules.breaker, "rollback": rules.breaker_rolls_back},
        }

    def deployment(self, deployment: Deployment) -> dict[str, Any]:
        """A Deployment: PRIMARY if it is the newest, else ACTIVE."""
        tasks = self.scheduler.of(deployment)
        primary = deployment is self.scheduler.primary
        return {
            "id": deployment.id,
            "status": "PRIMARY" if primary else "ACTIVE",
            "taskDefinition": self.definition_arn(deployment.revision),
            "desiredCount": self.scheduler.desired if primary else 0,
            "runningCount": sum(task.last == "RUNNING" for task in tasks),
            "pendingCount": sum(task.last == "PENDING" for task in tasks),
            "failedTasks": deployment.failed_tasks,
            "createdAt": deployment.created_at,
            "updatedAt": deployment.updated_at,
            "launchType": "FARGATE",
            "rolloutState": deployment.rollout,
            "rolloutStateReason": deployment.reason,
        }

    def brief(self, record: ServiceDeployment) -> dict[str, Any]:
        """A ServiceDeploymentBrief."""
        return {
            "serviceDeploymentArn": self.record_arn(record),
            "serviceArn": self.service_arn,
            "clusterArn": self.cluster_arn,
            "createdAt": record.created_at,
            "startedAt": record.created_at,
            "finishedAt": record.finished_at,
            "targetServiceRevisionArn": self._revision_arn(record, record.revision),
            "status": record.status,
            "statusReason": record.reason,
        }

    def image_of(self, revision: Revision) -> str:
        """The image's full name in this account's registry."""
        return f"{ACCOUNT}.dkr.ecr.{self.region}.amazonaws.com/{revision.image}"

    def service_revisions(self, arns: list[str]) -> dict[str, Any]:
        """The answer of DescribeServiceRevisions."""
        known = {
            self._revision_arn(record, revision): (record, revision)
            for record in self.scheduler.records
            for revision in (record.revision, record.source, record.rollback_to)
            if revision is not None
        }
        found = [
            {
                "serviceRevisionArn": arn,
                "serviceArn": self.service_arn,
                "clusterArn": self.cluster_arn,
                "taskDefinition": self.definition_arn(known[arn][1]),
                "launchType": "FARGATE",
                "createdAt": known[arn][0].created_at,
            }
            for arn in arns
            if arn in known
        ]
        failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]
        return {"serviceRevisions": found, "failures": failures}

    def record(self, record: ServiceDeployment) -> dict[str, Any]:
        """A ServiceDeployment."""
        brief = self.brief(record)
        target = brief.pop("targetServiceRevisionArn")
        rollback = None
        if record.rollback_to is not None:
            rollback = {
                "reason": record.reason,
                "startedAt": record.rollback_started_at,
                "serviceRevisionArn": self._revision_arn(record, record.rollback_to),
            }
        source = [{"arn": self._revision_arn(record, record.source)}] if record.source else []
        return {
            **brief,
            "stoppedAt": record.stopped_at,
            "targetServiceRevision": {"arn": target, "requestedTaskCount": self.scheduler.desired},
            "sourceServiceRevisions": source,
            "deploymentConfiguration": self.configuration(),
            "deploymentCircuitBreaker": self._breaker(record),
            "rollback": rollback,
        }

    def _breaker(self, record: ServiceDeployment) -> dict[str, Any]:
        on = self.scheduler.rules.breaker
        status = ("MONITORING" if record.finished_at is None else "MONITORING_COMPLETE") if on else "DISABLED"
        return {"status": status, "failureCount": record.failures, "threshold": 3}

    def task(self, task: Task) -> dict[str, Any]:
        """A Task with its one container."""
        arn = self.arn("task", self.cluster_name, task.id)
        container = {
            "containerArn": self.arn("container", self.cluster_name, task.id, "1"),
            "taskArn": arn,
            "name": self.service_name,
            "image": self.image_of(task.revision),
            "imageDigest": digest_of(task.revision),
            "lastStatus": task.last,
            "exitCode": task.exit_code,
            "healthStatus": task.health,
        }
        return {
            "taskArn": arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.definition_arn(task.revision),
            "group": f"service:{self.service_name}",
            "startedBy": task.deployment,
            "launchType": "FARGATE",
            "desiredStatus": task.desired,
            "lastStatus": task.last,
            "healthStatus": task.health,
            "createdAt": task.created_at,
            "startedAt": task.started_at,
            "stoppingAt": task.stopping_at,
            "stoppedAt": task.stopped_at,
            "stopCode": task.stop_code,
            "stoppedReason": task.reason,
            "containers": [container],
        }

    def definition(self, revision: Revision) -> dict[str, Any]:
        """A TaskDefinition."""
        check = f"curl --fail --silent http://localhost:8080{revision.health_path} || exit 1"
        container = {
            "name": self.service_name,
            "image": self.image_of(revision),
            "essential": True,
            "secrets": [{"name": name, "valueFrom": arn} for name, arn in self.secrets.items()],
            "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
            "healthCheck": {"command": ["CMD-SHELL", check], "interval": 10, "timeout": 2, "retries": 3},
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group,
                    "awslogs-region": self.region,
                    "awslogs-stream-prefix": "ecs",
                },
            },
        }
        return {
            "taskDefinitionArn": self.definition_arn(revision),
            "family": self.service_name,
            "revision": revision.number,
            "status": "ACTIVE",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "512",
            "memory": "1024",
            "registeredAt": revision.registered_at,
            "containerDefinitions": [container],
        }


def digest_of(revision: Revision) -> str:
    """The digest of a revision's image, the same wherever it is shown."""
    return f"sha256:{hashlib.sha256(revision.image.encode()).hexdigest()}"
