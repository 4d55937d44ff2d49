"""HTTP probes: one client, a deadline around each, and never more of the body than is shown."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import certifi
import httpx

from actions.errors import Unreachable
from actions.scrub import plain, scrub

LONGEST_BODY = 64 * 1024
SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: the status, how long it took, and the body's beginning (at most 64 KiB, scrubbed)."""

    status: int
    seconds: float
    body_start: str

    @property
    def good(self) -> bool:
        """Whether the status is in the 200s."""
        return 200 <= self.status < 300


class Http:
    """The HTTP prober. Each probe opens its own connection, because whether one can be opened is half of the question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for `url` once. Raises `Unreachable` if no answer came within five seconds."""
        return await self.send("GET", url, headers=headers)

    async def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send one request; redirects are answers, not followed."""
        client = await asyncio.to_thread(self._ready)
        began = time.monotonic()
        try:
            async with asyncio.timeout(SECONDS), client.stream(method, url, headers=headers, content=body or None) as response:
                text = await _start_of(response)
        except TimeoutError as error:
            raise Unreachable(f"{url} gave no answer within {SECONDS:g} s.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{url} gave no answer: {_sentence(error)}") from error
        return Answer(status=response.status_code, seconds=time.monotonic() - began, body_start=text)

    async def close(self) -> None:
        """End the client, if there is one."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            await client.aclose()

    def _ready(self) -> httpx.AsyncClient:
        with self._lock:
            return self._client

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        context = ssl.create_default_context()  # takes 50 ms, so it is made once and in a thread
        context.load_verify_locations(certifi.where())
        return httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(connect=2.0, read=3.0, write=3.0, pool=5.0),
            limits=httpx.Limits(max_connections=10, max_keepalive_connections=0),
        )


async def _start_of(response: httpx.Response) -> str:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= LONGEST_BODY:
            break
    return scrub(body[:LONGEST_BODY].decode(errors="replace"))


def _sentence(error: Exception) -> str:
    silent = {"ReadTimeout": "no byte came for 3 s", "ConnectTimeout": "no connection within 2 s"}
    return (silent.get(type(error).__name__) if not str(error) else None) or plain(error) + "."
