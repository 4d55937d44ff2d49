"""The record of items in the bot's state. Many items that come at once are written in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from actions.items import INTENDED, Item
from actions.scrub import scrub
from actions.values import Facts
from bot.state.store import Store
from bot.state.tables import insert_once, items

Write = Callable[[Connection], None]
MOST_SAYS = 500  # characters


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a step of a run."""

    run_id: str
    step: str
    number: int


_current: ContextVar[Attempt] = ContextVar("attempt")


@contextmanager
def items_of(run_id: str, step: str, attempt: int) -> Iterator[None]:
    """Items that are recorded in this block belong to this attempt."""
    token = _current.set(Attempt(run_id=run_id, step=step, number=attempt))
    try:
        yield
    finally:
        _current.reset(token)


def under_way() -> Attempt:
    """The attempt that is under way in this task."""
    return _current.get()


class StoredItems:
    """The items of the run that is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Write, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def attempt(self) -> int:
        """Which attempt at the step this is."""
        return _current.get().number

    async def known(self) -> Mapping[str, Item]:
        """All items of the run by name."""
        of_run = select(items).where(items.c.run_id == _current.get().run_id)
        rows = await self._store.do(lambda c: c.execute(of_run).mappings().all())
        return {
            row["item"]: Item(
                name=row["item"],
                state=row["state"],
                says=row["says"],
                facts=row["facts"],
                attempt=row["attempt"],
                at=row["at"],
            )
            for row in rows
        }

    async def intend(self, name: str, facts: Facts) -> None:
        """Record the facts and the intent."""
        await self._put(name, state=INTENDED, says="", facts=facts, at=time.time())

    async def end(self, name: str, state: str, says: str = "") -> None:
        """Record the outcome; the facts and the time of the intent stay."""
        await self._put(name, state=state, says=scrub(says)[:MOST_SAYS])

    async def _put(self, name: str, **values: Any) -> None:
        now = _current.get()
        mine = items.c.run_id == now.run_id, items.c.item == name
        values |= {"step": now.step, "attempt": now.number}

        def write(connection: Connection) -> None:
            row = {"facts": {}, "at": time.time()} | values
            if not insert_once(connection, items, run_id=now.run_id, item=name, **row):
                connection.execute(update(items).where(*mine).values(**values))

        await self._wait_until_written(write)

    async def _wait_until_written(self, write: Write) -> None:
        """Wait until it is on record. Whatever comes while a transaction is under way is in the next one, all of it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._store.do(_all, [write for write, _ in batch])
            except BaseException as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error if isinstance(error, Exception) else RuntimeError("The record was cut off."))
                if not isinstance(error, Exception):
                    raise
                continue
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def items_json(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """How each item of a run ended, by name, as `dr show` prints it."""
    columns = (items.c.item, items.c.step, items.c.attempt, items.c.state, items.c.says)
    rows = connection.execute(select(*columns).where(items.c.run_id == run_id).order_by(items.c.item)).mappings()
    return [dict(row) for row in rows]


def _all(connection: Connection, writes: list[Write]) -> None:
    for write in writes:
        write(connection)
