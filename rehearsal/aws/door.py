"""The port of one AWS region: open, refusing, or in a region from which no packet comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from rehearsal.black_hole import BlackHole
from rehearsal.listening import stop_accepting

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """A port that stays the same for all requests of a region; `serve` answers them.

    While packets vanish, requests on connections that are open already are neither answered nor carried out.
    """

    def __init__(self, serve: Serve, port: int = 0) -> None:
        self.port = port
        self._serve = serve
        self._runner: web.AppRunner | None = None
        self._listening: socket.socket | None = None
        self._hole: BlackHole | None = None

    @property
    def vanished(self) -> bool:
        """Whether packets vanish at present."""
        return self._hole is not None

    async def open(self) -> None:
        """Let the region answer again, on the same port as before."""
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await self._listen(socket.create_server(("127.0.0.1", self.port)))

    async def close(self) -> None:
        """Let the port refuse connections, and cut the open ones."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if self._hole is not None:
            self._hole.close()
            self._hole = None
        else:
            await self._stop_listening(runner)
        for connection in list(runner.server.connections) if runner.server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def vanish(self, vanish: bool = True) -> None:
        """Packets vanish: nobody gets an answer, and nobody is refused. Or no longer: those still waiting are answered then."""
        if self._runner is None or vanish == self.vanished:
            return
        if self._hole is not None:
            hole, self._hole = self._hole, None
            await self._listen(hole.end())
            return
        assert self._listening is not None
        with self._listening.dup() as listener:
            await self._stop_listening(self._runner)
            self._hole = BlackHole(listener)

    async def gone_through(self, request: web.Request) -> bool:
        """Wait until packets get through; False if the client has left before."""
        while self.vanished:
            if request.transport is None or request.transport.is_closing():
                return False
            await asyncio.sleep(0.05)
        return True

    async def _listen(self, listening: socket.socket) -> None:
        assert self._runner is not None
        await web.SockSite(self._runner, listening).start()
        self.port, self._listening = listening.getsockname()[1], listening

    async def _stop_listening(self, runner: web.AppRunner) -> None:
        assert self._listening is not None
        await stop_accepting([self._listening])
        for site in list(runner.sites):
            await site.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not await self.gone_through(request):
            return web.Response(status=500)  # nobody reads this
        answer = await self._serve(request)
        await self.gone_through(request)
        return answer
