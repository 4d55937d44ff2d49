"""AWS's answers and what only looks like them, byte by byte, on each protocol that botocore speaks.

A tiny HTTP server gives the answers. The operations are those that recoveries need sooner or later, so that an action which
is written tomorrow finds its protocol held to the same rule: refused only by AWS's own word, else read back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from actions.aws.call import AwsRefused, AwsUnreachable, Call
from actions.aws.gateway import Gateway
from actions.errors import Uncertain
from actions.site import Aws
from rehearsal.aws.garbled import PAGES, http
from rehearsal.aws.wire import Answer

WEST = "us-west-2"
ID = "8a1b2c3d-1111-4222-8333-444455556666"
XML, JSON, CBOR = "text/xml", "application/x-amz-json-1.1", "application/cbor"


@dataclass(frozen=True)
class Sample:
    """An operation with an answer of AWS's own to it: `body` of type `kind`; `bare` is true if it has nothing to tell."""

    service: str
    operation: str
    parameters: dict[str, Any]
    body: bytes
    kind: str
    bare: bool = False

    @property
    def name(self) -> str:
        return f"{self.service}-{self.operation}"

    @property
    def call(self) -> Call:
        return Call(service=self.service, operation=self.operation, region=WEST, parameters=self.parameters)

    @property
    def ok(self) -> bytes:
        return self.http(200, self.body)

    def http(self, status: int, body: bytes, *, request_id: str = ID, kind: str = "") -> bytes:
        answer = http(status, body, kind or self.kind, request_id=request_id)
        return answer.replace(b"Connection:", b"smithy-protocol: rpc-v2-cbor\r\nConnection:", 1) if self.kind == CBOR else answer

    def error(self, code: str, *, request_id: str = ID) -> bytes:
        """The body of an error in the form of this service."""
        if self.service == "ec2":
            inner = f"<Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors>"
            return f"<Response>{inner}<RequestID>{request_id}</RequestID></Response>".encode()
        if self.kind == XML:
            inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>"
            return f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>".encode()
        if self.kind == CBOR:
            return b"\xa2" + b"".join(bytes([0x78, len(t)]) + t.encode() for t in ("__type", f"com.aws#{code}", "message", "no"))
        return json.dumps({"__type": f"com.amazonaws#{code}", "code": code, "message": "no"}).encode()

    def refusal(self, code: str = "AccessDeniedException", status: int = 400, *, request_id: str = ID) -> bytes:
        return self.http(status, self.error(code, request_id=request_id), request_id=request_id)


def xml(operation: str, inner: str = "") -> bytes:
    return f"<{operation}Response>{inner}</{operation}Response>".encode()


def query(operation: str, inner: str = "") -> bytes:
    result = f"<{operation}Result>{inner}</{operation}Result>" if inner else ""
    return xml(operation, f"{result}<ResponseMetadata><RequestId>{ID}</RequestId></ResponseMetadata>")


DB = {"DBInstanceIdentifier": "db"}
INSTANCE = "<DBInstance><DBInstanceIdentifier>db</DBInstanceIdentifier></DBInstance>"
RESTORE = {"TargetDBInstanceIdentifier": "restored", "SourceDBInstanceIdentifier": "db", "UseLatestRestorableTime": True}
TAG = {"ResourceName": "db", "Tags": [{"Key": "dr:run", "Value": "1"}]}
HOSTS = {"InstanceIds": ["i-1"]}
STOPPING = f"<requestId>{ID}</requestId><instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>"
REBOOTING = f"<requestId>{ID}</requestId><return>true</return>"
SECRET = {"SecretId": "s", "VersionStage": "AWSCURRENT", "MoveToVersionId": "v" * 32}
RECORD = {"Name": "api.example.com", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "dr.example.com"}]}
BATCH = {"HostedZoneId": "Z1", "ChangeBatch": {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": RECORD}]}}
CHANGE = "<ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-15T10:30:00Z</SubmittedAt></ChangeInfo>"
POINT = {"RecoveryPointArn": f"arn:aws:backup:{WEST}:123456789012:recovery-point:1", "Metadata": {"a": "b"}}
BUS = {"EventBusArn": f"arn:aws:events:{WEST}:123456789012:event-bus/default"}
SAMPLES = [
    Sample("rds", "RebootDBInstance", DB, query("RebootDBInstance", INSTANCE), XML),
    Sample("rds", "RestoreDBInstanceToPointInTime", RESTORE, query("RestoreDBInstanceToPointInTime", INSTANCE), XML),
    Sample("rds", "AddTagsToResource", TAG, query("AddTagsToResource"), XML, bare=True),
    Sample("ec2", "StopInstances", HOSTS, xml("StopInstances", STOPPING), XML),
    Sample("ec2", "RebootInstances", HOSTS, xml("RebootInstances", REBOOTING), XML, bare=True),
    Sample("ecs", "UpdateService", {"service": "s"}, b'{"service": {"serviceName": "s"}}', JSON),
    Sample("secretsmanager", "UpdateSecretVersionStage", SECRET, b'{"ARN": "arn:aws:secretsmanager:s", "Name": "s"}', JSON),
    Sample("logs", "PutRetentionPolicy", {"logGroupName": "g", "retentionInDays": 7}, b"", JSON, bare=True),
    Sample("cloudwatch", "DisableAlarmActions", {"AlarmNames": ["a"]}, b"{}", JSON, bare=True),
    Sample("route53", "ChangeResourceRecordSets", BATCH, xml("ChangeResourceRecordSets", CHANGE), XML),
    Sample("backup", "StartRestoreJob", POINT, b'{"RestoreJobId": "j"}', "application/json"),
    Sample("eventbridgev2", "UpdateEventBus", BUS, b"\xa1\x64Name\x63bus", CBOR),
    Sample("eventbridgev2", "DeleteEventBus", BUS, b"\xa0", CBOR, bare=True),
]
STATUSES = (400, 403, 404, 407, 413, 429, 451, 500, 502, 503)


class Wire:
    """A server that gives the same bytes to each request, or the next ones of a list, and counts the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            self.requests += 1
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
async def aws() -> AsyncIterator[tuple[Wire, Gateway]]:
    wire = Wire()
    listening = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    gateway = Gateway(Aws(region=WEST, endpoints={WEST: url}, speed=1000))
    yield wire, gateway
    await gateway.close()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def wire(aws: tuple[Wire, Gateway]) -> Wire:
    aws[0].answers, aws[0].requests = [], 0
    return aws[0]


@pytest.fixture
def gateway(aws: tuple[Wire, Gateway]) -> Gateway:
    return aws[1]


each = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


@each
async def test_an_answer_of_aws_counts_on_every_protocol(sample: Sample, wire: Wire, gateway: Gateway) -> None:
    wire.answers = [sample.ok]
    answer = await gateway.change(sample.call)
    assert answer.request_id == ID
    assert bool(answer) is not sample.bare
    assert wire.requests == 1


@each
async def test_a_refusal_by_aws_counts_on_every_protocol(sample: Sample, wire: Wire, gateway: Gateway) -> None:
    wire.answers = [sample.refusal("AccessDeniedException", 403)]
    with pytest.raises(AwsRefused) as refused:
        await gateway.change(sample.call)
    assert str(refused.value) == f"{sample.call.provider} refused {sample.operation}: AccessDeniedException: no."
    assert refused.value.code == "AccessDeniedException"
    with pytest.raises(AwsUnreachable, match=f"refused {sample.operation} in {WEST}: AccessDeniedException") as unread:
        await gateway.read(sample.call)
    assert unread.value.final
    assert wire.requests == 2


@each
async def test_a_throttled_change_is_sent_again_if_aws_itself_says_so(sample: Sample, wire: Wire, gateway: Gateway) -> None:
    wire.answers = [sample.refusal("ThrottlingException", 400), sample.refusal("RequestLimitExceeded", 503), sample.ok]
    assert (await gateway.change(sample.call)).request_id == ID
    assert wire.requests == 3


def lookalikes(sample: Sample) -> dict[str, bytes]:
    """All that may come back in place of this operation's answer, by name."""
    answer = Answer(status=200, body=sample.body, content_type=sample.kind)
    refusal = Answer(status=400, body=sample.error("AccessDeniedException"), content_type=sample.kind)
    found = {name: page(answer, refusal, ID) for name, page in PAGES.items()}
    found["no_request_id"] = sample.refusal(request_id="")
    found["no_request_id_throttled"] = sample.refusal("ThrottlingException", request_id="")
    found["success_without_request_id"] = sample.http(200, sample.body.replace(ID.encode(), b""), request_id="")
    found["no_code"] = sample.refusal("")
    found["a_number_for_a_code"] = sample.refusal("403", 403)
    found["a_sentence_for_a_code"] = sample.refusal("Blocked by policy", 403)
    found["a_refusal_with_200"] = sample.refusal(status=200)
    found["request_timeout_408"] = sample.refusal("RequestTimeout", 408)
    found["request_timeout_400"] = sample.refusal("RequestTimeoutException", 400)
    found["internal_error_400"] = sample.refusal("InternalServiceError", 400)
    found["internal_error_500"] = sample.refusal("InternalFailure", 500)
    found["html_with_aws_s_id"] = sample.http(403, b"<html><h1>Blocked</h1></html>", kind="text/html")
    found["html_200_with_aws_s_id"] = sample.http(200, b"<html><h1>Blocked</h1></html>")
    found["another_operation"] = sample.http(200, other(sample))
    found["cut_refusal"] = sample.http(403, refusal.body[: len(refusal.body) // 2])
    found["nothing"] = b""
    found["half_a_status_line"] = b"HTTP/1.1 40"
    for status in STATUSES:
        found[f"page_{status}"] = sample.http(status, b"<html><h1>Blocked</h1></html>", request_id="", kind="text/html")
        found[f"json_{status}"] = sample.http(status, b'{"message": "Blocked"}', request_id="", kind="application/json")
        found[f"list_{status}"] = sample.http(status, b'["Blocked"]', request_id="", kind="application/json")
        found[f"empty_{status}"] = sample.http(status, b"")
    if sample.bare and sample.kind in (JSON, CBOR):
        del found["emptied"]  # nothing is what it has to tell
        del found["another_operation"]  # AWS adds members with time: one object is as good as another
    return {name: raw for name, raw in found.items() if len(sample.body) > 1 or name not in ("cut", "cut_by_proxy")}


def other(sample: Sample) -> bytes:
    """The success of another operation in the same protocol."""
    if sample.kind == XML:
        return query("PurchaseTheMoon", INSTANCE).replace(b"DBInstance", b"Moon")
    return b"\xa1\x64moon\x63yes" if sample.kind == CBOR else b'{"moon": "yes"}'


@each
async def test_nothing_else_passes_for_an_answer_to_a_change(sample: Sample, wire: Wire, gateway: Gateway) -> None:
    believed = []
    for name, raw in lookalikes(sample).items():
        wire.answers, wire.requests = [raw], 0
        try:
            await gateway.change(sample.call)
            believed.append(f"{name} was taken for success")
        except AwsRefused as refused:
            believed.append(f"{name} was taken for a refusal: {refused}")
        except Uncertain as lost:
            if not re.search("was lost: .|an error of its own: .", str(lost)):
                believed.append(f"{name} is told as: {lost}")
        if wire.requests != 1:
            believed.append(f"{name} was sent {wire.requests} times")
    assert believed == []


@each
async def test_nothing_else_passes_for_an_answer_to_a_question(sample: Sample, wire: Wire, gateway: Gateway) -> None:
    believed = []
    for name, raw in lookalikes(sample).items():
        wire.answers = [raw]
        try:
            await gateway.probe(sample.call)
            believed.append(f"{name} was taken for an answer")
        except AwsUnreachable as unread:
            if unread.final:
                believed.append(f"{name} was taken for a refusal: {unread}")
    assert believed == []


@pytest.mark.parametrize("raw", [http(403, b"<html></html>"), http(200, b""), http(302, b"<html></html>"), b"HTTP/1.1 4"])
async def test_a_question_is_asked_three_times_before_garbage_is_no_answer(wire: Wire, gateway: Gateway, raw: bytes) -> None:
    sample = SAMPLES[0]
    wire.answers = [raw, raw, sample.ok]
    assert (await gateway.read(sample.call))["DBInstance"] == {"DBInstanceIdentifier": "db"}
    wire.answers, wire.requests = [raw], 0
    with pytest.raises(AwsUnreachable, match="RDS did not answer RebootDBInstance in us-west-2: "):
        await gateway.read(sample.call)
    assert wire.requests == 3


async def test_pages_of_a_list_are_whole_or_none(wire: Wire, gateway: Gateway) -> None:
    call = Call(service="ecs", operation="ListTasks", region=WEST)
    first = http(200, b'{"taskArns": ["a"], "nextToken": "t"}', JSON, request_id=ID)
    wire.answers = [first, http(200, b'{"taskArns": ["b"]}', JSON, request_id=ID)]
    assert await gateway.read_all(call, "taskArns") == ["a", "b"]
    wire.answers = [first, http(200, b'{"taskArns": ["b', JSON, request_id=ID)]
    with pytest.raises(AwsUnreachable, match="did not answer ListTasks"):
        await gateway.read_all(call, "taskArns")


async def test_what_a_person_reads_of_a_page_says_what_it_was(wire: Wire, gateway: Gateway) -> None:
    wire.answers = [http(403, b"<html>Blocked</html>")]
    with pytest.raises(Uncertain) as lost:
        await gateway.change(SAMPLES[0].call)
    assert str(lost.value) == "RebootDBInstance was sent, but RDS's answer was lost: a page with HTTP 403 that isn't AWS's."
    wire.answers = [http(200, b"")]
    with pytest.raises(Uncertain, match="answer was lost: an empty answer with HTTP 200"):
        await gateway.change(SAMPLES[0].call)


async def test_a_request_that_botocore_never_sent_is_refused(wire: Wire, gateway: Gateway) -> None:
    wrong = Call(service="rds", operation="RebootDBInstance", region=WEST, parameters={"DBInstanceIdentifier": 5})
    with pytest.raises(AwsRefused, match=r"^RebootDBInstance was not sent to RDS in us-west-2\. Parameter validation failed"):
        await gateway.change(wrong)
    with pytest.raises(AwsRefused, match=r"^Reboot was not sent to MOON in us-west-2\. Unknown service: 'moon'"):
        await gateway.change(Call(service="moon", operation="Reboot", region=WEST))
    with pytest.raises(AwsRefused, match="RebootTheMoon was not sent to RDS in us-west-2"):
        await gateway.change(Call(service="rds", operation="RebootTheMoon", region=WEST))
    assert wire.requests == 0


async def test_a_request_without_credentials_is_refused_whatever_sts_says(wire: Wire) -> None:
    gateway = Gateway(Aws(region=WEST, endpoints={WEST: "http://127.0.0.1:1"}))
    client = gateway._client(WEST, "rds", "change")

    def no_credentials(**_: Any) -> None:  # as botocore raises what STS answered when it signs a request
        raise ClientError({"Error": {"Code": "500"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "AssumeRole")

    client.meta.events.register("request-created", no_credentials)
    with pytest.raises(AwsRefused, match="RebootDBInstance was not sent to RDS"):
        await gateway.change(SAMPLES[0].call)
    await gateway.close()
