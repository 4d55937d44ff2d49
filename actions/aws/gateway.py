"""The gateway to AWS: questions may be repeated, changes are sent once, and a lost answer is told apart from a refusal.

    read, probe   -> Answer, or AwsUnreachable
    change        -> Answer, or AwsRefused (provably no effect), or Uncertain (read back before doing anything)

The rules were measured: with botocore's own retries one lost answer of UpdateService started three deployments.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import textwrap
import threading
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

from actions.aws.call import AwsRefused, AwsUnreachable, Call
from actions.base import ActionError, Json, Uncertain
from actions.site import Aws, is_loopback

log = structlog.get_logger()

THREADS = 16
LONGEST_SENTENCE = 500  # characters
THROTTLED_ATTEMPTS = 5
THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "PriorRequestNotComplete",
    }
)
NOT_SENT = (
    aws.ParamValidationError,
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.TokenRetrievalError,
    aws.NoRegionError,
    aws.UnknownServiceError,
    aws.EndpointConnectionError,
    aws.ConnectTimeoutError,
    aws.ProxyConnectionError,
)
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
PREWARMED = (  # what the first plan and its effect need; each client is made in about 50 ms and takes 0.3 to 6 MB
    *(("ecs", "read"), ("rds", "read"), ("logs", "read"), ("cloudwatch", "read"), ("ecr", "read")),
    *(("ecs", "change"), ("rds", "change")),
)


class Answer(dict[str, Any]):
    """What AWS answered, without its metadata. `request_id` and `server_time` (AWS's own clock) are beside it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__({name: value for name, value in raw.items() if name != "ResponseMetadata"})
        metadata = raw.get("ResponseMetadata", {})
        date = metadata.get("HTTPHeaders", {}).get("date")
        self.request_id: str = metadata.get("RequestId", "")
        self.server_time: datetime = parsedate_to_datetime(date) if date else datetime.now(UTC)


class Gateway:
    """Clients of AWS, cached by region, service and profile, on threads of their own."""

    def __init__(self, settings: Aws) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
        self._lock = threading.Lock()  # making a client is not thread-safe, using one is
        self._clients: dict[tuple[str, str, str], Any] = {}

    async def read(self, call: Call) -> Answer:
        """Ask AWS; botocore repeats the question up to three times."""
        return await self._ask(call, "read")

    async def probe(self, call: Call) -> Answer:
        """Ask once and briefly: is this region there?"""
        return await self._ask(call, "probe")

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
        """Have an effect: one request. Only a throttled one, which provably did nothing, is sent again."""
        for attempt in range(1, THROTTLED_ATTEMPTS + 1):
            try:
                answer = await self._send(call, "change")
            except AwsUnreachable as error:
                raise AwsRefused(f"{error} The request was not sent.") from error
            except Exception as error:  # also an answer that botocore stumbles over: the request was sent
                code = error_code(error)
                if code not in THROTTLED or attempt == THROTTLED_ATTEMPTS:
                    raise judge_change(call, error) from error
                log.warning("aws_throttled", service=call.service, operation=call.operation, attempt=attempt, code=code)
            else:
                log.info("aws_changed", operation=call.permission, region=call.region, request_id=answer.request_id)
                return answer
            await asyncio.sleep(random.uniform(0.2, 0.5) * 2**attempt / self._settings.speed)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def prewarm(self) -> None:
        """Make the clients that an incident will need first, in the background; failures are left to the first use."""
        try:
            for service, profile in PREWARMED:
                await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._client, self._settings.region, service, profile
                )
        except (ActionError, aws.BotoCoreError) as error:
            log.warning("aws_prewarm_failed", error=str(error))

    async def close(self) -> None:
        """Let go of threads and connections; calls in flight end by their own timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def _ask(self, call: Call, profile: str) -> Answer:
        try:
            return await self._send(call, profile)
        except AwsUnreachable:
            raise
        except Exception as error:  # also an answer that botocore stumbles over: it is none
            said = f"answered {call} with an error" if isinstance(error, aws.ClientError) else f"did not answer {call}"
            raise AwsUnreachable(f"AWS {said}: {_sentence(error)}", code=error_code(error)) from error

    async def _send(self, call: Call, profile: str) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._blocking_send, call, profile)

    def _blocking_send(self, call: Call, profile: str) -> Answer:
        client = self._client(call.region, call.service, profile)
        return Answer(getattr(client, call.method)(**call.arguments))

    def _client(self, region: str, service: str, profile: str) -> Any:
        key = (region, service, profile)
        with self._lock:
            if key not in self._clients:
                client = self._session.client(service, region_name=region, **self._options(region, profile))
                self._fence(client.meta.endpoint_url, region)
                client.meta.events.register("before-parse", _refuse_broken_json)
                self._clients[key] = client
            return self._clients[key]

    def _options(self, region: str, profile: str) -> dict[str, Any]:
        if not self._settings.endpoints:
            return {"config": PROFILES[profile]}
        url = self._settings.endpoints.get(region)
        if url is None:
            raise AwsUnreachable(f"This is a rehearsal, and [aws.endpoints] names no endpoint for region {region}.")
        return {"config": PROFILES[profile].merge(Config(proxies={})), "endpoint_url": url, **REHEARSAL_KEYS}

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


def _refuse_broken_json(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Raise ValueError where an answer is no JSON object but was cut off, say: botocore would take it for an empty one."""
    is_json = operation_model.service_model.resolved_protocol == "json" and operation_model.output_shape
    if is_json and response_dict["status_code"] < 300 and not isinstance(json.loads(response_dict["body"]), dict):
        raise ValueError("The answer is no JSON object.")


def error_code(error: Exception) -> str:
    """AWS's error code; "" where no answer arrived."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, aws.ClientError) else ""


def judge_change(call: Call, error: Exception) -> ActionError:
    """Whether a change that raised `error` may have happened: refused only where it provably did not."""
    if isinstance(error, NOT_SENT):
        return AwsRefused(f"{call} was not sent: {_sentence(error)}")
    if isinstance(error, aws.ClientError):
        code, status = error_code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in THROTTLED or (400 <= status < 500 and status != 408 and not code.isdigit()):  # a number is not AWS's word
            return AwsRefused(f"AWS refused {call}: {_sentence(error)}", code=code)
    return Uncertain(f"{call} was sent and its answer is lost, so it may have happened: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    says = str(error)
    if isinstance(error, aws.ClientError):
        said = error.response.get("Error", {})
        code, message = said.get("Code", "unknown code"), said.get("Message", "no message")
        says = f"HTTP {code} and no error of AWS's own" if code.isdigit() else f"{code}: {message}"
    elif not isinstance(error, aws.BotoCoreError):
        says = f"what came back cannot be read as an answer of AWS ({type(error).__name__})"
    return textwrap.shorten(says, LONGEST_SENTENCE, placeholder=" ...").rstrip(".") + "."


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
