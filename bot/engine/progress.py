"""How far a long step is: its latest sentence goes onto the run's card, every few seconds at most, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from actions.world import World
from bot.state.store import Store

log = structlog.get_logger(__name__)
PROGRESS_SECONDS = 5.0  # also before the first sentence: a step that is quicker leaves the card alone


@dataclass(kw_only=True)
class Latest:
    """The latest sentence of one step."""

    says: str = ""

    def put(self, says: str) -> None:
        """Replace it."""
        self.says = says


class Progress:
    """Follows steps. Only the latest of what they say is kept, and none of it outlives the step."""

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world

    @asynccontextmanager
    async def follow(self, run_id: str, step: str, attempt: int) -> AsyncIterator[World]:
        """The world for one attempt at a step: what it says with `progress` stands on the card while the block lasts."""
        latest = Latest()
        telling = asyncio.create_task(self._tell(run_id, step, attempt, latest))
        try:
            yield self.world.followed(latest.put)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, run_id: str, step: str, attempt: int, latest: Latest) -> None:
        told = ""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if latest.says == told:
                continue
            told = latest.says
            try:
                await self.store.progress(run_id, step, attempt, told)
            except Exception as error:  # the card is behind; the step is not disturbed
                log.warning("progress_not_told", step=step, error=repr(error))
