"""The network between a bot and its state's server, which can vanish: packets are dropped, and nobody is told."""

from __future__ import annotations

import asyncio
import contextlib


class Link:
    """A TCP proxy to `target`. While it is `vanished`, it takes what comes and forwards nothing, no farewell either.

    What was under way when it vanished arrives when it is back, as TCP would send it again.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._there = asyncio.Event()
        self._there.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> Link:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def vanish(self) -> None:
        """Drop everything from now on."""
        self._there.clear()

    def come_back(self) -> None:
        """Forward again."""
        self._there.set()

    async def close(self) -> None:
        """Nobody listens, and every connection is cut."""
        if self._server:
            self._server.close()
        self._there.set()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        await self._there.wait()
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            self._writers.discard(far_writer)
        writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                data = await source.read(65536)
                await self._there.wait()
                if not data:
                    break
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
