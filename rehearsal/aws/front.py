"""The door of the rehearsal's AWS: one port per region that speaks AWS's own protocols.

A request must carry a SigV4 Authorization header; its credential scope says region and service (the signature itself
is not verified). Parameters and answers are held against botocore's shapes, so that what the rehearsal says is what
AWS could have said. Operations nobody added are refused as AWS refuses them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import Any

from aiohttp import web
from botocore.exceptions import UnknownServiceError

from rehearsal.aws import models, rest, wire
from rehearsal.aws.door import Door
from rehearsal.aws.faults import AFTER, BEFORE, Fault, Faults
from rehearsal.aws.garbled import PAGES
from rehearsal.aws.journal import Journal
from rehearsal.aws.wire import AwsError

__all__ = ["AwsError", "Front", "Handler"]

Handler = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]] | dict[str, Any]]
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
log = logging.getLogger(__name__)


class Front:
    """AWS in several regions, each on its own loopback port. If `strict`, `close` fails if an answer didn't fit AWS's shapes."""

    def __init__(self, *, regions: dict[str, int], journal: Journal, faults: Faults, strict: bool = True) -> None:
        self.journal = journal
        self.faults = faults
        self.strict = strict
        self.misshapen: list[str] = []
        self._doors = {region: Door(partial(self._serve, region), port) for region, port in regions.items()}
        self._handlers: dict[tuple[str, str], Handler] = {}

    def add(self, service: str, handlers: dict[str, Handler]) -> None:
        """Answer these operations of a service (by boto3's name). Names that AWS doesn't have are refused."""
        for operation, handler in handlers.items():
            if models.operation_model(service, operation) is None:
                raise ValueError(f"AWS's {service} has no operation {operation}.")
            self._handlers[service, operation] = handler

    @property
    def operations(self) -> list[tuple[str, str]]:
        """Each operation that is answered: service and operation, by boto3's names."""
        return sorted(self._handlers)

    async def start(self) -> dict[str, str]:
        """Open every region; returns the address of each."""
        for door in self._doors.values():
            await door.open()
        return {region: f"http://127.0.0.1:{door.port}" for region, door in self._doors.items()}

    async def close(self) -> None:
        """Close every region. AssertionError if strict and an answer didn't fit botocore's shapes."""
        for door in self._doors.values():
            await door.close()
        if self.strict and self.misshapen:
            raise AssertionError("Answers did not fit AWS's shapes: " + "; ".join(self.misshapen))

    async def region_down(self, region: str) -> None:
        """Let the region's port refuse connections, and cut the open ones."""
        await self._doors[region].close()

    async def region_up(self, region: str) -> None:
        """Let the region answer again, on the same port as before."""
        await self._doors[region].open()

    async def cut_off(self, *regions: str) -> None:
        """Packets to and from these regions vanish, and those of all other regions get through."""
        for region, door in self._doors.items():
            await door.vanish(region in regions)

    async def _serve(self, port_region: str, request: web.Request) -> web.StreamResponse:
        try:
            await request.read()
        except ConnectionError:  # who dies in the middle of a request has asked nothing
            return web.Response(status=400)
        exchange = Exchange(self, port_region, request)
        answer = await exchange.answer()
        if not isinstance(answer, wire.Answer):
            if exchange.fault == "after_hang":  # here, because the journal has the call by now
                await exchange.until_client_leaves()
            _hang_up(request.transport, answer)
            return web.Response(status=500)  # nobody reads this: the connection is gone
        headers = {
            "x-amzn-RequestId": exchange.request_id,
            "Content-Type": answer.content_type,
            "Date": format_datetime(datetime.now(UTC), usegmt=True),
            **answer.headers,
        }
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def call(
        self, region: str, service: str, operation: str, params: dict[str, Any], *, is_json: bool = False
    ) -> dict[str, Any]:
        """The handler's answer, checked against the output shape."""
        handler = self._handlers.get((service, operation))
        if handler is None:
            raise AwsError(
                "UnknownOperationException" if is_json else "InvalidAction",
                f"The rehearsal's {service} does not offer the operation {operation}.",
            )
        try:
            given = handler(region, params)
            output = await given if inspect.isawaitable(given) else given
        except AwsError as error:
            self._check_code(service, operation, error)
            raise
        self._check_output(service, operation, output)
        return output

    def _check_code(self, service: str, operation: str, error: AwsError) -> None:
        if error.code not in models.COMMON_CODES and error.code not in models.declared_errors(service, operation):
            self.misshapen.append(f"{service} {operation} cannot answer with the error {error.code}")

    def _check_output(self, service: str, operation: str, output: dict[str, Any]) -> None:
        model = models.operation_model(service, operation)
        shape = model.output_shape if model is not None else None
        if shape is None:
            return
        if problem := models.misfits(_without_none(output), shape):
            report = f"{service} {operation}: {problem}"
            log.error("answer does not fit the shape: %s", report)
            self.misshapen.append(report)
            if self.strict:
                raise AwsError("InternalFailure", report, 500)


class Garbled(Exception):
    """What goes back as it is, in place of an answer."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("garbled")
        self.raw = raw


class Exchange:
    """One request on its way through authentication, faults, the handler and the journal."""

    def __init__(self, front: Front, port_region: str, request: web.Request) -> None:
        self.front = front
        self.request = request
        self.request_id = str(uuid.uuid4())
        self.region = port_region
        self.service = ""
        self.operation = ""
        self.params: dict[str, Any] = {}
        self.is_json = "X-Amz-Target" in request.headers
        self.fault: str | None = None

    async def answer(self) -> wire.Answer | bytes | None:
        """What to send back: an answer, or raw bytes and then a cut, or None for a cut at once."""
        result = "unanswered"
        try:
            output = await self._output()
            if output is None:
                return None
            result = "ok"
            return await self._after(output)
        except Garbled as garbled:
            return garbled.raw
        except AwsError as error:
            result = error.code if result == "unanswered" else result
            return wire.write_error(self.service or "sts", self.operation, error, self.request_id, self.is_json)
        except Exception as error:
            log.exception("the handler of %s %s failed", self.service, self.operation)
            result = "InternalFailure"
            self.front.misshapen.append(f"{self.service} {self.operation} failed: {error!r}")
            broken = AwsError("InternalFailure", f"The rehearsal's own handler failed: {error!r}.", 500)
            return wire.write_error(self.service or "sts", self.operation, broken, self.request_id, self.is_json)
        finally:
            self._record(result)

    async def _output(self) -> dict[str, Any] | None:
        self.operation = wire.named_operation(self.request.headers, await self.request.read())
        self._authenticate()
        raw = await self._read()
        fault = self.front.faults.take(self.region, self.service, self.operation, kinds=BEFORE)
        if fault is not None and not await self._survives(fault):
            return None
        self.params = (
            rest.shaped(self.service, self.operation, raw)
            if self.is_rest
            else wire.shape_parameters(self.service, self.operation, raw, self.is_json)
        )
        return await self.front.call(self.region, self.service, self.operation, self.params, is_json=self.is_json)

    async def _read(self) -> dict[str, Any]:
        """The request's parameters as they came; sets the operation."""
        request, body = self.request, await self.request.read()
        if self.is_rest:
            self.operation, raw = rest.read_request(self.service, request.method, request.path, request.query, body)
            return raw
        self.operation, raw, self.is_json = wire.read_request(self.service, request.headers, body)
        return raw

    @property
    def is_rest(self) -> bool:
        """Whether the service's operations are told apart by their paths."""
        return rest.speaks_rest(self.service)

    def _authenticate(self) -> None:
        scope = SCOPE.search(self.request.headers.get("Authorization", ""))
        if scope is None:
            code = "MissingAuthenticationTokenException" if self.is_json else "MissingAuthenticationToken"
            raise AwsError(code, "Request is missing Authentication Token", 403)
        region, self.service = scope[1], models.service_of(scope[2])
        try:
            models.model_of(self.service)
        except UnknownServiceError:
            self.service = ""
            code = "UnknownOperationException" if self.is_json else "InvalidAction"
            asked = f", so no operation {self.operation}" if self.operation else ""
            raise AwsError(code, f"The rehearsal's AWS has no service {scope[2]}{asked}.", 404) from None
        if region != self.region and self.service not in {"iam", "sts", "route53"}:
            raise AwsError("SignatureDoesNotMatch", f"Credential should be scoped to region {self.region}, not {region}.", 403)

    async def _survives(self, fault: Fault) -> bool:
        self.fault = fault.kind
        match fault.kind:
            case "throttle":
                code = "ThrottlingException" if self.is_json else "Throttling"
                raise AwsError(code, "Rate exceeded", 400)
            case "error500":
                raise AwsError("InternalFailure", "An internal error occurred before the request was handled.", 500)
            case "access_denied":
                raise self._denied()
            case "slow":
                await asyncio.sleep(fault.seconds)
                return True
            case "hang":
                await self.until_client_leaves()
            case "garbled":
                raise self._garbled(fault.page)
        return False

    async def until_client_leaves(self) -> None:
        """Wait until the client has given up, which aiohttp shows only in the transport."""
        while self.request.transport is not None and not self.request.transport.is_closing():  # noqa: ASYNC110 - without deadline
            await asyncio.sleep(0.05)

    def _denied(self) -> AwsError:
        message = (
            f"User: arn:aws:sts::123456789012:assumed-role/drbot/rehearsal is not authorized to perform: "
            f"{self.service}:{self.operation} because no identity-based policy allows it"
        )
        return AwsError("AccessDeniedException", message, 400) if self.is_json else AwsError("AccessDenied", message, 403)

    def _garbled(self, page: str, answer: wire.Answer | None = None) -> Garbled:
        refusal = wire.write_error(self.service, self.operation, self._denied(), self.request_id, self.is_json)
        return Garbled(PAGES[page](answer or refusal, refusal, self.request_id))

    async def _after(self, output: dict[str, Any]) -> wire.Answer | None:
        if self.is_rest:
            answer = rest.write_answer(self.service, self.operation, output)
        else:
            answer = wire.write_answer(self.service, self.operation, output, self.request_id, self.is_json)
        fault = self.front.faults.take(self.region, self.service, self.operation, kinds=AFTER)
        if fault is None:
            return answer
        self.fault = fault.kind
        match fault.kind:
            case "after_garbled":
                raise self._garbled(fault.page, answer)
            case "after_500":
                raise AwsError("InternalFailure", "An internal error occurred after the request was handled.", 500)
        return None

    def _record(self, result: str) -> None:
        self.front.journal.record(
            region=self.region,
            service=self.service,
            operation=self.operation,
            parameters=self.params,
            request_id=self.request_id,
            user_agent=self.request.headers.get("User-Agent", ""),
            result=result,
            fault=self.fault,
        )


def _hang_up(transport: asyncio.Transport | None, last: bytes | None) -> None:
    """Ends a connection, after these last bytes if there are any."""
    if transport is None:
        return
    if last is None:
        transport.abort()
    else:
        transport.write(last)
        transport.close()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return value
