"""The rehearsal's AWS, met over real sockets by a real boto3: its protocols, faults, and an ECS of real processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from rehearsal.aws.clock import Clock
from rehearsal.aws.cloudwatch import CloudWatch
from rehearsal.aws.ecr import ecr_handlers
from rehearsal.aws.ecs import Ecs, ecs_handlers, known_revisions
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import AwsError, Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.logs import Logs
from rehearsal.aws.sts import iam_handlers, sts_handlers
from rehearsal.balancer import Balancer

WEST, EAST = "us-west-2", "us-east-1"
SERVICE = {"cluster": "shielda", "service": "control-plane"}
SESSION = boto3.Session(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="example")


class World:
    """The rehearsal's AWS in two regions with a control plane in the first."""

    def __init__(self, speed: float = 600) -> None:
        self.clock, self.journal, self.faults = Clock(speed), Journal(), Faults()
        self.front = Front(regions={WEST: 0, EAST: 0}, clock=self.clock, journal=self.journal, faults=self.faults)
        self.logs = Logs(clock=self.clock)
        self.alarms = CloudWatch(clock=self.clock)
        self.balancer = Balancer(seconds=0.4)
        self.ecs = Ecs(
            clock=self.clock,
            logs=self.logs,
            balancer=self.balancer,
            environment=lambda: {"AGENT_TOKEN": "let-me-in", "BROKEN_EXIT_AFTER": "0.1"},
            revisions=known_revisions("no-database"),
        )
        self.endpoints: dict[str, str] = {}

    async def start(self) -> None:
        self.front.add("ecs", ecs_handlers([self.ecs]))
        self.front.add("ecr", ecr_handlers([self.ecs]))
        self.front.add("logs", self.logs.handlers())
        self.front.add("cloudwatch", self.alarms.handlers())
        self.front.add("sts", sts_handlers())
        self.front.add("iam", iam_handlers(self.faults))
        self.endpoints = await self.front.start()
        await self.balancer.start()

    async def close(self) -> None:
        await self.ecs.close()
        await self.balancer.close()
        await self.front.close()  # raises if an answer did not fit AWS's shapes

    async def call(
        self, aws: str, method: str, /, *, region: str = WEST, attempts: int = 1, seconds: float = 5, **params: Any
    ) -> dict[str, Any]:
        retries = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(retries=retries, connect_timeout=1, read_timeout=seconds, user_agent_extra="drbot/test")

        def ask() -> dict[str, Any]:
            client = SESSION.client(aws, region_name=region, endpoint_url=self.endpoints[region], config=config)
            try:
                return getattr(client, method)(**params)
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def service(self) -> dict[str, Any]:
        answer = await self.call("ecs", "describe_services", cluster="shielda", services=["control-plane"])
        return answer["services"][0]

    async def get(self, path: str = "/api/health") -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.balancer.url, timeout=5) as client:
            return await client.get(path)

    async def settled(self, deployment: str) -> dict[str, Any]:
        async def done() -> dict[str, Any] | None:
            service = await self.service()
            primary = service["deployments"][0]
            over = primary["id"] == deployment and primary["rolloutState"] == "COMPLETED"
            return service if over and len(service["deployments"]) == 1 else None

        return await until(done)


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 8) -> Any:
    """What `look` returns once it returns something; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """The front alone: no service is deployed."""
    made = World()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def deployed(world: World) -> World:
    """The front with control-plane:7 running."""
    await world.ecs.start(7)
    return world


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


# --- protocols --------------------------------------------------------------------------------------------------


async def test_each_protocol_answers_with_request_id_and_date(world: World) -> None:
    identity = await world.call("sts", "get_caller_identity")
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/drbot/rehearsal"
    clusters = await world.call("ecs", "describe_clusters", clusters=["shielda"])
    assert clusters["clusters"][0]["clusterName"] == "shielda"
    for answer in (identity, clusters):
        assert len(answer["ResponseMetadata"]["RequestId"]) == 36
        assert answer["ResponseMetadata"]["HTTPHeaders"]["date"].endswith("GMT")


async def test_unknown_operations_are_refused_as_aws_refuses_them(world: World) -> None:
    with pytest.raises(ClientError) as json_error:
        await world.call("ecs", "list_account_settings")
    assert code_of(json_error) == "UnknownOperationException"
    with pytest.raises(ClientError) as query_error:
        await world.call("sts", "get_session_token")
    assert code_of(query_error) == "InvalidAction"
    with pytest.raises(ValueError, match="has no operation RebootTheMoon"):
        world.front.add("rds", {"RebootTheMoon": lambda region, params: {}})


async def test_a_request_without_a_signature_is_refused(world: World) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(world.endpoints[WEST], data={"Action": "GetCallerIdentity"})
    assert answer.status_code == 403
    assert "<Code>MissingAuthenticationToken</Code>" in answer.text


async def test_bad_parameters_are_refused_by_the_input_shape(world: World) -> None:
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/20261122/{WEST}/ecs/aws4_request, Signature=0",
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices",
    }
    async with httpx.AsyncClient() as client:
        answer = await client.post(world.endpoints[WEST], json={"services": "all", "colour": 1}, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["__type"] == "InvalidParameterException"
    assert "colour" in answer.json()["message"]


async def test_query_lists_structures_and_times_arrive_as_boto3_sent_them(world: World) -> None:
    seen: list[dict[str, Any]] = []

    def describe(region: str, params: dict[str, Any]) -> dict[str, Any]:
        seen.append(params)
        tag = {"Key": "dr:run", "Value": "a & b"}
        return {"DBInstances": [{"DBInstanceIdentifier": "x", "MultiAZ": True, "TagList": [tag], "AllocatedStorage": 3}]}

    world.front.add("rds", {"DescribeDBInstances": describe})
    filters = [{"Name": "db-instance-id", "Values": ["a", "b"]}, {"Name": "engine", "Values": ["postgres"]}]
    answer = await world.call("rds", "describe_db_instances", MaxRecords=20, Filters=filters)
    assert seen == [{"MaxRecords": 20, "Filters": filters}]
    assert answer["DBInstances"][0]["TagList"] == [{"Key": "dr:run", "Value": "a & b"}]
    assert answer["DBInstances"][0]["MultiAZ"] is True


async def test_an_answer_that_aws_could_not_give_fails_the_test_that_got_it() -> None:
    world = World()
    await world.start()
    world.front.add("sts", {"GetCallerIdentity": lambda region, params: {"Colour": "red"}})
    with pytest.raises(ClientError) as error:
        await world.call("sts", "get_caller_identity")
    assert code_of(error) == "InternalFailure"
    with pytest.raises(AssertionError, match="Colour"):
        await world.close()


async def test_errors_carry_the_status_of_the_model(world: World) -> None:
    def missing(region: str, params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("DBInstanceNotFound", "DBInstance nowhere not found.")

    world.front.add("rds", {"DescribeDBInstances": missing})
    with pytest.raises(ClientError) as error:
        await world.call("rds", "describe_db_instances", DBInstanceIdentifier="nowhere")
    assert code_of(error) == "DBInstanceNotFound"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


# --- faults -----------------------------------------------------------------------------------------------------


async def test_throttling_is_retried_by_a_reader_and_seen_by_a_single_attempt(world: World) -> None:
    world.faults.put("throttle", service="ecs", operation="DescribeClusters", times=2)
    with pytest.raises(ClientError) as error:
        await world.call("ecs", "describe_clusters")
    assert code_of(error) == "ThrottlingException"
    answer = await world.call("ecs", "describe_clusters", attempts=3)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1


async def test_drops_and_hangs_leave_the_client_without_an_answer(world: World) -> None:
    world.faults.put("drop", service="sts")
    with pytest.raises(ConnectionClosedError):
        await world.call("sts", "get_caller_identity")
    world.faults.put("hang", service="sts")
    with pytest.raises(ReadTimeoutError):
        await world.call("sts", "get_caller_identity", seconds=0.3)
    await until(lambda: _ready(len(world.journal.entries) == 2))
    assert [call["fault"] for call in world.journal.calls()] == ["drop", "hang"]
    assert [call["result"] for call in world.journal.calls()] == ["unanswered", "unanswered"]


async def _ready(value: bool) -> bool:
    return value


async def test_access_denied_is_simulated_and_enforced_alike(world: World) -> None:
    world.faults.put("access_denied", service="ecs", operation="UpdateService", times=None)
    decisions = await world.call(
        "iam",
        "simulate_principal_policy",
        PolicySourceArn="arn:aws:iam::123456789012:role/drbot",
        ActionNames=["ecs:UpdateService", "ecs:DescribeServices"],
    )
    assert [one["EvalDecision"] for one in decisions["EvaluationResults"]] == ["implicitDeny", "allowed"]
    with pytest.raises(ClientError) as error:
        await world.call("ecs", "update_service", **SERVICE)
    assert code_of(error) == "AccessDeniedException"
    assert world.journal.effects() == []


async def test_a_region_that_is_down_refuses_while_the_other_answers(world: World) -> None:
    await world.front.region_down(WEST)
    with pytest.raises(EndpointConnectionError):
        await world.call("sts", "get_caller_identity")
    assert (await world.call("sts", "get_caller_identity", region=EAST))["Account"] == "123456789012"
    await world.front.region_up(WEST)
    assert (await world.call("sts", "get_caller_identity"))["Account"] == "123456789012"


@pytest.mark.parametrize("kind", ["after_drop", "after_500"])
async def test_a_lost_answer_leaves_exactly_one_effect(deployed: World, kind: Any) -> None:
    before = len(deployed.ecs.scheduler.records)
    deployed.faults.put(kind, operation="UpdateService")
    with pytest.raises((ConnectionClosedError, ClientError)):
        await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    assert len(deployed.ecs.scheduler.records) == before + 1
    assert deployed.journal.effects() == [{"service": "ecs", "operation": "UpdateService", "region": WEST, "count": 1}]
    assert deployed.journal.calls(changing=True, source="bot")[0]["fault"] == kind


# --- ECS --------------------------------------------------------------------------------------------------------


async def test_a_forced_deployment_really_replaces_the_process(deployed: World) -> None:
    old = deployed.ecs.scheduler.tasks[0].process
    assert old is not None
    answer = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    states = [(one["status"], one["rolloutState"]) for one in answer["service"]["deployments"]]
    assert states == [("PRIMARY", "IN_PROGRESS"), ("ACTIVE", "COMPLETED")]
    service = await deployed.settled(answer["service"]["deployments"][0]["id"])
    with pytest.raises(ProcessLookupError):
        os.kill(old.pid, 0)
    assert (await deployed.get()).json()["image"] == "shielda/control-plane:2026.11.18"
    assert service["events"][0]["message"] == "(service control-plane) has reached a steady state."
    arn = service["currentServiceDeployment"]
    record = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
    assert record["serviceDeployments"][0]["status"] == "SUCCESSFUL"


async def test_updating_to_the_same_revision_makes_no_new_deployment(deployed: World) -> None:
    before = (await deployed.service())["deployments"][0]["id"]
    answer = await deployed.call("ecs", "update_service", **SERVICE, taskDefinition="control-plane:7")
    assert [one["id"] for one in answer["service"]["deployments"]] == [before]


async def test_the_service_is_never_without_a_task_during_a_forced_deployment(deployed: World) -> None:
    answer = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    finished = asyncio.create_task(deployed.settled(answer["service"]["deployments"][0]["id"]))
    while not finished.done():
        assert (await deployed.get()).status_code == 200
    await finished


async def test_a_bad_deploy_keeps_failing_and_the_previous_revision_recovers(deployed: World) -> None:
    await deployed.ecs.deploy_badly()

    async def failing() -> dict[str, Any] | None:
        primary = (await deployed.service())["deployments"][0]
        return primary if primary["failedTasks"] >= 2 else None

    primary = await until(failing)
    assert primary["rolloutState"] == "IN_PROGRESS"
    assert primary["taskDefinition"].endswith(":8")
    assert (await deployed.get()).status_code in (500, 502, 503)
    stopped = await deployed.call("ecs", "list_tasks", cluster="shielda", desiredStatus="STOPPED")
    tasks = (await deployed.call("ecs", "describe_tasks", cluster="shielda", tasks=stopped["taskArns"]))["tasks"]
    failed = [task for task in tasks if task.get("stopCode") == "EssentialContainerExited"]
    assert failed[0]["stoppedReason"] == "Essential container in task exited"
    assert failed[0]["containers"][0]["exitCode"] == 1
    answer = await deployed.call("ecs", "update_service", **SERVICE, taskDefinition="control-plane:7")
    await deployed.settled(answer["service"]["deployments"][0]["id"])
    assert (await deployed.get()).status_code == 200


async def test_stopping_a_bad_deployment_rolls_back_to_the_last_completed_revision(deployed: World) -> None:
    await deployed.ecs.deploy_badly()
    arn = (await deployed.service())["currentServiceDeployment"]
    await deployed.call("ecs", "stop_service_deployment", serviceDeploymentArn=arn, stopType="ROLLBACK")

    async def status() -> bool:
        found = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
        return found["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL"

    await until(status)
    assert (await deployed.service())["taskDefinition"].endswith(":7")
    with pytest.raises(ClientError) as error:
        await deployed.call("ecs", "stop_service_deployment", serviceDeploymentArn=arn)
    assert code_of(error) == "ConflictException"


async def test_the_circuit_breaker_fails_the_deployment_and_rolls_back(deployed: World) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    answer = await deployed.call(
        "ecs", "update_service", **SERVICE, taskDefinition="control-plane:8", deploymentConfiguration=breaker
    )
    arn = answer["service"]["currentServiceDeployment"]

    async def status() -> bool:
        found = await deployed.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
        return found["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL"

    await until(status)
    assert (await deployed.get()).status_code == 200


async def test_a_hung_task_is_counted_running_and_cured_by_a_forced_deployment(deployed: World) -> None:
    frozen = await deployed.ecs.hang()
    answer = await deployed.get()
    assert answer.status_code == 504
    assert answer.json() == {"error": "The task did not answer within 0.4 seconds."}
    assert (await deployed.service())["runningCount"] == 1
    update = await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    await deployed.settled(update["service"]["deployments"][0]["id"])
    assert (await deployed.get()).status_code == 200
    with pytest.raises(ProcessLookupError):
        os.kill(frozen[0], 0)


async def test_a_task_that_dies_is_started_again(deployed: World) -> None:
    first = deployed.ecs.scheduler.tasks[0]
    assert first.process is not None
    first.process.kill()

    async def another() -> bool:
        return any(task.serving and task is not first for task in deployed.ecs.scheduler.tasks)

    await until(another)
    assert first.exit_code == 137
    assert (await deployed.get()).status_code == 200


async def test_scaling_to_nothing_and_back(deployed: World) -> None:
    await deployed.call("ecs", "update_service", **SERVICE, desiredCount=0)

    async def empty() -> bool:
        return (await deployed.service())["runningCount"] == 0

    await until(empty)
    answer = await deployed.get()
    assert (answer.status_code, answer.json()) == (503, {"error": "No task of the control plane is running."})
    await deployed.call("ecs", "update_service", **SERVICE, desiredCount=1)

    async def healthy() -> bool:
        return (await deployed.get()).status_code == 200

    await until(healthy)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("update_service", {**SERVICE, "taskDefinition": "control-plane:99"}, "ClientException"),
        ("update_service", {**SERVICE, "service": "nobody"}, "ServiceNotFoundException"),
        ("update_service", {**SERVICE, "cluster": "nowhere"}, "ClusterNotFoundException"),
        ("list_tasks", {"cluster": "nowhere"}, "ClusterNotFoundException"),
        ("describe_task_definition", {"taskDefinition": "other:1"}, "ClientException"),
        ("stop_service_deployment", {"serviceDeploymentArn": "arn:none"}, "ServiceDeploymentNotFoundException"),
    ],
)
async def test_ecs_refuses_with_the_right_codes(deployed: World, method: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as error:
        await deployed.call("ecs", method, **params)
    assert code_of(error) == code


async def test_the_history_names_the_previous_revision_and_its_image(deployed: World) -> None:
    listed = await deployed.call("ecs", "list_service_deployments", **SERVICE)
    assert [one["status"] for one in listed["serviceDeployments"]] == ["SUCCESSFUL", "SUCCESSFUL"]
    newest = await deployed.call("ecs", "list_task_definitions", familyPrefix="control-plane", sort="DESC")
    assert [arn.rpartition(":")[2] for arn in newest["taskDefinitionArns"]] == ["8", "7", "6"]
    told = await deployed.call("ecs", "describe_task_definition", taskDefinition="control-plane:6")
    repository, _, tag = told["taskDefinition"]["containerDefinitions"][0]["image"].partition(":")
    images = await deployed.call("ecr", "describe_images", repositoryName=repository, imageIds=[{"imageTag": tag}])
    assert images["imageDetails"][0]["imageTags"] == ["2026.11.04"]
    with pytest.raises(ClientError) as error:
        await deployed.call("ecr", "describe_images", repositoryName=repository, imageIds=[{"imageTag": "gone"}])
    assert code_of(error) == "ImageNotFoundException"


# --- logs, alarms, the program ----------------------------------------------------------------------------------


async def test_log_pages_overlap_nowhere_and_ids_stay_the_same(world: World) -> None:
    for number in range(7):
        world.logs.put(WEST, "/ecs/test", f"stream/{number % 2}", f"line {number} {'ERROR' if number == 3 else 'INFO'}")
    pages = []
    token: dict[str, str] = {}
    while True:
        page = await world.call("logs", "filter_log_events", logGroupName="/ecs/test", limit=3, **token)
        pages.append([event["eventId"] for event in page["events"]])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert [len(page) for page in pages] == [3, 3, 1]
    again = await world.call("logs", "filter_log_events", logGroupName="/ecs/test")
    assert [event["eventId"] for event in again["events"]] == [one for page in pages for one in page]
    errors = await world.call("logs", "filter_log_events", logGroupName="/ecs/test", filterPattern='?ERROR ?"line 5"')
    assert [event["message"] for event in errors["events"]] == ["line 3 ERROR", "line 5 INFO"]
    streams = await world.call("logs", "describe_log_streams", logGroupName="/ecs/test")
    assert [one["logStreamName"] for one in streams["logStreams"]] == ["stream/0", "stream/1"]
    tail = await world.call("logs", "get_log_events", logGroupName="/ecs/test", logStreamName="stream/0", limit=1)
    assert [event["message"] for event in tail["events"]] == ["line 6 INFO"]
    with pytest.raises(ClientError) as error:
        await world.call("logs", "filter_log_events", logGroupName="/ecs/none")
    assert code_of(error) == "ResourceNotFoundException"


async def test_what_the_program_says_arrives_in_its_log_group(deployed: World) -> None:
    await deployed.ecs.deploy_badly()

    async def traceback() -> list[dict[str, Any]]:
        found = await deployed.call(
            "logs", "filter_log_events", logGroupName="/ecs/shielda-control-plane", filterPattern="Traceback"
        )
        return found["events"]

    events = await until(traceback)
    assert "column organizations.plan does not exist" in events[0]["message"]
    assert events[0]["logStreamName"].startswith("ecs/control-plane/")


async def test_the_alarm_changes_when_it_is_told_to(world: World) -> None:
    world.alarms.set_state("shielda-rds-cpu-high", "ALARM", "Threshold crossed: 97 is greater than 90.")
    found = await world.call("cloudwatch", "describe_alarms", AlarmNames=["shielda-rds-cpu-high"])
    assert found["MetricAlarms"][0]["StateValue"] == "ALARM"
    none = await world.call("cloudwatch", "describe_alarms", region=EAST, StateValue="ALARM")
    assert none["MetricAlarms"] == []


async def test_heartbeats_need_the_agents_token(deployed: World) -> None:
    async with httpx.AsyncClient(base_url=deployed.balancer.url) as client:
        beat = {"agent": "edge-1"}
        path = "/api/agents/heartbeat"
        assert (await client.post(path, json=beat)).status_code == 401
        bad = await client.post(path, json=beat, headers={"Authorization": "Bearer wrong"})
        good = await client.post(path, json=beat, headers={"Authorization": "Bearer let-me-in"})
        record = await client.post("/api/records", json={"id": 1, "body": "x"})
        assert (bad.status_code, good.status_code, record.status_code) == (401, 200, 201)
        assert (await client.get("/api/nothing")).status_code == 404
