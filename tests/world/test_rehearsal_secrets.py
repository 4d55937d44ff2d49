"""Secrets Manager by boto3, and tasks that read a secret when they start and at no other time."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.aws.clock import Clock
from rehearsal.aws.ecs.api import ecs_handlers
from rehearsal.aws.ecs.service import Ecs, known_revisions
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.logs import Logs
from rehearsal.aws.secretsmanager import SecretsManager
from rehearsal.machines.balancer import Balancer
from rehearsal.waiting import until

NAME, WEST = "shielda/database-url", "us-west-2"
KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}


class Account:
    """Secrets and a control plane whose tasks say nothing but which environment they got."""

    def __init__(self) -> None:
        clock = Clock(2000)
        self.journal = Journal()
        self.secrets = SecretsManager(clock)
        self.secrets.create(NAME, "postgresql://first")
        self.got: list[str] = []
        self.balancer = Balancer(seconds=0.4)
        self.ecs = Ecs(
            clock=clock,
            logs=Logs(clock=clock),
            balancer=self.balancer,
            environment=self._environment,
            secrets={"DATABASE_URL": self.secrets.arn(NAME)},
            revisions=known_revisions("no-database"),
        )
        self.front = Front(regions={WEST: 0, "us-east-1": 0}, journal=self.journal, faults=Faults())
        self.front.add("secretsmanager", self.secrets.handlers())
        self.front.add("ecs", ecs_handlers([self.ecs]))
        self.endpoints: dict[str, str] = {}

    def _environment(self) -> dict[str, str]:
        self.got.append(self.secrets.current(NAME))
        return {"DATABASE_URL": self.got[-1]}

    async def call(self, method: str, aws: str = "secretsmanager", region: str = WEST, **params: Any) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            config = Config(retries={"total_max_attempts": 1})
            client = boto3.client(aws, region_name=region, endpoint_url=self.endpoints[region], config=config, **KEYS)
            try:
                return dict(getattr(client, method)(**params))
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def refused(self, method: str, **params: Any) -> str:
        with pytest.raises(ClientError) as error:
            await self.call(method, **params)
        return str(error.value.response["Error"]["Code"])

    async def service(self) -> dict[str, Any]:
        answer = await self.call("describe_services", "ecs", cluster="shielda", services=["control-plane"])
        found: dict[str, Any] = answer["services"][0]
        return found

    async def update(self, **params: Any) -> None:
        await self.call("update_service", "ecs", cluster="shielda", service="control-plane", **params)

    async def running(self, count: int) -> None:
        await until(lambda: sum(task.last != "STOPPED" for task in self.ecs.scheduler.tasks) == count, 20)
        await until(lambda: sum(task.serving for task in self.ecs.scheduler.tasks) == count, 20)


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    account = Account()
    account.endpoints = await account.front.start()
    await account.balancer.start()
    yield account
    await account.ecs.close()
    await account.balancer.close()
    await account.front.close()  # raises if an answer did not fit AWS's shapes


async def test_a_new_version_becomes_current_and_the_old_one_previous(account: Account) -> None:
    token = str(uuid.uuid4())
    before = await account.call("get_secret_value", SecretId=NAME)
    put = await account.call("put_secret_value", SecretId=NAME, SecretString="second", ClientRequestToken=token)
    assert (put["VersionId"], put["VersionStages"]) == (token, ["AWSCURRENT"])
    assert (await account.call("get_secret_value", SecretId=NAME))["SecretString"] == "second"
    previous = await account.call("get_secret_value", SecretId=before["ARN"], VersionStage="AWSPREVIOUS")
    assert previous["VersionId"] == before["VersionId"]
    described = await account.call("describe_secret", SecretId=NAME)
    assert described["VersionIdsToStages"] == {before["VersionId"]: ["AWSPREVIOUS"], token: ["AWSCURRENT"]}


async def test_the_same_token_is_the_same_version_and_never_another_value(account: Account) -> None:
    token = str(uuid.uuid4())
    same = {"SecretId": NAME, "ClientRequestToken": token}
    for _ in range(2):
        answer = await account.call("put_secret_value", **same, SecretString="x", VersionStages=["dr-staged"])
        assert (answer["VersionId"], answer["VersionStages"]) == (token, ["dr-staged"])
    assert await account.refused("put_secret_value", **same, SecretString="y") == "ResourceExistsException"
    assert (await account.call("get_secret_value", SecretId=NAME))["SecretString"] == "postgresql://first"
    versions = (await account.call("list_secret_version_ids", SecretId=NAME))["Versions"]
    assert len(versions) == 2


async def test_a_stage_moves_only_away_from_where_it_is(account: Account) -> None:
    first = (await account.call("get_secret_value", SecretId=NAME))["VersionId"]
    token = str(uuid.uuid4())
    put = {"SecretString": "second", "ClientRequestToken": token, "VersionStages": ["dr-staged"]}
    await account.call("put_secret_value", SecretId=NAME, **put)
    move = {"SecretId": NAME, "VersionStage": "AWSCURRENT", "MoveToVersionId": token}
    assert await account.refused("update_secret_version_stage", **move) == "InvalidParameterException"
    assert await account.refused("update_secret_version_stage", **move, RemoveFromVersionId=str(uuid.uuid4())) == (
        "ResourceNotFoundException"
    )
    await account.call("update_secret_version_stage", **move, RemoveFromVersionId=first)
    assert account.secrets.current(NAME) == "second"
    back = {"SecretId": NAME, "VersionStage": "AWSCURRENT", "MoveToVersionId": first}
    assert await account.refused("update_secret_version_stage", **back, RemoveFromVersionId=first) == "InvalidParameterException"
    await account.call("update_secret_version_stage", **back, RemoveFromVersionId=token)
    stages = (await account.call("describe_secret", SecretId=NAME))["VersionIdsToStages"]
    assert stages == {first: ["AWSCURRENT"], token: ["dr-staged", "AWSPREVIOUS"]}


async def test_what_is_not_there_is_not_found(account: Account) -> None:
    assert await account.refused("describe_secret", SecretId="shielda/other") == "ResourceNotFoundException"
    assert await account.refused("get_secret_value", SecretId=NAME, VersionStage="dr-staged") == "ResourceNotFoundException"
    assert await account.refused("get_secret_value", SecretId=NAME, VersionId=str(uuid.uuid4())) == "ResourceNotFoundException"
    assert await account.refused("get_secret_value", SecretId=NAME, region="us-east-1") == "ResourceNotFoundException"


async def test_a_restart_reads_the_secret_and_running_tasks_do_not(account: Account) -> None:
    await account.ecs.start(7)
    definition = await account.call("describe_task_definition", "ecs", taskDefinition="control-plane:7")
    secrets = definition["taskDefinition"]["containerDefinitions"][0]["secrets"]
    assert secrets == [{"name": "DATABASE_URL", "valueFrom": account.secrets.arn(NAME)}]
    await account.call("put_secret_value", SecretId=NAME, SecretString="postgresql://second")
    await asyncio.sleep(0.1)
    assert account.got == ["postgresql://first"]
    await account.update(forceNewDeployment=True)
    await until(lambda: len(account.got) == 2, 10)
    assert account.got[-1] == "postgresql://second"


async def test_a_service_is_scaled_to_nothing_and_back(account: Account) -> None:
    await account.ecs.start(7)
    await account.update(desiredCount=0)
    await account.running(0)
    assert ((await account.service())["desiredCount"], (await account.service())["runningCount"]) == (0, 0)
    await account.update(desiredCount=2)
    await account.running(2)
    await account.update(desiredCount=0, forceNewDeployment=True)
    await account.running(0)
    primary = (await account.service())["deployments"][0]["id"]
    await until(lambda: account.ecs.scheduler.primary.rollout == "COMPLETED", 10)
    await account.update(desiredCount=1, forceNewDeployment=True)
    await account.running(1)
    assert (await account.service())["deployments"][0]["id"] != primary


async def test_a_task_without_its_secret_fails_to_start_and_says_so(account: Account) -> None:
    await account.ecs.start(7)
    account.secrets._secrets.clear()
    await account.update(forceNewDeployment=True)
    await until(lambda: any(task.stop_code == "TaskFailedToStart" for task in account.ecs.scheduler.tasks), 10)
    failed = next(task for task in account.ecs.scheduler.tasks if task.stop_code == "TaskFailedToStart")
    assert failed.reason is not None
    assert failed.reason.startswith("ResourceInitializationError: unable to pull secrets")


async def test_the_journal_keeps_no_secret(account: Account) -> None:
    await account.call("put_secret_value", SecretId=NAME, SecretString="hunter2")
    assert "hunter2" not in str(account.journal.calls())
