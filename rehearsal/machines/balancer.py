"""The load balancer: one fixed port that hands every connection to a running task of the control plane.

One request per connection. It answers as a load balancer does, with a JSON body: 503 without a target, 502 if the target
refuses or breaks off, 504 if it doesn't answer in time.

It forwards bytes, not requests: what a target sends before it breaks off or hangs must reach the client as it was sent.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime

from rehearsal.black_hole import BlackHole
from rehearsal.listening import stop_accepting
from rehearsal.waiting import NotSeen, until

HEAD_LIMIT = 65_536
WORDS = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class Balancer:
    """A proxy on its own port. `seconds` is how long a target may take to begin its answer."""

    def __init__(self, *, port: int = 0, seconds: float = 2.0) -> None:
        self.port = port
        self.seconds = seconds
        self.targets: list[int] = []
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._busy: Counter[int] = Counter()
        self._hole: BlackHole | None = None
        self._reachable = asyncio.Event()
        self._reachable.set()

    @property
    def url(self) -> str:
        """The public address of the control plane."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> str:
        """Open the port; returns the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.url

    async def close(self) -> None:
        """Close the port and cut what is open."""
        self._reachable.set()
        if self._hole is not None:
            self._hole.close()
            self._hole = None
        if self._server is not None:
            server, self._server = self._server, None
            await stop_accepting(server.sockets)
            server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def vanish(self, vanish: bool = True) -> None:
        """Packets vanish: nobody gets an answer, and nobody is refused; or no longer, and late answers arrive."""
        if self._server is not None and vanish:
            server, self._server = self._server, None
            self._reachable.clear()
            await stop_accepting(server.sockets)
            with server.sockets[0].dup() as listener:
                self._hole = BlackHole(listener)
            server.close()
        elif self._hole is not None and not vanish:
            hole, self._hole = self._hole, None
            self._server = await asyncio.start_server(self._serve, sock=hole.end(), limit=HEAD_LIMIT)
            self._reachable.set()

    def set_targets(self, ports: Sequence[int]) -> None:
        """Send new connections to these ports of this machine in turn."""
        self.targets = list(ports)

    async def drained(self, port: int, seconds: float) -> None:
        """Return once no request to this port is under way, or after `seconds`: the deregistration delay."""
        with suppress(NotSeen):
            await until(lambda: not self._busy[port], seconds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(10):
                request = await _read_request(reader)
            await self._reachable.wait()
            await self._forward(request, writer)
            await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has left, or does not speak HTTP
        finally:
            await self._reachable.wait()
            self._open.discard(writer)
            writer.close()

    async def _forward(self, request: bytes, client: asyncio.StreamWriter) -> None:
        targets = self._in_turn()
        if not targets:
            await self._tell(client, _own_answer(503, "No task of the control plane is running."))
            return
        for port in targets:
            self._busy[port] += 1
            try:
                if await self._forward_to(port, request, client):
                    return
            finally:
                self._busy[port] -= 1
        await self._tell(client, _own_answer(502, "The task of the control plane refuses connections."))

    async def _tell(self, client: asyncio.StreamWriter, answer: bytes) -> None:
        await self._reachable.wait()
        client.write(answer)

    async def _forward_to(self, port: int, request: bytes, client: asyncio.StreamWriter) -> bool:
        """Whether the target took the connection; if it did, the client has its answer."""
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), self.seconds)
        except OSError:  # which TimeoutError is, too
            return False
        self._open.add(writer)
        try:
            await self._exchange(request, reader, writer, client)
        finally:
            self._open.discard(writer)
            writer.close()
        return True

    def _in_turn(self) -> list[int]:
        self._turn += 1
        start = self._turn % len(self.targets) if self.targets else 0
        return self.targets[start:] + self.targets[:start]

    async def _exchange(
        self,
        request: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        begun = False
        try:
            writer.write(request)
            while chunk := await asyncio.wait_for(reader.read(65_536), self.seconds):
                begun = True
                await self._tell(client, chunk)
                await client.drain()
        except TimeoutError:
            if not begun:
                await self._tell(client, _own_answer(504, f"The task did not answer within {self.seconds:g} seconds."))
            return
        except OSError:
            pass
        if not begun:
            await self._tell(client, _own_answer(502, "The task broke off without an answer."))


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    length = 0
    kept = [first]
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() not in {"connection", "keep-alive"}:
            kept.append(line)
    kept.append("Connection: close")
    body = await reader.readexactly(length)
    return "\r\n".join(kept).encode("latin-1") + b"\r\n\r\n" + body


def _own_answer(status: int, sentence: str) -> bytes:
    body = json.dumps({"error": sentence}).encode()
    head = (
        f"HTTP/1.1 {status} {WORDS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Date: {format_datetime(datetime.now(UTC), usegmt=True)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
