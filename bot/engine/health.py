"""The outage clock: when the health address of a service began to fail, and when it answered again, as the bot saw it.

It runs while the bot serves, so that a card can say how long a service has been down, also over several runs.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from actions.errors import Unreachable
from actions.world import World
from bot.state.outages import note_health
from bot.state.store import Store

log = structlog.get_logger(__name__)
EVERY_SECONDS = 3.0
LAST_LOOK_SECONDS = 6.0  # what a run's end waits for a last look: a probe takes five seconds at most


class Health:
    """`run()` looks at every service of dr.toml every few seconds until cancelled."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self._failing: dict[str, bool] = {}  # what is on record; nothing is written as long as it stays so
        self._asked: dict[str, float] = {}  # when the newest answer was asked for: an older one that comes later doesn't count

    async def run(self) -> None:
        """Look until cancelled; a defect in it ends nothing."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.look()
            except Exception:
                log.exception("health_watch_broke")

    async def look(self) -> None:
        """Look once at all services, at the same time."""
        await asyncio.gather(*(self._look(name, site.health_url) for name, site in self._world.site.services.items()))

    async def last_look(self) -> None:
        """The same for a run that ends, which waits only so long for it."""
        try:
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                await self.look()
        except (TimeoutError, OSError) as error:
            log.warning("no_last_look", error=repr(error))

    async def _look(self, service: str, url: str) -> None:
        asked = time.time()
        try:
            answer = await self._world.http.get(url)
            wrong = "" if answer.good else f"{url} answers {answer.status}."
        except Unreachable as error:
            wrong = str(error)
        if asked < self._asked.get(service, 0.0):
            return
        self._asked[service] = asked
        if self._failing.get(service) != bool(wrong):
            await self._store.do(note_health, service, asked, wrong)
            self._failing[service] = bool(wrong)
