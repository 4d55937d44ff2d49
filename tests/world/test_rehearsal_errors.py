"""Bad requests of every operation: the rehearsal's AWS refuses them with moto's code, or the difference has a reason here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tests.world.aws_world import EAST, WEST, LocalAws
from tests.world.rds_account import KEYS, Account

CLIENTS = boto3.Session(**KEYS)
ONCE = Config(retries={"total_max_attempts": 1})
NOBODY = "nobody"
INSTANCE = {"DBInstanceIdentifier": NOBODY}
SECRET = {"SecretId": NOBODY}
CHANGE = {
    "Action": "UPSERT",
    "ResourceRecordSet": {"Name": "a.example", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]},
}
ARN = "arn:aws:rds:us-west-2:123456789012:db:nobody"
BAD: list[tuple[str, str, dict[str, Any]]] = [
    ("ecs", "list_services", {"cluster": NOBODY}),
    ("ecs", "describe_services", {"cluster": NOBODY, "services": ["control-plane"]}),
    ("ecs", "describe_task_definition", {"taskDefinition": NOBODY}),
    ("ecs", "describe_tasks", {"cluster": NOBODY, "tasks": ["a"]}),
    ("ecs", "list_tasks", {"cluster": NOBODY}),
    ("ecs", "update_service", {"cluster": NOBODY, "service": "control-plane"}),
    ("ecs", "create_service", {"cluster": NOBODY, "serviceName": "other", "taskDefinition": "control-plane:1"}),
    ("ecs", "list_service_deployments", {"cluster": NOBODY, "service": "control-plane"}),
    ("ecs", "describe_service_deployments", {"serviceDeploymentArns": [NOBODY]}),
    ("ecs", "stop_service_deployment", {"serviceDeploymentArn": NOBODY}),
    ("logs", "filter_log_events", {"logGroupName": NOBODY}),
    ("logs", "get_log_events", {"logGroupName": NOBODY, "logStreamName": "a"}),
    ("logs", "describe_log_streams", {"logGroupName": NOBODY}),
    ("logs", "describe_log_groups", {"limit": 51}),
    ("cloudwatch", "describe_alarms", {"MaxRecords": 101}),
    ("secretsmanager", "get_secret_value", SECRET),
    ("secretsmanager", "describe_secret", SECRET),
    ("secretsmanager", "list_secret_version_ids", SECRET),
    ("secretsmanager", "put_secret_value", {**SECRET, "SecretString": "x"}),
    ("secretsmanager", "update_secret_version_stage", {**SECRET, "VersionStage": "AWSCURRENT"}),
    ("ecr", "describe_images", {"repositoryName": NOBODY}),
    ("route53", "get_hosted_zone", {"Id": "ZNOBODY"}),
    ("route53", "get_health_check_status", {"HealthCheckId": NOBODY}),
    ("route53", "change_resource_record_sets", {"HostedZoneId": "ZNOBODY", "ChangeBatch": {"Changes": [CHANGE]}}),
    ("route53", "get_health_check", {"HealthCheckId": NOBODY}),
    ("route53", "get_change", {"Id": "CNOBODY"}),
    ("route53", "list_resource_record_sets", {"HostedZoneId": "ZNOBODY"}),
    ("rds", "describe_db_instances", INSTANCE),
    ("rds", "modify_db_instance", {**INSTANCE, "MultiAZ": False}),
    ("rds", "reboot_db_instance", INSTANCE),
    ("rds", "delete_db_instance", {**INSTANCE, "SkipFinalSnapshot": True}),
    ("rds", "promote_read_replica", INSTANCE),
    ("rds", "create_db_instance_read_replica", {"DBInstanceIdentifier": "new", "SourceDBInstanceIdentifier": NOBODY}),
    ("rds", "create_db_snapshot", {**INSTANCE, "DBSnapshotIdentifier": "new"}),
    ("rds", "delete_db_snapshot", {"DBSnapshotIdentifier": NOBODY}),
    ("rds", "describe_db_snapshots", {"DBSnapshotIdentifier": NOBODY}),
    ("rds", "restore_db_instance_from_db_snapshot", {"DBInstanceIdentifier": "new", "DBSnapshotIdentifier": NOBODY}),
    ("rds", "restore_db_instance_to_point_in_time",
     {"SourceDBInstanceIdentifier": NOBODY, "TargetDBInstanceIdentifier": "new", "UseLatestRestorableTime": True}),
    ("rds", "list_tags_for_resource", {"ResourceName": ARN}),
    ("rds", "add_tags_to_resource", {"ResourceName": ARN, "Tags": [{"Key": "a", "Value": "b"}]}),
    ("rds", "remove_tags_from_resource", {"ResourceName": ARN, "TagKeys": ["a"]}),
]  # fmt: skip


NOTHING_TO_NAME = {  # operations that take no name of a thing, or answer about an unknown one without an error
    "cloudwatch GetMetricData",
    "ecs DescribeClusters",
    "ecs DescribeServiceRevisions",
    "ecs ListTaskDefinitions",
    "iam SimulatePrincipalPolicy",
    "rds DescribeDBInstanceAutomatedBackups",
    "rds DescribeEvents",
    "route53 ListHealthChecks",
    "route53 ListHostedZones",
    "route53 ListHostedZonesByName",
    "sts GetCallerIdentity",
}
MISSING, CRASHES = "moto doesn't have the operation", "moto fails at its own answer"
LENIENT = "moto takes what AWS's reference says is refused"
DIFFERENCES = {
    "ecs ListServiceDeployments": MISSING,
    "ecs DescribeServiceDeployments": MISSING,
    "ecs StopServiceDeployment": MISSING,
    "secretsmanager ListSecretVersionIds": CRASHES,
    "rds PromoteReadReplica": CRASHES,
    "cloudwatch DescribeAlarms": LENIENT,
    "route53 GetChange": LENIENT,
    "rds ListTagsForResource": LENIENT,
    "rds AddTagsToResource": LENIENT,
    "rds RemoveTagsFromResource": LENIENT,
}


@pytest.fixture
async def everything() -> AsyncIterator[LocalAws]:
    """AWS with its second region, which brings Route 53."""
    async with LocalAws(two_regions=True) as aws:
        yield aws


def operation(service: str, method: str) -> str:
    """The API's name of one of boto3's methods, with its service."""
    return f"{service} {CLIENTS.client(service, region_name=WEST).meta.method_to_api_mapping[method]}"


async def code(call: Awaitable[Any]) -> str:
    """The error code of the refusal; "" if there was none that could be read."""
    try:
        await call
    except ClientError as error:
        return error.response["Error"]["Code"]
    except ResponseParserError:
        return ""
    return ""


async def test_the_same_bad_request_gets_the_code_that_moto_gives(account: Account, everything: LocalAws, moto: str) -> None:
    different = set()
    for service, method, params in BAD:
        region = EAST if service == "route53" else WEST
        theirs = CLIENTS.client(service, region_name=region, endpoint_url=moto, config=ONCE)
        expected = await code(asyncio.to_thread(getattr(theirs, method), **params))
        ours = account.call(method, **params) if service == "rds" else everything.call(service, method, region=region, **params)
        if await code(ours) != expected:
            different.add(operation(service, method))
        theirs.close()
    assert different == set(DIFFERENCES)


def test_every_operation_of_the_rehearsal_is_compared(account: Account, everything: LocalAws) -> None:
    answered = {f"{service} {name}" for service, name in (*everything.front.operations, *account.front.operations)}
    assert answered == NOTHING_TO_NAME | {operation(service, method) for service, method, _ in BAD}
