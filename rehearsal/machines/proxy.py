"""A database's endpoint: a TCP proxy whose port stays the same while the server behind it changes."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

from rehearsal.black_hole import BlackHole
from rehearsal.listening import stop_accepting
from rehearsal.machines.tls import ACCEPTED, SSL_REQUEST, context

Target = int | Callable[[], int] | Callable[[], Awaitable[int]]


class Proxy:
    """One address that never changes; connections go to the local port that it points to at the moment.

    With `tls` it speaks TLS with PostgreSQL's clients that ask for it, and plainly with the server behind it.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: bool = False) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.silent = False
        self.delay = 0.0
        self._target: Target | None = None
        self._server: asyncio.Server | None = None
        self._holder: socket.socket | None = None
        self._hole: BlackHole | None = None
        self._live: set[_Side] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> int:
        """How many clients are connected."""
        return sum(side.is_client for side in self._live)

    @property
    def vanished(self) -> bool:
        """Whether packets vanish at present."""
        return self._hole is not None

    def switch(self, target_port: Target) -> None:
        """Send new connections to `target_port` and cut every live one, as when an address moves to another host.

        A function is asked at each new connection.
        """
        self._target = target_port
        self.abort()

    def silence(self, silent: bool = True) -> None:
        """New connections are taken and never answered, as by a firewall that drops what it doesn't let in."""
        self.silent = silent

    def slow(self, seconds: float) -> None:
        """What arrives from now on is passed on so much later; 0 takes it back, and nothing overtakes what is on its way."""
        self.delay = seconds

    async def vanish(self, vanish: bool = True) -> None:
        """Packets vanish: nobody gets through, nobody is refused, and what is connected hears nothing more.

        Or no longer: then packets get through again, and those that were sent meanwhile arrive.
        """
        if not vanish:
            return await self._reappear()
        if self._server is None:
            return None
        server, self._server = self._server, None
        await stop_accepting(server.sockets)
        with server.sockets[0].dup() as listener:
            self._hole = BlackHole(listener)
        server.close()
        for side in self._live:
            side.freeze(True)
        return None

    async def _reappear(self) -> None:
        if self._hole is None:
            return
        hole, self._hole = self._hole, None
        self._server = await asyncio.get_running_loop().create_server(self._client, sock=hole.end(), backlog=256)
        for side in list(self._live):
            side.freeze(False)

    def abort(self) -> None:
        """Cut every connection, live or being made, without closing it properly."""
        for task in self._connecting:
            task.cancel()
        for side in list(self._live):
            side.abort()

    async def accept(self) -> None:
        """Let clients connect, on the same port as before if there was one."""
        if self._server is not None or self._hole is not None:
            return
        self._release()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._client, self.host, self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    def reserve(self) -> None:
        """Know the port from now on; it refuses connections until the first `accept()`."""
        if self._server is None and self._holder is None and self._hole is None:
            self._hold()

    async def refuse(self) -> None:
        """Give clients a real "connection refused". No other process can take the port meanwhile."""
        if self._server is None:  # or nobody gets through anyhow
            return
        server, self._server = self._server, None
        await stop_accepting(server.sockets)
        server.close()
        await asyncio.sleep(0)  # The event loop closes the listening socket in its next turn.
        self._hold()

    async def close(self) -> None:
        """Close the listener and every connection."""
        await self.refuse()
        self.abort()
        self._release()
        if self._hole is not None:
            self._hole.close()
            self._hole = None
        while self._live or self._connecting:  # noqa: ASYNC110 - a transport closes its socket in a later turn of the loop.
            await asyncio.sleep(0)

    def _client(self) -> asyncio.Protocol:
        return _Side(self, _ignore if self.silent else self._connect)

    def _connect(self, client: "_Side") -> None:
        task = asyncio.get_running_loop().create_task(self._join(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _join(self, client: "_Side") -> None:
        """Connect a client to the server. Port 0, on which nobody can listen, stands for no server at all."""
        target = self._target() if callable(self._target) else self._target or 0
        port = target if isinstance(target, int) else await target
        try:
            _, server = await asyncio.get_running_loop().create_connection(lambda: _Side(self), "127.0.0.1", port)
        except OSError:
            client.abort()
        else:
            client.join(server)

    def _hold(self) -> None:
        """Bind without listening: the port stays ours and refuses connections."""
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((self.host, self.port))
        self.port = self._holder.getsockname()[1]

    def _release(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None


def _ignore(client: "_Side") -> None:
    """Nobody answers this client."""


class _Side(asyncio.Protocol):
    """One end of a connection: writes what arrives here to the other end, no faster than that end takes it."""

    def __init__(self, proxy: Proxy, connect: Callable[["_Side"], None] | None = None) -> None:
        self.is_client = connect is not None
        self._proxy = proxy
        self._live = proxy._live
        self._connect = connect
        self._asks = self.is_client and proxy.tls  # whether it may still ask for TLS
        self._other: _Side | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # What arrives before there is another end.
        self._late: deque[tuple[float, bytes]] = deque()  # What is on its way to the other end of a slow link.
        self._frozen = False
        self._full = False  # Whether the other end takes no more at present.

    def join(self, other: "_Side") -> None:
        """Join the other end and send it what has arrived meanwhile. If one end has gone, the other is cut too."""
        for here, there in ((self, other), (other, self)):
            here._other = there
            if here not in here._live:
                there.abort()
            elif here._transport and there._early:
                here._transport.write(b"".join(there._early))

    def freeze(self, frozen: bool) -> None:
        """Read nothing more, so that the other end hears nothing; or go on."""
        self._frozen = frozen
        self._read_or_not()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._live.add(self)
        if self._proxy.vanished:
            self.freeze(True)
        if self._connect:
            self._connect(self)

    def data_received(self, data: bytes) -> None:
        if self._asks and data == SSL_REQUEST:
            self._asks = False
            self._secure()
        elif not (self._other and self._other._transport):
            self._early.append(data)
        elif self._proxy.delay or self._late:
            self._send_later(data)
        else:
            self._other._transport.write(data)

    def pause_writing(self) -> None:
        if self._other:
            self._other._full = True
            self._other._read_or_not()

    def resume_writing(self) -> None:
        if self._other:
            self._other._full = False
            self._other._read_or_not()

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        if self._other and self._other._transport:
            self._other._transport.close()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def _secure(self) -> None:
        """Go on in TLS with this client; what it says next is the handshake."""
        assert self._transport is not None
        self._transport.pause_reading()
        self._transport.write(ACCEPTED)
        task = asyncio.get_running_loop().create_task(self._start_tls(self._transport))
        self._proxy._connecting.add(task)
        task.add_done_callback(self._proxy._connecting.discard)

    async def _start_tls(self, plain: asyncio.Transport) -> None:
        secured = None
        try:
            secured = await asyncio.get_running_loop().start_tls(plain, self, context(), server_side=True)
        except OSError:
            pass  # a handshake that fails
        finally:
            if secured is None:  # failed or cut: during a handshake nobody else tells this end that its connection is gone
                plain.abort()
                self.connection_lost(None)
        self._transport = secured or plain

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._frozen or self._full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _send_later(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._late.append((loop.time() + self._proxy.delay, data))
        if len(self._late) == 1:
            loop.call_at(self._late[0][0], self._send_due)

    def _send_due(self) -> None:
        """Pass on the oldest of what is late; a link that was cut meanwhile lets nothing through."""
        if not self._late or not (self._other and self._other._transport) or self._other._transport.is_closing():
            self._late.clear()
            return
        if not self._frozen:
            self._other._transport.write(self._late.popleft()[1])
        loop = asyncio.get_running_loop()
        if self._late:
            loop.call_at(max(self._late[0][0], loop.time() + (0.05 if self._frozen else 0.0)), self._send_due)
