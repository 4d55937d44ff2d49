"""The one way to wait until something is so. Every wait has a deadline, and says what it waited for if that passes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

Found = TypeVar("Found")


class NotSeen(TimeoutError):
    """It wasn't so in time. The message says what was waited for, and how long."""


What = str | Callable[[], object]


@overload
async def until(
    seen: Callable[[], Awaitable[Found | None]], timeout: float = ..., what: What = ..., *, every: float = ...
) -> Found: ...


@overload
async def until(seen: Callable[[], Found | None], timeout: float = ..., what: What = ..., *, every: float = ...) -> Found: ...


async def until(
    seen: Callable[[], Any], timeout: float = 10.0, what: What = "what was waited for", *, every: float = 0.02
) -> Any:
    """Look every `every` seconds until `seen` returns something true, and return that; NotSeen after `timeout` seconds.

    `what` completes "Not seen within 10 s: ...", as text or as a function that's asked at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = seen()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotSeen(f"Not seen within {timeout:g} s: {what() if callable(what) else what}.")
        await asyncio.sleep(every)


async def together(*parts: Coroutine[Any, Any, object]) -> None:
    """Wait until all are done. If one fails, or this is cancelled, the others are cancelled, and have ended before it raises."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
