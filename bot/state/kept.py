"""What the bot keeps while all is well, in its state: facts that a disaster takes away together with their sources."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection, select, update

from actions.kept import Kept
from actions.scrub import plain
from actions.values import Json
from actions.world import World
from bot.settings import BadSettings
from bot.state.store import Store
from bot.state.tables import insert_once, kept
from commands.keeping import KEEPERS

log = structlog.get_logger(__name__)
KEEP_SECONDS = 5 * 60.0
AGAIN_SECONDS = 20.0  # until it is tried again, if something did not answer


class Shelf:
    """The kept facts in the bot's state, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, name: str) -> Kept | None:
        """The latest facts under this name; None if there are none."""
        row = await self._store.do(lambda c: c.execute(select(kept).where(kept.c.name == name)).mappings().first())
        return Kept(name=name, at=datetime.fromtimestamp(row["at"], UTC), facts=row["facts"]) if row else None

    async def put(self, name: str, facts: Mapping[str, Json]) -> None:
        """Keep facts in place of the earlier ones."""

        def work(connection: Connection) -> None:
            values = {"facts": dict(facts), "at": time.time()}
            if not insert_once(connection, kept, name=name, **values):
                connection.execute(update(kept).where(kept.c.name == name).values(**values))

        await self._store.do(work)


class LateShelf:
    """The same for a program that opens the state only for this; one that can't be opened has kept nothing."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None

    async def get(self, name: str) -> Kept | None:
        """The latest facts under this name; None if there are none, or the state is away."""
        try:
            if self._store is None:
                self._store = await asyncio.to_thread(self._open_store)
            return await Shelf(self._store).get(name)
        except BadSettings as error:
            log.warning("kept_facts_unread", error=str(error))
            return None

    def close(self) -> None:
        """Close the state if it was opened."""
        if self._store:
            self._store.close()


class Keeper:
    """`run()` keeps facts until cancelled. Facts that could not be read whole leave the earlier ones as they are."""

    def __init__(self, world: World, shelf: Shelf, is_busy: Callable[[], Awaitable[bool]]) -> None:
        self._world = world
        self._shelf = shelf
        self._is_busy = is_busy

    async def run(self) -> None:
        """Keep what there is to keep, every five minutes. Never gives up."""
        while True:
            well = await self.keep()
            await asyncio.sleep(KEEP_SECONDS if well else AGAIN_SECONDS)

    async def keep(self) -> bool:
        """Read and keep everything once; False if something could not be read, or a run is at work on it."""
        try:
            if await self._is_busy():
                return False
            for name, facts in [pair for keeper in KEEPERS for pair in await keeper(self._world)]:
                await self._shelf.put(name, facts)
        except Exception as error:  # all is not well, so the earlier facts stand
            log.info("nothing_kept", why=plain(error))
            return False
        return True
