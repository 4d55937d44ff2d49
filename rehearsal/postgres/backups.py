"""Base backups of a database, the copies restored from them, and its read replicas."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rehearsal.machines.processes import Processes
from rehearsal.postgres.archive import Archive
from rehearsal.postgres.copies import SETTINGS, Base, Copy
from rehearsal.postgres.replica import Replica
from rehearsal.postgres.server import Server
from rehearsal.postgres.template import SUPERUSER, Template


class Backups:
    """What is kept outside of the servers, all below one folder: the archive, base backups, and restored copies."""

    def __init__(self, processes: Processes, room: Path, template: Template) -> None:
        for kind in ("archive", "bases", "copies"):
            shutil.rmtree(room / kind, ignore_errors=True)  # What a killed rehearsal left.
        self.archive = Archive(room / "archive", template.binaries.account)
        self.copies: list[Copy] = []
        self.replicas: list[Replica] = []
        self._processes = processes
        self._room = room
        self._template = template
        self._number = 0

    def cold(self) -> Base:
        """The database as it is now, for nothing: the template it began as, and the archive since then."""
        return Base(folder=self._template.folder / "data", at=datetime.now(UTC), hot=False)

    async def take(self, server: Server) -> Base:
        """A base backup of a running server, whole by itself; ProcessError when the server doesn't answer."""
        holder = self._server("base", self._room / "bases")
        await holder.copy_from(server.port, self._template.password, SUPERUSER)
        return Base(folder=holder.data, at=datetime.now(UTC), hot=True)

    async def discard(self, base: Base) -> None:
        """The base backup is gone."""
        if base.hot:
            await asyncio.to_thread(shutil.rmtree, base.folder, ignore_errors=True)

    async def restore(self, base: Base, moment: datetime | None = None) -> Copy:
        """A new copy that has replayed as far as asked; see `Copy.restore`. Without a moment it is as the base stands."""
        if moment is None and not base.hot:
            moment = base.at
        if moment is not None:
            await self.archive.covers(moment)
        copy = Copy(self._server("copy", self._room / "copies"), self._template.password)
        self.copies.append(copy)
        try:
            await copy.restore(base, moment, self.archive.restore_command)
        except BaseException:
            await self.drop(copy)
            raise
        return copy

    def replica(self, source: Callable[[], int]) -> Replica:
        """A read replica of the server at this port, which is asked at each connection; it isn't started yet."""
        replica = Replica(self._server("replica", self._room / "copies"), self._template, source)
        self.replicas.append(replica)
        return replica

    async def drop_replica(self, replica: Replica) -> None:
        """The replica is gone, with its endpoint, promoted or not."""
        self.replicas.remove(replica)
        await replica.close()

    async def drop(self, copy: Copy) -> None:
        """The copy is gone, with its endpoint."""
        self.copies.remove(copy)
        await copy.close()

    async def close(self) -> None:
        """Nothing of all this is left."""
        await asyncio.gather(*(self.drop(copy) for copy in list(self.copies)))
        await asyncio.gather(*(self.drop_replica(replica) for replica in list(self.replicas)))
        for kind in ("archive", "bases", "copies"):
            await asyncio.to_thread(shutil.rmtree, self._room / kind, ignore_errors=True)

    def _server(self, kind: str, folder: Path) -> Server:
        self._number += 1
        name = f"{kind}-{self._number}"
        folder.mkdir(mode=0o755, exist_ok=True)
        log, binaries = self._room / f"{name}.log", self._template.binaries
        return Server(self._processes, f"postgres-{name}", folder / name, log, binaries, always=SETTINGS)
