"""What runs behind instances: production's pair of servers, and restored copies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from rehearsal.postgres.backups import Backups
from rehearsal.postgres.copies import Base, Copy
from rehearsal.postgres.pair import ServerPair


class Production:
    """The Multi-AZ pair; what happens to it by a fault shows here too."""

    def __init__(self, database: ServerPair) -> None:
        self._database = database

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._database.host

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return self._database.port

    @property
    def zones(self) -> tuple[str, str]:
        """Where the primary is, and where its standby."""
        return self._database.zone, self._database.other_zone

    @property
    def restorable(self) -> datetime | None:
        """The latest moment to which it can be restored."""
        return self._database.restorable

    @property
    def first_backup(self) -> Base | None:
        """As it was when the rehearsal began."""
        return self._database.first

    async def restart(self) -> None:
        """Restarts the primary where it is."""
        await self._database.restart()

    async def fail_over(self) -> None:
        """The standby takes over."""
        await self._database.failover()

    async def back_up(self) -> Base:
        """A base backup of the primary."""
        return await self._database.backups.take(self._database.primary)

    def reach(self, reachable: bool) -> None:
        """Whether new connections get through."""
        self._database.reach(reachable)

    async def close(self) -> None:
        """Both servers are stopped for good; their backups stay."""
        await self._database.shut_down()


class Restored:
    """A copy that was restored, in a zone of its own.

    Nothing of it is archived, so that nobody can restore *from* it to a moment; AWS would begin to back it up at once. It can
    be the source of a snapshot.
    """

    restorable: datetime | None = None
    first_backup: Base | None = None

    def __init__(self, copy: Copy, backups: Backups, zones: tuple[str, str]) -> None:
        self.copy = copy
        self.zones = zones
        self._backups = backups
        self._finishing: asyncio.Task[None] | None = None

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self.copy.host

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return self.copy.port

    def finish_later(self, pause: Coroutine[Any, Any, None]) -> None:
        """Its recovery ends after the pause; until then it can only be read."""
        self._finishing = asyncio.create_task(self._finish(pause), name="end of recovery")

    async def restart(self) -> None:
        """Restarts the server where it is, once its recovery has ended."""
        await self._finished()
        await self.copy.restart()

    async def fail_over(self) -> None:
        """There is one server only: it is restarted, and said to be in the other zone."""
        await self.restart()
        self.zones = (self.zones[1], self.zones[0])

    async def back_up(self) -> Base:
        """A base backup of it, once its recovery has ended: a promotion would spoil one under way."""
        await self._finished()
        return await self._backups.take(self.copy.server)

    def reach(self, reachable: bool) -> None:
        """Whether new connections get through."""
        self.copy.reach(reachable)

    async def close(self) -> None:
        """The server is gone, with its data."""
        if self._finishing:
            self._finishing.cancel()
            await asyncio.gather(self._finishing, return_exceptions=True)
        await self._backups.drop(self.copy)

    async def _finished(self) -> None:
        if self._finishing:
            await asyncio.wait({self._finishing})

    async def _finish(self, pause: Coroutine[Any, Any, None]) -> None:
        await pause
        await self.copy.finish()
