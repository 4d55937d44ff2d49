"""The front of the rehearsal's AWS, met over real sockets by a real boto3: protocols, faults, logs, alarms."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from rehearsal.aws.front import AwsError
from tests.world.aws_world import EAST, SERVICE, SESSION, WEST, LocalAws, code_of, until

# --- protocols --------------------------------------------------------------------------------------------------


async def test_each_protocol_answers_with_request_id_and_date(aws: LocalAws) -> None:
    identity = await aws.call("sts", "get_caller_identity")
    assert identity["Arn"] == "arn:aws:sts::123456789012:assumed-role/drbot/rehearsal"
    clusters = await aws.call("ecs", "describe_clusters", clusters=["shielda"])
    assert clusters["clusters"][0]["clusterName"] == "shielda"
    for answer in (identity, clusters):
        assert len(answer["ResponseMetadata"]["RequestId"]) == 36
        assert answer["ResponseMetadata"]["HTTPHeaders"]["date"].endswith("GMT")


async def test_a_request_of_which_half_arrived_is_no_call(aws: LocalAws) -> None:
    host, _, port = aws.endpoints[WEST].removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    scope = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-west-2/rds/aws4_request"
    head = ["POST / HTTP/1.1", "Host: rds", f"Authorization: {scope}", "User-Agent: drbot", "Content-Length: 90"]
    writer.write("\r\n".join([*head, "", "Action=RebootDBInst"]).encode())
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()  # as of a process that was killed
    await aws.call("sts", "get_caller_identity")
    assert [call["operation"] for call in aws.journal.calls()] == ["GetCallerIdentity"]


async def test_unknown_operations_are_refused_as_aws_refuses_them(aws: LocalAws) -> None:
    with pytest.raises(ClientError) as json_error:
        await aws.call("ecs", "list_account_settings")
    assert code_of(json_error) == "UnknownOperationException"
    with pytest.raises(ClientError) as query_error:
        await aws.call("sts", "get_session_token")
    assert code_of(query_error) == "InvalidAction"
    with pytest.raises(ValueError, match="has no operation RebootTheMoon"):
        aws.front.add("rds", {"RebootTheMoon": lambda region, params: {}})


async def test_a_request_without_a_signature_is_refused(aws: LocalAws) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(aws.endpoints[WEST], data={"Action": "GetCallerIdentity"})
    assert answer.status_code == 403
    assert "<Code>MissingAuthenticationToken</Code>" in answer.text


async def test_bad_parameters_are_refused_by_the_input_shape(aws: LocalAws) -> None:
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/20261122/{WEST}/ecs/aws4_request, Signature=0",
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices",
    }
    async with httpx.AsyncClient() as client:
        answer = await client.post(aws.endpoints[WEST], json={"services": "all", "colour": 1}, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["__type"] == "InvalidParameterException"
    assert "colour" in answer.json()["message"]


async def test_query_lists_structures_and_times_arrive_as_boto3_sent_them(aws: LocalAws) -> None:
    seen: list[dict[str, Any]] = []

    def describe(region: str, params: dict[str, Any]) -> dict[str, Any]:
        seen.append(params)
        tag = {"Key": "dr:run", "Value": "a & b"}
        return {"DBInstances": [{"DBInstanceIdentifier": "x", "MultiAZ": True, "TagList": [tag], "AllocatedStorage": 3}]}

    aws.front.add("rds", {"DescribeDBInstances": describe})
    filters = [{"Name": "db-instance-id", "Values": ["a", "b"]}, {"Name": "engine", "Values": ["postgres"]}]
    answer = await aws.call("rds", "describe_db_instances", MaxRecords=20, Filters=filters)
    assert seen == [{"MaxRecords": 20, "Filters": filters}]
    assert answer["DBInstances"][0]["TagList"] == [{"Key": "dr:run", "Value": "a & b"}]
    assert answer["DBInstances"][0]["MultiAZ"] is True


async def test_an_answer_that_aws_could_not_give_fails_the_test_that_got_it() -> None:
    aws = await LocalAws().__aenter__()
    aws.front.add("sts", {"GetCallerIdentity": lambda region, params: {"Colour": "red"}})
    with pytest.raises(ClientError) as error:
        await aws.call("sts", "get_caller_identity")
    assert code_of(error) == "InternalFailure"
    with pytest.raises(AssertionError, match="Colour"):
        await aws.__aexit__()


async def test_errors_carry_the_status_of_the_model(aws: LocalAws) -> None:
    def missing(region: str, params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("DBInstanceNotFound", "DBInstance nowhere not found.")

    aws.front.add("rds", {"DescribeDBInstances": missing})
    with pytest.raises(ClientError) as error:
        await aws.call("rds", "describe_db_instances", DBInstanceIdentifier="nowhere")
    assert code_of(error) == "DBInstanceNotFound"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


# --- faults -----------------------------------------------------------------------------------------------------


async def test_throttling_is_retried_by_a_reader_and_seen_by_a_single_attempt(aws: LocalAws) -> None:
    aws.faults.put("throttle", service="ecs", operation="DescribeClusters", times=2)
    with pytest.raises(ClientError) as error:
        await aws.call("ecs", "describe_clusters")
    assert code_of(error) == "ThrottlingException"
    answer = await aws.call("ecs", "describe_clusters", attempts=3)
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1


async def test_drops_and_hangs_leave_the_client_without_an_answer(aws: LocalAws) -> None:
    aws.faults.put("drop", service="sts")
    with pytest.raises(ConnectionClosedError):
        await aws.call("sts", "get_caller_identity")
    aws.faults.put("hang", service="sts")
    with pytest.raises(ReadTimeoutError):
        await aws.call("sts", "get_caller_identity", seconds=0.3)
    await until(lambda: _ready(len(aws.journal.entries) == 2))
    assert [call["fault"] for call in aws.journal.calls()] == ["drop", "hang"]
    assert [call["result"] for call in aws.journal.calls()] == ["unanswered", "unanswered"]


async def _ready(value: bool) -> bool:
    return value


async def test_access_denied_is_simulated_and_enforced_alike(aws: LocalAws) -> None:
    aws.faults.put("access_denied", service="ecs", operation="UpdateService", times=None)
    decisions = await aws.call(
        "iam",
        "simulate_principal_policy",
        PolicySourceArn="arn:aws:iam::123456789012:role/drbot",
        ActionNames=["ecs:UpdateService", "ecs:DescribeServices"],
    )
    assert [one["EvalDecision"] for one in decisions["EvaluationResults"]] == ["implicitDeny", "allowed"]
    with pytest.raises(ClientError) as error:
        await aws.call("ecs", "update_service", **SERVICE)
    assert code_of(error) == "AccessDeniedException"
    assert aws.journal.effects() == []


async def test_a_region_that_is_down_refuses_while_the_other_answers(aws: LocalAws) -> None:
    await aws.front.region_down(WEST)
    with pytest.raises(EndpointConnectionError):
        await aws.call("sts", "get_caller_identity")
    assert (await aws.call("sts", "get_caller_identity", region=EAST))["Account"] == "123456789012"
    await aws.front.region_up(WEST)
    assert (await aws.call("sts", "get_caller_identity"))["Account"] == "123456789012"


@pytest.mark.parametrize("kind", ["after_drop", "after_500"])
async def test_a_lost_answer_leaves_exactly_one_effect(deployed: LocalAws, kind: Any) -> None:
    before = len(deployed.ecs.scheduler.records)
    deployed.faults.put(kind, operation="UpdateService")
    with pytest.raises((ConnectionClosedError, ClientError)):
        await deployed.call("ecs", "update_service", **SERVICE, forceNewDeployment=True)
    assert len(deployed.ecs.scheduler.records) == before + 1
    assert deployed.journal.effects() == [{"service": "ecs", "operation": "UpdateService", "region": WEST, "count": 1}]
    assert deployed.journal.calls(changing=True, source="bot")[0]["fault"] == kind


async def test_an_open_connection_does_not_outlive_its_region(aws: LocalAws) -> None:
    retries = {"mode": "standard", "total_max_attempts": 1}
    client = SESSION.client("sts", region_name=WEST, endpoint_url=aws.endpoints[WEST], config=Config(retries=retries))
    await asyncio.to_thread(client.get_caller_identity)
    await aws.front.region_down(WEST)
    with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        await asyncio.to_thread(client.get_caller_identity)
    client.close()


async def test_a_call_with_a_value_aws_does_not_know_is_refused(aws: LocalAws) -> None:
    with pytest.raises(ClientError) as error:
        await aws.call("ecs", "list_tasks", cluster="shielda", desiredStatus="SLEEPING")
    assert code_of(error) == "InvalidParameterException"
    assert "SLEEPING" in error.value.response["Error"]["Message"]


async def test_the_journal_is_plain_json_and_keeps_no_secret(aws: LocalAws) -> None:
    def put(region: str, params: dict[str, Any]) -> dict[str, Any]:
        assert params["SecretString"] == "hunter2"
        return {"Name": params["SecretId"]}

    aws.front.add("secretsmanager", {"PutSecretValue": put})
    await aws.call("secretsmanager", "put_secret_value", SecretId="shielda/database-url", SecretString="hunter2")
    now = datetime.now(UTC)
    await aws.call("cloudwatch", "get_metric_data", MetricDataQueries=[], StartTime=now - timedelta(1), EndTime=now)
    told = json.dumps(aws.journal.calls())
    assert "hunter2" not in told
    assert now.strftime("%Y-%m-%dT%H:%M:%S") in told


# --- logs, alarms, the program ----------------------------------------------------------------------------------


async def test_log_pages_overlap_nowhere_and_ids_stay_the_same(aws: LocalAws) -> None:
    for number in range(7):
        aws.logs.put(WEST, "/ecs/test", f"stream/{number % 2}", f"line {number} {'ERROR' if number == 3 else 'INFO'}")
    pages = []
    token: dict[str, str] = {}
    while True:
        page = await aws.call("logs", "filter_log_events", logGroupName="/ecs/test", limit=3, **token)
        pages.append([event["eventId"] for event in page["events"]])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert [len(page) for page in pages] == [3, 3, 1]
    again = await aws.call("logs", "filter_log_events", logGroupName="/ecs/test")
    assert [event["eventId"] for event in again["events"]] == [one for page in pages for one in page]
    errors = await aws.call("logs", "filter_log_events", logGroupName="/ecs/test", filterPattern='?ERROR ?"line 5"')
    assert [event["message"] for event in errors["events"]] == ["line 3 ERROR", "line 5 INFO"]
    streams = await aws.call("logs", "describe_log_streams", logGroupName="/ecs/test")
    assert [one["logStreamName"] for one in streams["logStreams"]] == ["stream/0", "stream/1"]
    tail = await aws.call("logs", "get_log_events", logGroupName="/ecs/test", logStreamName="stream/0", limit=1)
    assert [event["message"] for event in tail["events"]] == ["line 6 INFO"]
    with pytest.raises(ClientError) as error:
        await aws.call("logs", "filter_log_events", logGroupName="/ecs/none")
    assert code_of(error) == "ResourceNotFoundException"


async def test_what_the_program_says_arrives_in_its_log_group(deployed: LocalAws) -> None:
    await deployed.ecs.deploy_badly()

    async def traceback() -> list[dict[str, Any]]:
        found = await deployed.call(
            "logs", "filter_log_events", logGroupName="/ecs/shielda-control-plane", filterPattern="Traceback"
        )
        return found["events"]

    events = await until(traceback)
    assert "column organizations.plan_tier does not exist" in events[0]["message"]
    assert events[0]["logStreamName"].startswith("ecs/control-plane/")


async def test_the_alarm_changes_when_it_is_told_to(aws: LocalAws) -> None:
    aws.cloudwatch.set_state("shielda-rds-cpu-high", "ALARM", "Threshold crossed: 97 is greater than 90.")
    found = await aws.call("cloudwatch", "describe_alarms", AlarmNames=["shielda-rds-cpu-high"])
    assert found["MetricAlarms"][0]["StateValue"] == "ALARM"
    none = await aws.call("cloudwatch", "describe_alarms", region=EAST, StateValue="ALARM")
    assert none["MetricAlarms"] == []


async def test_heartbeats_need_the_agents_token(deployed: LocalAws) -> None:
    async with httpx.AsyncClient(base_url=deployed.balancer.url) as client:
        beat = {"agent": "edge-1"}
        path = "/api/agents/heartbeat"
        assert (await client.post(path, json=beat)).status_code == 401
        bad = await client.post(path, json=beat, headers={"Authorization": "Bearer wrong"})
        good = await client.post(path, json=beat, headers={"Authorization": "Bearer let-me-in"})
        record = await client.post("/api/records", json={"id": 1, "body": "x"})
        assert (bad.status_code, good.status_code, record.status_code) == (401, 200, 201)
        assert (await client.get("/api/nothing")).status_code == 404
