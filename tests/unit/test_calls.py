"""A call to AWS: shown as the line that does the same, sent once, and never more certain than what came back."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from actions.aws.answers import NotAws
from actions.aws.call import Call
from actions.aws.deployments import describe_service
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.gateway import Gateway, NotSent, judge_change
from actions.aws.rds import FailOver
from actions.aws.sts import Identity
from actions.errors import Refused, Uncertain, Unreachable
from actions.site import Aws
from actions.world import World
from bot.settings import load
from tests.conftest import SetVariable
from tests.unit.canned_server import http, server
from tests.unit.test_actions import PROD

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
LOST = "https://127.0.0.1/"
ID = "8a1b2c3d-1111-4222-8333-444455556666"


def test_a_call_reads_as_the_command_line_that_does_the_same() -> None:
    force = ForceNewDeployment(cluster="shielda", service="control-plane", region="us-west-2")
    expected = "aws ecs update-service --cluster shielda --service control-plane --force-new-deployment --region us-west-2"
    assert force.command() == expected
    back = RollBack(cluster="c", service="s", region="us-west-2", task_definition="s:41")
    assert "--task-definition s:41" in back.command()
    over = FailOver(database=PROD)
    assert (
        over.command() == "aws rds reboot-db-instance --db-instance-identifier shielda-prod --force-failover --region us-west-2"
    )


def test_parameters_become_options_in_the_ways_of_the_command_line() -> None:
    parameters = {
        "MultiAZ": False,
        "VpcSecurityGroupIds": ["sg-1", "sg-2"],
        "Tags": [{"Key": "dr:run", "Value": "a b"}],
        "DBName": "it's",
        "Port": 5432,
        "KmsKeyId": None,
    }
    call = Call(service="rds", operation="RestoreDBInstanceToPointInTime", region="eu-west-1", parameters=parameters)
    assert shlex.split(call.command())[3:] == [
        "--no-multi-az",
        "--vpc-security-group-ids", "sg-1", "sg-2",
        "--tags", '[{"Key": "dr:run", "Value": "a b"}]',
        "--db-name", "it's",
        "--port", "5432",
        "--region", "eu-west-1",
    ]  # fmt: skip
    assert call.method == "restore_db_instance_to_point_in_time"
    assert "KmsKeyId" not in call.arguments


# --- changes: refused, uncertain --------------------------------------------------------------------------------


def client_error(code: str, status: int, *, request_id: str = ID) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RequestId": request_id}
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": metadata}, "UpdateService")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("AccessDeniedException", 400), Refused),
        (client_error("InvalidInstanceID.Malformed", 400), Refused),
        (client_error("ServiceNotFoundException", 404), Refused),
        (client_error("ThrottlingException", 400), Refused),
        (client_error("RequestLimitExceeded", 503), Refused),
        (NotSent("Unable to locate credentials."), Refused),
        (client_error("ThrottlingException", 400, request_id=""), Uncertain),
        (client_error("AccessDeniedException", 400, request_id=""), Uncertain),
        (client_error("", 403), Uncertain),
        (client_error("403", 403), Uncertain),
        (client_error("Blocked by policy", 403), Uncertain),
        (client_error("AccessDeniedException", 302), Uncertain),
        (client_error("ServerException", 500), Uncertain),
        (client_error("ServerException", 400), Uncertain),
        (client_error("ServiceUnavailable", 503), Uncertain),
        (client_error("RequestTimeout", 408), Uncertain),
        (client_error("RequestTimeoutException", 400), Uncertain),
        (NotAws("a page with HTTP 403 that isn't AWS's"), Uncertain),
        (ReadTimeoutError(endpoint_url=LOST), Uncertain),
        (ConnectionClosedError(endpoint_url=LOST), Uncertain),
        (TypeError("'NoneType' object is not iterable"), Uncertain),
    ],
)
def test_a_change_is_refused_only_if_it_provably_did_not_happen(error: Exception, expected: type[Exception]) -> None:
    call = Call(service="ecs", operation="UpdateService", region="us-west-2")
    assert type(judge_change(call, error)).__mro__[:-1].count(expected) == 1


def test_a_refusal_is_told_in_aws_s_words() -> None:
    call = Call(service="rds", operation="RebootDBInstance", region="us-west-2")
    said = str(judge_change(call, client_error("InvalidDBInstanceState", 400)))
    assert said == "RDS refused RebootDBInstance: InvalidDBInstanceState: no."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Uncertain),
        (http("500 Internal Server Error", b"{}"), Uncertain),
        (http("400 Bad Request", b'{"__type":"ClientException","message":"no"}', f"x-amzn-RequestId: {ID}"), Refused),
        (http("400 Bad Request", b'{"__type":"ClientException","message":"no"}'), Uncertain),
        (http("403 Forbidden", b"<html>a proxy's page</html>"), Uncertain),
        (http("200 OK", b"<html>a proxy's page</html>"), Uncertain),
        (http("200 OK", b"null"), Uncertain),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"service": {"deploym', Uncertain),
    ],
)
async def test_a_change_is_sent_once_whatever_comes_back(answer: bytes, expected: type[Exception]) -> None:
    async with server(answer) as (address, requests):
        gateway = Gateway(Aws(region="us-west-2", endpoints={"us-west-2": f"http://{address}"}))
        with pytest.raises(expected):
            await gateway.change(ForceNewDeployment(cluster="c", service="s", region="us-west-2").call)
        await gateway.close()
    assert len(requests) == 1
    assert b'"forceNewDeployment": true' in requests[0]
    assert b"AKIAIOSFODNN7EXAMPLE" in requests[0]


PAGE = b"<!doctype html>\n<html><h1>Bad Gateway</h1>\n</html>"  # of a proxy between us and AWS


@pytest.mark.parametrize("status", ["502 Bad Gateway", "200 OK", "403 Forbidden"])
async def test_a_page_of_a_proxy_in_place_of_an_answer_leaves_a_change_uncertain_and_a_question_unanswered(status: str) -> None:
    failover = FailOver(database=PROD).call
    async with server(http(status, PAGE)) as (address, requests):
        gateway = Gateway(Aws(region="us-west-2", endpoints={"us-west-2": f"http://{address}"}))
        with pytest.raises(Uncertain, match=f"RDS's answer was lost: a page with HTTP {status[:3]} that isn't AWS's"):
            await gateway.change(failover)
        assert len(requests) == 1
        with pytest.raises(
            Unreachable, match=f"RDS did not answer DescribeEvents in us-west-2: a page with HTTP {status[:3]} that"
        ):
            await gateway.probe(Call(service="rds", operation="DescribeEvents", region="us-west-2"))
        await gateway.close()


async def test_an_error_page_is_told_in_a_few_words() -> None:
    async with server(http("503 Service Unavailable", PAGE)) as (address, _):
        gateway = Gateway(Aws(region="us-west-2", endpoints={"us-west-2": f"http://{address}"}))
        with pytest.raises(Unreachable, match=r"in us-west-2: a page with HTTP 503 that isn't AWS's\.$"):
            await gateway.probe(
                Call(service="ecs", operation="DescribeServices", region="us-west-2", parameters={"services": []})
            )
        await gateway.close()


async def test_an_answer_about_nothing_is_no_missing_service() -> None:
    async with server(http("200 OK", b"{}", f"x-amzn-RequestId: {ID}")) as (address, _):
        aws = Aws(region="us-west-2", endpoints={"us-west-2": f"http://{address}"})
        world = World(load(ROOT / "dr.toml").model_copy(update={"aws": aws}))
        with pytest.raises(Unreachable, match="names no service and no failure"):
            await describe_service(world, "c", "s", "us-west-2")
        await world.close()


async def test_an_answer_has_aws_s_own_time_and_no_metadata() -> None:
    body = b'{"services": [], "failures": [{"reason": "MISSING"}]}'
    async with server(http("200 OK", body, "Date: Thu, 15 Jan 2026 10:30:00 GMT", f"x-amzn-RequestId: {ID}")) as (address, _):
        gateway = Gateway(Aws(region="us-west-2", endpoints={"us-west-2": f"http://{address}"}))
        call = Call(service="ecs", operation="DescribeServices", region="us-west-2", parameters={"services": ["s"]})
        answer = await gateway.read(call)
        await gateway.close()
    assert answer == {"services": [], "failures": [{"reason": "MISSING"}]}
    assert (answer.server_time, answer.request_id) == (NOW, ID)


async def test_a_loopback_endpoint_is_refused_outside_a_rehearsal(set_variable: SetVariable) -> None:
    set_variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    gateway = Gateway(Aws(region="us-west-2"))
    with pytest.raises(Refused, match="loopback is for a rehearsal only"):
        await gateway.change(Call(service="ecs", operation="UpdateService", region="us-west-2", parameters={"service": "s"}))
    await gateway.close()


async def test_a_rehearsal_refuses_a_region_without_an_endpoint() -> None:
    gateway = Gateway(Aws(region="us-west-2", endpoints={"us-west-2": "http://127.0.0.1:1"}))
    with pytest.raises(Unreachable, match="eu-west-1"):
        await gateway.read(Call(service="sts", operation="GetCallerIdentity", region="eu-west-1"))
    await gateway.close()


def test_a_role_s_session_knows_its_role() -> None:
    assert Identity(account="1", arn="arn:aws:sts::1:assumed-role/drbot/x").role_arn == "arn:aws:iam::1:role/drbot"
    assert Identity(account="1", arn="arn:aws:iam::1:user/ann").role_arn == "arn:aws:iam::1:user/ann"
