"""The bot's heartbeat in the database that it recovers: a row every few seconds while it leads, if dr.toml names a table.

It changes nothing else there and makes no table. A beat that cannot be written is given up after some seconds, and the log
says so once: whoever asks for `/dr targets` sees how old the newest one is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog

from actions.db.heartbeat import EVERY_SECONDS, write_canary, write_heartbeat
from actions.db.rhythm import Rhythm
from actions.scrub import plain
from actions.site import DatabaseRef
from actions.values import Json
from actions.world import World

Remember = Callable[[Mapping[str, Json]], Awaitable[None]]
log = structlog.get_logger(__name__)
BEAT_SECONDS = 4.0  # for connecting and writing


class Heartbeat:
    """`run()` writes until cancelled, but not while `is_busy()`: a recovery wants the database to itself.

    The `rhythm` of the beats goes to `remember`, as JSON; it goes on from the one that is given.
    """

    def __init__(
        self,
        world: World,
        database: DatabaseRef,
        table: str,
        is_busy: Callable[[], Awaitable[bool]],
        remember: Remember | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._world = world
        self._remember = remember
        self._rhythm = rhythm or Rhythm()
        self._database = database
        self._table = table
        self._is_busy = is_busy
        self._fails = False
        self._canary = ""  # the day whose row is known to be there

    async def run(self) -> None:
        """Write the row every few seconds. Never gives up, and never waits longer than until the next one is due."""
        while True:
            began = time.monotonic()
            await self._beat()
            await asyncio.sleep(max(EVERY_SECONDS - (time.monotonic() - began), 0.5))

    async def _beat(self) -> None:
        began = datetime.now(UTC)
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                if await self._is_busy():
                    return
                beat = await write_heartbeat(self._world, self._database, self._table)
                if (day := f"{began:%Y-%m-%d}") != self._canary:
                    await write_canary(self._world, self._database, self._table, day)
                    self._canary = day
            await self._keep(self._rhythm.beaten(beat, began))
        except Exception as error:  # the database is what the bot is there to recover: its absence ends nothing
            if not self._fails:
                log.warning("heartbeat_not_written", database=self._database.name, table=self._table, error=plain(error))
            self._fails = True
            await self._keep(self._rhythm.missed(began))
        else:
            if self._fails:
                log.info("heartbeat_written_again", database=self._database.name, table=self._table)
            self._fails = False

    async def _keep(self, rhythm: Rhythm) -> None:
        """Remember the rhythm, in the state too: after a region is lost nobody else knows when it was last alive."""
        changed, self._rhythm = rhythm != self._rhythm, rhythm
        if changed and self._remember:
            await self._remember(rhythm.to_json())
