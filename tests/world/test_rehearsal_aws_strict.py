"""What AWS refuses, the rehearsal's AWS refuses with the same code: limits, pages, patterns, bytes that can't be read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from rehearsal.aws.patterns import pattern
from rehearsal.aws.wire import AwsError
from tests.world.aws_world import WEST, LocalAws, code_of

GROUP = "/ecs/strict"
FORM = "application/x-www-form-urlencoded"
LINE = '{"level": "ERROR", "ms": 512.5, "ok": false, "tags": ["db", "slow"], "user": {"name": "bob"}, "none": null}'


@pytest.mark.parametrize(
    ("service", "method", "params", "code"),
    [
        ("ecs", "describe_services", {"cluster": "shielda", "services": []}, "InvalidParameterException"),
        ("ecs", "describe_services", {"cluster": "shielda", "services": ["a"] * 11}, "InvalidParameterException"),
        ("ecs", "list_tasks", {"cluster": "shielda", "maxResults": 101}, "InvalidParameterException"),
        ("ecs", "list_tasks", {"cluster": "shielda", "nextToken": "garbage"}, "InvalidParameterException"),
        ("logs", "filter_log_events", {"logGroupName": GROUP, "limit": 20_000}, "InvalidParameterException"),
        ("logs", "get_log_events", {"logGroupName": GROUP, "logStreamName": "nobody"}, "ResourceNotFoundException"),
        ("logs", "filter_log_events", {"logGroupName": GROUP, "logStreamNames": ["nobody"]}, "ResourceNotFoundException"),
        ("logs", "describe_log_streams", {"logGroupName": GROUP, "limit": 51}, "InvalidParameterException"),
        ("logs", "filter_log_events", {"logGroupName": GROUP, "filterPattern": "{ level = ERROR }"}, "InvalidParameterException"),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["a"], "AlarmNamePrefix": "a"}, "ValidationError"),
        ("cloudwatch", "describe_alarms", {"MaxRecords": 101}, "ValidationError"),
    ],
)
async def test_what_aws_would_refuse_is_refused(aws: LocalAws, service: str, method: str, params: Any, code: str) -> None:
    aws.logs.put(WEST, GROUP, "task/1", "hello")
    with pytest.raises(ClientError) as refused:
        await aws.call(service, method, **params)
    assert code_of(refused) == code


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"Action=GetCallerIdentity&x=\xff\xfe",
            404,
            "MalformedQueryString",
        ),
        ({"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListTasks"}, b"\xff\xfe{", 400, "SerializationException"),
        ({"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListTasks"}, b"[1]", 400, "SerializationException"),
        ({"X-Amz-Target": "Nowhere.ListMoons"}, b"{}", 404, "no operation ListMoons"),
    ],
)
async def test_bytes_that_nobody_can_read_are_refused(
    aws: LocalAws, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    service = "moon" if "Nowhere" in str(headers) else "ecs" if "X-Amz-Target" in headers else "sts"
    scope = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/{WEST}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    async with httpx.AsyncClient() as client:
        answer = await client.post(aws.endpoints[WEST], content=body, headers={"Authorization": scope, **headers})
    assert answer.status_code == status
    assert code in answer.text


async def test_a_listing_comes_in_pages(aws: LocalAws) -> None:
    for number in range(3):
        aws.logs.put(WEST, GROUP, f"task/{number}", "hello")
    first = await aws.call("logs", "describe_log_streams", logGroupName=GROUP, limit=2)
    second = await aws.call("logs", "describe_log_streams", logGroupName=GROUP, limit=2, nextToken=first["nextToken"])
    names = [stream["logStreamName"] for page in (first, second) for stream in page["logStreams"]]
    assert names == ["task/0", "task/1", "task/2"]
    assert "nextToken" not in second


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('{ $.level = "ERROR" }', True),
        ('{ $.level = "ERR*" && $.ms >= 500 }', True),
        ('{ $.level != "ERROR" || $.user.name = bob }', True),
        ("{ ($.ms < 100 || $.ms > 600) && $.ok IS FALSE }", False),
        ("{ $.tags[1] = slow }", True),
        ("{ $.none IS NULL }", True),
        ("{ $.missing NOT EXISTS }", True),
        ("{ $.missing = x }", False),
        ("%ERR.R%", True),
        ('"level" -bob', False),
    ],
)
def test_json_logs_are_found_by_their_fields(text: str, passes: bool) -> None:
    assert pattern(text)(LINE) is passes
    assert text[0] != "{" or not pattern(text)("no json")


@pytest.mark.parametrize("text", ["{ $.a = }", "{ $.a }", "{ $.a = 1", "{ ($.a = 1 }", "{ $.a > many }", "[a, b]", "%(%"])
def test_an_invalid_pattern_is_refused(text: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameterException"):
        pattern(text)
