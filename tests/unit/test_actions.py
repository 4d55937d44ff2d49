"""Steps, calls and probes: each declares what people must know, what is shown is what is sent, and it is sent once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import shlex
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.validate import ParamValidator

from actions.aws.answers import NotAws
from actions.aws.call import Call
from actions.aws.deployments import describe_service
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.gateway import Gateway, NotSent, judge_change
from actions.aws.rds import FailOver
from actions.aws.sts import Identity
from actions.base import Action, Refused, Step, Uncertain, Unreachable, step_from
from actions.db.handshake import shake_hands
from actions.http import LONGEST_BODY, Http
from actions.site import Aws, DatabaseRef
from actions.world import World
from bot.settings import load
from tests import catalogue
from tests.conftest import SetVariable

assert catalogue  # importing it registers every step
ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
LOST = "https://127.0.0.1/"
ID = "8a1b2c3d-1111-4222-8333-444455556666"
PROD = DatabaseRef(name="primary", instance="shielda-prod", region="us-west-2", dsn_env="DATABASE_URL")
EXAMPLES: dict[str, Any] = {
    "cluster": "shielda",
    "service": "control-plane",
    "region": "us-west-2",
    "task_definition": "control-plane:41",
    "instance": "shielda-prod",
    "database": PROD,
    "replaces": PROD,
    "replica": PROD,
    "retention": 35,
    "silent_since": "2026-01-15T10:25:00+00:00",
    "known_as": "primary",
    "source_arn": "arn:aws:rds:us-west-2:123456789012:db:shielda-prod",
    "zone_id": "Z0123456789ABC",
    "name": "app.example",
    "type": "CNAME",
    "value": "east.example",
    "was": "west.example",
    "folder": "/srv/infra/control-plane",
    "workspace": "dr",
    "old": "shielda-prod",
    "old_region": "us-west-2",
    "fenced": True,
    "original": PROD,
    "percent": 20,
    "rpo_minutes": 5,
    "seed": "shielda-verify-20260115-1/rds:shielda-prod-2026-01-15-04-10",
    "copy": PROD,
    "case": "shielda-prod-repair-20260115-102500",
    "tables": ("public.orders", "customers"),
    "touched": "updated_at",
    "index": "public.orders_pkey",
    "table": "public.orders",
    "owner": "shielda",
    "revert": "all",
    "count": 0,
    "snapshot": "shielda-prod-before-restore-20260115-1030",
    "source": "shielda-prod",
    "at": "2026-01-15T10:25:00+00:00",
    "settings": {"MultiAZ": True, "VpcSecurityGroupIds": ["sg-1", "sg-2"], "DBParameterGroupName": "ours"},
    "tags": {"Service": "shielda"},
    "tag": "dr-run=20260115-1030",
    "run": "npx drizzle-kit migrate",
    "known": "c0ffee",
    "secret_id": "shielda/database-url",
    "version": "8a1b2c3d-1111-4222-8333-444455556666",
    "current": "9b1b2c3d-1111-4222-8333-444455556666",
    "url": "https://app.example/health",
    "systemd": ("agent-0001", "agent-0002"),
    "docker": ("agent-0004",),
    "systemd_line": "timeout -k 2 30 sudo -n systemctl restart agent",
    "docker_line": "timeout -k 2 30 sudo -n docker restart agent",
    "batch": 1,
    "of": 3,
    "budget": 2,
    "batch_budget": 0,
    "healthy_too": False,
    "hosts": ("agent-0001", "agent-0002"),
    "applications": ("web",),
    "idle_for_seconds": 60,
    "at_most": 10,
}
KINDS = sorted(kind for kind, cls in Step.registry.items() if cls.__module__.startswith("actions."))


def example(kind: str) -> Step:
    cls: Any = Step.registry[kind]
    return cls(**{f.name: EXAMPLES[f.name] for f in fields(cls) if f.name in EXAMPLES})  # type: ignore[no-any-return]


# --- the catalogue ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_declares_what_people_must_know(kind: str) -> None:
    step = example(kind)
    assert step.permissions
    assert all(":" in permission for permission in step.permissions)
    assert isinstance(step.region, str)
    assert step.plane in ("control", "data")
    assert step.timeout > 0
    assert not isinstance(step, Action) or step.settle > 0
    assert (inspect.getdoc(type(step)) or "").split("\n")[0].endswith(".")
    assert step.title
    assert step.target
    assert shlex.split(step.command())
    assert bool(step.region) == (step.permissions[0].split(":")[0] not in ("postgresql", "http", "ssh", "dns"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_comes_back_from_its_stored_arguments(kind: str) -> None:
    assert step_from(kind, example(kind).arguments) == example(kind)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(Step.registry[kind], "call")])
def test_what_is_sent_is_what_boto3_accepts(kind: str) -> None:
    call: Call = example(kind).call  # type: ignore[attr-defined]
    shape = botocore.session.Session().get_service_model(call.service).operation_model(call.operation).input_shape
    assert not ParamValidator().validate(call.arguments, shape).has_errors()
    assert example(kind).permissions[0] == call.permission


# --- a call -----------------------------------------------------------------------------------------------------


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


@contextlib.asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on loopback that gives one answer to whatever it reads, and the requests that reached it."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            request = await reader.read(65536)
            while b"Content-Length: " in request and not request.partition(b"\r\n\r\n")[2]:
                request += await reader.read(65536)
            requests.append(request)
            writer.write(answer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", requests


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


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


# --- probes -----------------------------------------------------------------------------------------------------


def said(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("answer", "reached", "sqlstate"),
    [
        (said(b"E", b"SFATAL\0C53300\0Msorry, too many clients already\0\0"), "error", "53300"),
        (said(b"R", (10).to_bytes(4, "big")), "alive", ""),
        (said(b"R", bytes(4)) + said(b"E", b"C57P03\0Mstarting\0\0"), "error", "57P03"),
        (said(b"R", bytes(4)) + said(b"S", b"a\0b\0") + said(b"Z", b"I"), "alive", ""),
        (b"", "closed", ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "other", ""),
    ],
)
async def test_a_raw_handshake_tells_what_the_server_says(answer: bytes, reached: str, sqlstate: str) -> None:
    async with server(answer) as (address, requests):
        host, _, port = address.partition(":")
        seen = await shake_hands(host, int(port), "shielda", "shielda", timeout=1)
    assert (seen.reached, seen.sqlstate) == (reached, sqlstate)
    assert b"user\0shielda\0database\0shielda\0" in requests[0]


async def test_a_server_without_tls_is_told_where_tls_is_required() -> None:
    async with server(b"N") as (address, _):
        host, _, port = address.partition(":")
        assert (await shake_hands(host, int(port), "u", "d", tls=True)).reached == "tls"


async def test_a_probe_reads_no_more_of_the_body_than_it_shows() -> None:
    async with server(http("200 OK", b"x" * 3 * LONGEST_BODY)) as (address, _):
        prober = Http()
        answer = await prober.get(f"http://{address}/")
        await prober.close()
    assert answer.good
    assert len(answer.body_start) == LONGEST_BODY


async def test_a_redirect_is_an_answer_and_a_closed_port_is_unreachable() -> None:
    prober = Http()
    async with server(http("302 Found", b"", "Location: http://127.0.0.1:1/")) as (address, _):
        assert (await prober.get(f"http://{address}/")).status == 302
    with pytest.raises(Unreachable, match="gave no answer"):
        await prober.get(f"http://{address}/")
    await prober.close()
