"""Socket Mode: the bot's connections, and envelopes that go to one of them and wait to be acknowledged.

An app that has an address of its own gets the same by HTTP: `posting` says where.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, WSMsgType, web

from rehearsal.slack.journal import Journal
from rehearsal.slack.members import APP
from rehearsal.slack.posting import Posted, Posting

Json = dict[str, Any]
MOST_CONNECTIONS = 10
TICKET_SECONDS = 30.0


@dataclass(eq=False, kw_only=True)
class Connection:
    """One Socket Mode connection of the bot; `base` is the address at which the bot reached us."""

    number: int
    base: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None

    @property
    def open(self) -> bool:
        """Whether an envelope can be sent on it."""
        return not self.socket.closed and not (self.transport and self.transport.is_closing())

    def reset(self) -> None:
        """Drop it without closing it properly."""
        if self.transport:
            self.transport.abort()


@dataclass(frozen=True, kw_only=True)
class Ack:
    """What came back for an envelope: whether and how fast it was acked, and the payload or the error."""

    acked: bool
    ack_ms: float
    response: Json | None = None
    error: str | None = None

    def to_json(self) -> Json:
        """The same as JSON."""
        return {"acked": self.acked, "ack_ms": self.ack_ms, "response": self.response, "error": self.error}


class Sockets:
    """All connections of the bot and the envelopes that wait for their acknowledgement."""

    def __init__(self, journal: Journal, *, ack_deadline: float) -> None:
        self._journal = journal
        self._ack_deadline = ack_deadline
        self._connections: list[Connection] = []
        self._tickets: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, tuple[asyncio.Future[Json | None], Json, float]] = {}
        self._numbers = itertools.count(1)
        self._turn = 0
        self.duplicate_next = False
        self.posting: Posting | None = None
        self.base = "http://127.0.0.1"

    @property
    def open(self) -> list[Connection]:
        """The connections that can carry an envelope now."""
        return [connection for connection in self._connections if connection.open]

    def ticket(self, base: str) -> str:
        """The one-time address of a websocket, as `apps.connections.open` answers it."""
        ticket = secrets.token_urlsafe(12)
        self._tickets[ticket] = (base, time.monotonic() + TICKET_SECONDS)
        return f"{base.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={APP}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The life of one connection: hello, then acknowledgements until it closes."""
        base, until = self._tickets.pop(request.query.get("ticket", ""), ("", 0.0))
        if time.monotonic() > until:
            return web.json_response({"ok": False, "error": "invalid_ticket"}, status=401)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        transport = request.transport
        connection = Connection(number=next(self._numbers), base=base, socket=socket, transport=transport)
        await self._join(connection)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledge(message.data)
        finally:
            self._leave(connection)
        return socket

    async def _join(self, connection: Connection) -> None:
        if len(self.open) >= MOST_CONNECTIONS:
            await connection.socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await connection.socket.close()
            return
        self.base = connection.base
        self._connections.append(connection)
        await connection.socket.send_json(
            {
                "type": "hello",
                "num_connections": len(self.open),
                "connection_info": {"app_id": APP},
                "debug_info": {
                    "host": f"rehearsal-{connection.number}",
                    "build_number": 1,
                    "approximate_connection_time": 3600,
                },
            }
        )
        self._journal.note("connected", connection=connection.number)
        self._journal.changed("connected", connected=len(self.open))

    def _leave(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._journal.note("disconnected", connection=connection.number)
            self._journal.changed("connected", connected=len(self.open))

    def _acknowledge(self, data: str) -> None:
        try:
            answer = json.loads(data)
        except ValueError:
            self._journal.note("garbage", text=data[:100])
            return
        future, entry, began = self._waiting.get(str(answer.get("envelope_id")), (None, {}, 0.0))
        if future is None:
            self._journal.note("stray_ack", envelope_id=answer.get("envelope_id"))
            return
        entry["acks"] += 1
        if entry["ack_ms"] is None:
            entry["ack_ms"] = round((time.monotonic() - began) * 1000, 3)
        if not future.done():
            future.set_result(answer.get("payload"))

    async def deliver(
        self, kind: str, payload: Json, *, accepts_response: bool = True, envelope: Json | None = None, **about: Any
    ) -> Ack:
        """Send an envelope to one connection, and wait for its ack until the deadline (3 s in Slack).

        `envelope` are further fields of it; `about` goes into the journal.
        """
        envelope_id = f"{secrets.token_hex(4)}-{secrets.token_hex(6)}"
        entry = self._journal.note("envelope", type=kind, envelope_id=envelope_id, acked=False, ack_ms=None, acks=0, **about)
        if self.posting:
            return await self._post(self.posting, self.posting.sign(kind, payload), entry)
        if not self.open:
            entry["error"] = "no_connection"
            return Ack(acked=False, ack_ms=0.0, error="no_connection")
        sent = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": accepts_response,
            **(envelope or {}),
        }
        future: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = (future, entry, time.monotonic())
        await self._send(sent, entry)
        return await self._await_ack(future, entry)

    async def _send(self, envelope: Json, entry: Json) -> None:
        copies, self.duplicate_next = (2 if self.duplicate_next else 1), False
        entry["sent_to"] = []
        for _ in range(copies):
            connections = self.open
            if not connections:
                return
            self._turn += 1
            connection = connections[self._turn % len(connections)]
            entry["sent_to"].append(connection.number)
            try:
                await connection.socket.send_json(envelope)
            except ConnectionError:
                continue  # the socket was lost just now: Slack wouldn't notice either.

    async def _post(self, posting: Posting, posted: Posted, entry: Json) -> Ack:
        """Post a request and take its answer for the ack; of a duplicate the first one's."""
        copies, self.duplicate_next = (2 if self.duplicate_next else 1), False
        began, answers = time.monotonic(), []
        try:
            async with asyncio.timeout(self._ack_deadline):
                for _ in range(copies):
                    answers.append(await posting.send(posted))
        except (TimeoutError, ClientError) as error:
            entry["error"] = "operation_timeout" if isinstance(error, TimeoutError) else "http_request_failed"
        entry["statuses"], entry["ack_ms"] = [status for status, _ in answers], round((time.monotonic() - began) * 1000, 3)
        entry["acked"], entry["acks"] = entry["statuses"][:1] == [200], entry["statuses"].count(200)
        if not entry["acked"]:
            return Ack(acked=False, ack_ms=entry["ack_ms"], error=entry.setdefault("error", "http_status_code_error"))
        return Ack(acked=True, ack_ms=entry["ack_ms"], response=answers[0][1] or None)

    async def _await_ack(self, future: asyncio.Future[Json | None], entry: Json) -> Ack:
        try:
            async with asyncio.timeout(self._ack_deadline):
                response = await future
        except TimeoutError:
            entry["error"] = "operation_timeout"
            return Ack(acked=False, ack_ms=round(self._ack_deadline * 1000, 3), error="operation_timeout")
        entry["acked"] = True
        return Ack(acked=True, ack_ms=float(entry["ack_ms"]), response=response or None)

    def reset(self) -> None:
        """Drop every connection without closing it properly."""
        for connection in list(self._connections):
            connection.reset()

    async def refresh(self) -> None:
        """Ask for a new connection in place of each, as Slack does every hour or so (`refresh_requested`)."""
        for connection in self.open:
            await connection.socket.send_json({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}})

    async def close(self) -> None:
        """Close every connection properly."""
        for connection in list(self._connections):
            await connection.socket.close()
