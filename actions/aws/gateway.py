"""The gateway to AWS: questions may be repeated, changes are sent once, and a lost answer is told apart from a refusal.

    read, probe   -> Answer, or AwsUnreachable
    change        -> Answer, or AwsRefused (provably no effect), or Uncertain (read back before doing anything)

The rules were measured: with botocore's own retries one lost answer of UpdateService started three deployments, and a proxy's
page with HTTP 403 passed for a refusal by RDS. So a refusal counts only if it is AWS's own (answers.py), and "not sent" only
if botocore had not begun to send.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import random
import textwrap
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import boto3
import botocore.session
import structlog
from botocore import exceptions as aws
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

from actions.aws.answers import NotAws, check, foreign, refuses, request_id, throttles
from actions.aws.call import AwsRefused, AwsUnreachable, Call
from actions.errors import ActionError, Uncertain
from actions.gate import Gate, GateClosed
from actions.scrub import scrub
from actions.site import Aws, is_loopback
from actions.values import Json

log = structlog.get_logger()

THREADS = 16
LONGEST_SENTENCE = 500  # characters
THROTTLED_ATTEMPTS = 5
ASKED = 3  # times that a question is asked before a page that isn't AWS's is taken for no answer
NOT_CONNECTED = (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)
BASE: dict[str, Any] = {
    "connect_timeout": 2,
    "tcp_keepalive": True,
    "max_pool_connections": THREADS,
    "user_agent_extra": f"drbot/{version('dr-bot')}",
}
PROFILES = {  # read is bounded by about 26 s, change by 22 s, probe by 5 s
    "read": Config(**BASE, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3}),
    "change": Config(**BASE, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 1}),
    "probe": Config(**BASE, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1}),
}
REHEARSAL_KEYS = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


class Answer(dict[str, Any]):
    """What AWS answered, without its metadata. `request_id` and `server_time` (AWS's own clock) are beside it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__({name: value for name, value in raw.items() if name != "ResponseMetadata"})
        metadata = raw.get("ResponseMetadata", {})
        date = metadata.get("HTTPHeaders", {}).get("date")
        self.request_id = request_id(raw)
        self.server_time: datetime = parsedate_to_datetime(date) if date else datetime.now(UTC)


class NotSent(Exception):
    """The request provably never left: the message says why."""


class Wire(threading.local):
    """How far this thread's request has come: whether botocore began to send it, and what came back, if it isn't AWS's."""

    sent = False
    foreign = ""

    def begin(self) -> None:
        """Nothing is sent yet."""
        self.sent, self.foreign = False, ""

    def note_sending(self, **_: Any) -> None:
        """A handler of botocore's event "before-send"."""
        self.sent = True

    def note_answer(self, *, response_dict: dict[str, Any], **_: Any) -> None:
        """A handler of botocore's event "before-parse"."""
        self.foreign = foreign(response_dict["status_code"], response_dict["body"])


class Gateway:
    """Clients of AWS, cached by region, service and profile, on threads of their own. `profiles` has their deadlines."""

    def __init__(self, settings: Aws, gate: Gate | None = None, *, profiles: Mapping[str, Config] = PROFILES) -> None:
        self._settings = settings
        self._gate = gate or Gate()
        self._profiles = profiles
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
        self._lock = threading.Lock()  # making a client is not thread-safe, using one is
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._wire = Wire()

    async def read(self, call: Call) -> Answer:
        """Ask AWS; a question that gets no answer is repeated up to three times."""
        return await self._ask(call, "read", ASKED)

    async def probe(self, call: Call) -> Answer:
        """Ask once and briefly: is this region there?"""
        return await self._ask(call, "probe", 1)

    async def read_all(self, call: Call, items: str, *, token: str = "nextToken", at_most: int = 500) -> list[Any]:
        """The items of all pages, as far as `at_most`. `token` names the page token in request and answer."""
        found: list[Any] = []
        page: str | None = None
        while len(found) < at_most:
            parameters: dict[str, Json] = {**call.parameters, token: page}
            answer = await self.read(
                Call(service=call.service, operation=call.operation, region=call.region, parameters=parameters)
            )
            found += answer.get(items, [])
            page = answer.get(token)
            if not page:
                break
        return found[:at_most]

    async def change(self, call: Call) -> Answer:
        """Make a change: one request. It is sent again only if AWS itself says that it was throttled, so did nothing."""
        for attempt in range(1, THROTTLED_ATTEMPTS + 1):
            try:
                answer = await self._send(call, "change")
            except AwsUnreachable as error:
                raise AwsRefused(f"{call.operation} was not sent. {error}") from error
            except Exception as error:
                if not _is_throttled(error) or attempt == THROTTLED_ATTEMPTS:
                    raise judge_change(call, error) from error
                log.warning("aws_throttled", operation=call.permission, attempt=attempt, code=error_code(error))
            else:
                log.info("aws_changed", operation=call.permission, region=call.region, request_id=answer.request_id)
                return answer
            await asyncio.sleep(random.uniform(0.2, 0.5) * 2**attempt / self._settings.speed)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def prewarm(self, clients: Sequence[tuple[str, str]], region: str = "") -> None:
        """Make these clients (service and profile) before they are needed; failures are left to the first use."""
        region = region or self._settings.region
        try:
            for service, profile in clients:
                await asyncio.get_running_loop().run_in_executor(self._pool, self._client, region, service, profile)
        except (ActionError, aws.BotoCoreError) as error:
            log.warning("aws_prewarm_failed", error=str(error))

    async def close(self) -> None:
        """Let go of threads and connections; calls in flight end by their own timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def _ask(self, call: Call, profile: str, attempts: int) -> Answer:
        for attempt in range(1, attempts + 1):
            try:
                return await self._send(call, profile)
            except AwsUnreachable:
                raise
            except NotAws as error:
                log.warning("aws_answer_is_not_aws", operation=call.permission, attempt=attempt, says=str(error), why=error.why)
                if attempt == attempts:
                    raise judge_question(call, error) from error
            except Exception as error:
                raise judge_question(call, error) from error
            await asyncio.sleep(random.uniform(0.2, 0.5) * 2**attempt / self._settings.speed)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(self, call: Call, profile: str) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._blocking_send, call, profile)

    def _blocking_send(self, call: Call, profile: str) -> Answer:
        """One call of botocore's. What it raises is `NotSent`, `NotAws`, or an error of botocore's own after it began to send."""
        self._wire.begin()
        try:
            client = self._client(call.region, call.service, profile)
            return Answer(getattr(client, call.method)(**call.arguments))
        except AwsUnreachable:
            raise
        except Exception as error:
            if not self._wire.sent or isinstance(error, NOT_CONNECTED):
                raise NotSent(_sentence(error)) from error
            if self._wire.foreign and not isinstance(error, NotAws | aws.ClientError | aws.BotoCoreError):
                raise NotAws(self._wire.foreign, textwrap.shorten(repr(error), 200)) from error  # botocore stumbled over it
            raise

    def _client(self, region: str, service: str, profile: str) -> Any:
        key = (region, service, profile)
        with self._lock:
            if key not in self._clients:
                client = self._session.client(service, region_name=region, **self._options(region, profile))
                self._fence(client.meta.endpoint_url, region)
                if profile == "change":
                    client.meta.events.register("before-send", functools.partial(_pass_gate, self._gate))
                client.meta.events.register("before-send", self._wire.note_sending)
                client.meta.events.register("before-parse", self._wire.note_answer)
                client.meta.events.register("response-received", functools.partial(check, client.meta.service_model))
                self._clients[key] = client
            return self._clients[key]

    def _options(self, region: str, profile: str) -> dict[str, Any]:
        if not self._settings.endpoints:
            return {"config": self._profiles[profile]}
        url = self._settings.endpoints.get(region)
        if url is None:
            raise AwsUnreachable(f"This is a rehearsal, and [aws.endpoints] names no endpoint for region {region}.")
        return {"config": self._profiles[profile].merge(Config(proxies={})), "endpoint_url": url, **REHEARSAL_KEYS}

    def _fence(self, url: str, region: str) -> None:
        if is_loopback(url) != bool(self._settings.endpoints):
            where = "a rehearsal may only reach loopback" if self._settings.endpoints else "loopback is for a rehearsal only"
            raise AwsUnreachable(
                f"The endpoint of {region} would be {url}, and {where}; look at [aws.endpoints] and AWS_ENDPOINT_URL."
            )

    @functools.cached_property
    def _session(self) -> boto3.Session:
        core = botocore.session.Session()
        if self._settings.endpoints:
            core.set_config_variable("profile", None)
        elif self._settings.role_arn:
            _assume(core, self._settings)
        return boto3.Session(botocore_session=core)


class _GatedBody(io.BytesIO):
    """A request's body that is read when the connection stands and the headers are out: without it AWS has no request."""

    def __init__(self, body: bytes | str, gate: Gate) -> None:
        super().__init__(body.encode() if isinstance(body, str) else body)
        self._gate = gate

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            self._gate.wait()
        return super().read(size)


def _pass_gate(gate: Gate, request: Any, **_: Any) -> None:
    """Wait for the gate before a connection is opened, and once more when the decisive bytes leave: opening takes a while."""
    gate.wait()
    agent = request.headers["User-Agent"]
    request.headers["User-Agent"] = f"{agent.decode() if isinstance(agent, bytes) else agent} {gate.name}".strip()
    if isinstance(request.body, bytes | str) and request.body:
        request.body = _GatedBody(request.body, gate)


def error_code(error: Exception) -> str:
    """AWS's error code; "" if no answer arrived."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, aws.ClientError) else ""


def judge_change(call: Call, error: Exception) -> ActionError:
    """What is known of a change that raised `error`: refused only if it was not sent, or if AWS itself says so."""
    if isinstance(error, NotSent):
        return AwsRefused(f"{call.operation} was not sent to {call.provider} in {call.region}. {error}")
    if isinstance(error, aws.ClientError) and refuses(error.response):
        return AwsRefused(f"{call.provider} refused {call.operation}: {_sentence(error)}", code=error_code(error))
    if isinstance(error, aws.ClientError):
        return Uncertain(f"{call.operation} was sent, and {call.provider} answered with an error of its own: {_sentence(error)}")
    return Uncertain(f"{call.operation} was sent, but {call.provider}'s answer was lost: {_sentence(error)}")


def judge_question(call: Call, error: Exception) -> AwsUnreachable:
    """Why a question that raised `error` has no answer; final if AWS itself refuses it."""
    if isinstance(error, aws.ClientError):
        final = refuses(error.response) and not throttles(error.response)
        said = "refused" if final else "could not answer"
        return AwsUnreachable(f"{call.provider} {said} {call}: {_sentence(error)}", code=error_code(error), final=final)
    return AwsUnreachable(f"{call.provider} did not answer {call}: {_sentence(error)}")


def _is_throttled(error: Exception) -> bool:
    return isinstance(error, aws.ClientError) and throttles(error.response)


def _sentence(error: Exception) -> str:
    """The error in a person's words. For a request that was sent, botocore names the address and no more."""
    says = str(error)
    if isinstance(error, aws.ClientError):
        told = error.response.get("Error", {})
        says = f"{told.get('Code') or 'no error code'}: {told.get('Message') or 'no message'}"
    elif isinstance(error, aws.ReadTimeoutError):
        says = "nothing came back in time"
    elif isinstance(error, aws.ConnectionClosedError):
        says = "the connection broke off"
    elif not isinstance(error, aws.BotoCoreError | NotAws | NotSent | GateClosed):
        says = f"unexpected error {error!r}"
    return textwrap.shorten(scrub(says), LONGEST_SENTENCE, placeholder=" ...").rstrip(".") + "."


def _assume(core: botocore.session.Session, settings: Aws) -> None:
    """Give the session the role's credentials, renewed by themselves, from the STS of the DR region, which outlives ours."""
    region = settings.dr_region or settings.region
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=functools.partial(core.create_client, region_name=region, config=PROFILES["read"]),
        source_credentials=core.get_credentials(),
        role_arn=settings.role_arn,
        extra_args={"RoleSessionName": f"drbot-{os.getpid()}"},
    )
    core._credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)
