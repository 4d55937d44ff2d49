"""The gate before whatever changes the world: while it is closed no request is whole, and no statement is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from actions.aws.call import AwsRefused, Call
from actions.aws.gateway import Gateway
from actions.db.connect import Connections
from actions.errors import Refused
from actions.gate import Gate
from actions.site import Aws, DatabaseRef
from bot.serve import gated_session
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair as Server

WEST = "us-west-2"
RESTART = Call(service="ecs", operation="UpdateService", region=WEST, parameters={"service": "control-plane"})
REBOOT = Call(service="rds", operation="RebootDBInstance", region=WEST, parameters={"DBInstanceIdentifier": "shielda-prod"})
LOOK = Call(service="ecs", operation="DescribeServices", region=WEST, parameters={"services": ["control-plane"]})
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "
JSON = (
    HEAD + b"application/x-amz-json-1.1\r\nContent-Length: 2\r\nx-amzn-RequestId: 8a1b2c3d-1111-4222-8333-444455556666\r\n\r\n{}"
)


class Recorder:
    """A server that answers every request as ECS does, and keeps the bytes that came, whole requests and parts of some."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.append(b"")
        place = len(self.came) - 1
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.came[place] += data
                if self.whole(self.came[place]):
                    writer.write(JSON)
                    await writer.drain()
                    break
        writer.close()

    @staticmethod
    def whole(data: bytes) -> bool:
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b"0")
        return b"\r\n\r\n" in data and len(body) >= int(length)

    def requests(self) -> list[bytes]:
        return [data for data in self.came if self.whole(data)]


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    made = Recorder()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@contextlib.asynccontextmanager
async def gateway(recorder: Recorder, gate: Gate) -> AsyncIterator[Gateway]:
    made = Gateway(Aws(region=WEST, endpoints={WEST: recorder.url}), gate)
    yield made
    await made.close()


class Door:
    """A gate's condition: shut for good after so many looks."""

    def __init__(self, looks: float) -> None:
        self.left = looks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0


# AWS ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [RESTART, REBOOT], ids=lambda call: call.operation)
async def test_a_change_at_aws_is_not_sent_while_the_gate_is_closed(recorder: Recorder, call: Call) -> None:
    async with gateway(recorder, Gate(Door(0), patience=0.1)) as aws:
        with pytest.raises(AwsRefused, match=r"was not sent .* could not be sure that it still leads"):
            await aws.change(call)
    assert recorder.came == []


@pytest.mark.parametrize("call", [RESTART, REBOOT], ids=lambda call: call.operation)
async def test_a_gate_that_closes_while_the_connection_opens_keeps_the_decisive_bytes_back(
    recorder: Recorder, call: Call
) -> None:
    async with gateway(recorder, Gate(Door(1))) as aws:
        changing = asyncio.create_task(aws.change(call))
        async with asyncio.timeout(5):
            while not any(recorder.came):  # noqa: ASYNC110 - bytes come when they come
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert recorder.requests() == []
        aws._gate._is_open = Door(float("inf"))
        await asyncio.gather(changing, return_exceptions=True)
    assert len(recorder.requests()) == 1


async def test_a_change_says_who_sent_it(recorder: Recorder) -> None:
    async with gateway(recorder, Gate(name="lead/7")) as aws:
        await aws.change(RESTART)
    (request,) = recorder.requests()
    assert b" lead/7\r\n" in request


async def test_a_question_does_not_wait_at_the_gate(recorder: Recorder) -> None:
    async with gateway(recorder, Gate(Door(0))) as aws:
        await aws.read(LOOK)
    assert len(recorder.requests()) == 1


# Slack ----------------------------------------------------------------------------------------------------------------


async def test_a_message_is_not_written_while_the_gate_is_closed(recorder: Recorder) -> None:
    gate = Gate(Door(0))
    client = AsyncWebClient(token="xoxb-1", base_url=f"{recorder.url}/", retry_handlers=[])
    client.session = gated_session(gate)
    posting = asyncio.create_task(client.chat_postMessage(channel="C0", text="Step 1.1 done."))
    await asyncio.sleep(0.3)
    assert recorder.came == [b""]  # the connection stands, and nothing was said
    gate._is_open = Door(float("inf"))
    await asyncio.gather(posting, return_exceptions=True)
    assert len(recorder.requests()) == 1
    await client.session.close()


# PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gate-test-"))
    path.chmod(0o755)  # the account of the database servers must get in
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def server(room: Path) -> AsyncIterator[Server]:
    async with Processes(room / "processes.json") as processes:
        database = Server(processes, room / "postgres", cache=room / "cache")
        async with database:
            os.environ["DATABASE_URL"] = database.url("dr_bot")
            yield database
            del os.environ["DATABASE_URL"]


async def test_a_statement_is_not_sent_while_the_gate_is_closed(server: Server) -> None:
    database = DatabaseRef(name="primary", instance="shielda-prod", region="us-west-2", dsn_env="DATABASE_URL")
    closed = Connections(database, Gate(Door(0), patience=0.1))
    with pytest.raises(Refused, match="could not be sure that it still leads"):
        await closed.change("SELECT 'kept back'")
    assert await Connections(database).change("SELECT 'let through' AS said") == [{"said": "let through"}]
    statements = "\n".join(server.statements())
    assert "let through" in statements
    assert "kept back" not in statements
