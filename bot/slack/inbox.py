"""The inbox: what a person did is on disk before Slack is told that we have it, and is then handled in a task of its own.

Commands and clicks that arrive together share one transaction, so that fifty at once cost one sync of the disk. Each person has a
queue of their own: a stranger who clicks forty times only holds up themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

import structlog

from bot.state.store import Item, Store, record_items

log = structlog.get_logger(__name__)
AT_ONCE = {
    "form": 8,
    "command": 4,
    "click": 8,
    "submit": 8,
    "pick": 8,
    "request": 4,
    "evidence": 4,
}  # how many are handled side by side; what waits is on disk already
EACH = 2  # how many of these one person may have, so that nobody's click waits behind another person's forty
LOST_SECONDS = 5.0  # what is recorded, not handled for this long and in no task was lost
Handle = Callable[[Item], Awaitable[None]]


class Inbox:
    """`await record(item)` returns once the item is on disk; `handle` then gets it exactly once per process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handle: Handle | None = None
        self._waiting: list[tuple[Item, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places = {kind: asyncio.Semaphore(places) for kind, places in AT_ONCE.items()}
        self._own_places: dict[tuple[str, str], asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(EACH))

    async def open(self, handle: Handle) -> None:
        """Hand over what was recorded and never finished, and from now on everything that comes."""
        self._handle = handle
        for item in await self._store.unhandled():
            self._hand_over(item)

    async def catch_up(self) -> None:
        """Hand over what another process recorded, and what reached nobody because the answer of the state's server got lost."""
        if self._handle:
            for item in await self._store.unhandled():
                if item.kind == "request" or item.at < time.time() - LOST_SECONDS:
                    self._hand_over(item)

    async def record(self, item: Item) -> bool:
        """Write the item down; False if it was written before (a second delivery), and then nothing follows from it."""
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, recorded))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        fresh = await recorded
        if fresh and self._handle:
            self._hand_over(item)
        return fresh

    async def close(self) -> None:
        """Stop handling; what is not finished is handed over again at the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                fresh = await self._store.at_once(record_items, [item for item, _ in batch])
            except Exception as error:
                for _, recorded in batch:
                    if not recorded.done():  # whoever waited may have gone
                        recorded.set_exception(error)
                continue
            for (_, recorded), is_fresh in zip(batch, fresh, strict=True):
                if not recorded.done():
                    recorded.set_result(is_fresh)

    def _hand_over(self, item: Item) -> None:
        if item.id not in self._tasks:  # an item that arrives while the inbox opens is met twice
            self._tasks[item.id] = asyncio.create_task(self._finish(item))

    async def _finish(self, item: Item) -> None:
        assert self._handle is not None
        async with self._own_places[item.kind, item.person], self._places[item.kind]:  # a person's own queue comes first
            try:
                await self._handle(item)
            except Exception:
                log.exception("item_broke", item=item.id, kind=item.kind)
            await self._store.handled(item)
        del self._tasks[item.id]
