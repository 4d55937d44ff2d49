"""What runs behind instances: production's pair of servers, restored copies, and read replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from rehearsal.postgres.backups import Backups
from rehearsal.postgres.copies import Base, Copy
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.replica import Replica


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
    def server_port(self) -> int:
        """The port of the server itself, from which a replica streams; a failover changes it."""
        return self._database.primary.port

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

    async def vanish(self, *, endpoint: bool, link: bool) -> None:
        """Whether packets to its endpoint vanish; it follows nobody."""
        await self._database.vanish(endpoint)

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

    @property
    def server_port(self) -> int:
        """The port of the server itself, from which a replica streams."""
        return self.copy.server.port

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

    async def vanish(self, *, endpoint: bool, link: bool) -> None:
        """Whether packets to its endpoint vanish; it follows nobody."""
        await self.copy.vanish(endpoint)

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


class Following:
    """A read replica; promoted, it is a database of its own, of which automated backups are taken."""

    first_backup: Base | None = None

    def __init__(self, replica: Replica, backups: Backups, zones: tuple[str, str]) -> None:
        self.replica = replica
        self.zones = zones
        self._backups = backups

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self.replica.endpoint.host

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return self.replica.endpoint.port

    @property
    def server_port(self) -> int:
        """The port of the server itself, from which a replica streams."""
        return self.replica.server.port

    @property
    def restorable(self) -> datetime | None:
        """The moment of its first backup: nothing of it is archived."""
        return self.first_backup.at if self.first_backup else None

    async def promote(self) -> None:
        """It takes writes from now on."""
        await self.replica.promote()

    async def restart(self) -> None:
        """Restarts the server where it is."""
        await self.replica.restart()

    async def fail_over(self) -> None:
        """There is one server only: it is restarted, and said to be in the other zone."""
        await self.restart()
        self.zones = (self.zones[1], self.zones[0])

    async def back_up(self) -> Base:
        """A base backup of it."""
        return await self._backups.take(self.replica.server)

    def reach(self, reachable: bool) -> None:
        """Whether new connections get through."""
        self.replica.reach(reachable)

    async def vanish(self, *, endpoint: bool, link: bool) -> None:
        """Whether packets to its endpoint vanish from now on, and those between it and what it follows."""
        await self.replica.endpoint.vanish(endpoint)
        await self.replica.link.vanish(link)

    async def close(self) -> None:
        """The server is gone, with its data."""
        await self._backups.drop_replica(self.replica)
