"""Heartbeats: every so often the agents that are up report to the control plane, through its balancer.

Real agents send a request each. Here one request carries the names of all that are due, so that thousands of hosts cost one
request each time; the control plane writes a row for each, as it would otherwise.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

ANSWER_SECONDS = 5.0


class Beats:
    """Sends the heartbeats of whoever `beating` names, while its context lasts."""

    def __init__(self, url: str, token: str, every: float, beating: Callable[[], Sequence[str]]) -> None:
        self._url, self._token, self._beating = urlsplit(url), token, beating
        self._every = every
        self.accepted = 0
        self.failed = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_for_ever())

    async def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            if names := list(self._beating()):
                accepted = await self._send(names)
                self.accepted, self.failed = self.accepted + accepted, self.failed + (not accepted)
            await asyncio.sleep(max(self._every - (time.monotonic() - began), 0.05))

    async def _send(self, names: Sequence[str]) -> bool:
        """Whether the control plane took the heartbeats."""
        body = json.dumps({"agents": names}).encode()
        head = (
            f"POST {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
                try:
                    writer.write(head.encode() + body)
                    await writer.drain()
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
