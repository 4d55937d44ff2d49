"""A restored copy of a database: a server of its own that replays an archive to a moment, behind an endpoint of its own."""

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import conninfo

from rehearsal.machines.proxy import Proxy
from rehearsal.postgres.server import Server, ServerError
from rehearsal.postgres.template import DATABASE, SUPERUSER, copy_data, superuser

# A copy archives nothing, waits for nobody, and can be made anew.
SETTINGS = {"archive_mode": "off", "synchronous_standby_names": "", "primary_conninfo": ""}


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a restore starts from: a data folder and the moment it stands for.

    A `hot` one was taken while the server ran and is whole by itself; a cold one needs the archive up to its moment.
    """

    folder: Path
    at: datetime
    hot: bool


class Copy:
    """One restored server. `restore` brings it to its moment, readable; only `finish` makes it a database that is written to.

    The endpoint exists from `open` on; its port stays the same when the server restarts.
    """

    def __init__(self, server: Server, password: str) -> None:
        self.server = server
        self.password = password
        self._proxy = Proxy()

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._proxy.host

    @property
    def port(self) -> int:
        """The endpoint's port; 0 before `open`."""
        return self._proxy.port

    def dsn(self, role: str = SUPERUSER, password: str | None = None) -> str:
        """A connection string to the endpoint; the passwords are those of the database that was restored."""
        password = self.password if password is None else password
        return conninfo.make_conninfo(host=self.host, port=self.port, user=role, password=password, dbname=DATABASE)

    async def restore(self, base: Base, moment: datetime | None, restore_command: str, timeout: float = 60.0) -> None:
        """The server has replayed everything up to the moment and waits there: it can be read, and not written to.

        Without a moment it is as its hot base was. ServerError when the archive doesn't reach as far.
        """
        await copy_data(base.folder, self.server.data)
        target = {"recovery_target": "immediate"} if moment is None else {"recovery_target_time": moment.isoformat()}
        self.server.configure(
            target,  # One kind only, even an empty one beside it is refused.
            recover=True,
            restore_command=restore_command,
            recovery_target_action="pause",  # Promotion is `finish`: what can be read is not restored yet.
            recovery_target_inclusive="on",
            recovery_target_timeline="current" if moment is None else "latest",
        )
        await self.server.start()
        await self._until("SELECT pg_get_wal_replay_pause_state() = 'paused'", timeout)

    async def finish(self, timeout: float = 60.0) -> None:
        """Recovery ends, and the server takes writes on a timeline of its own."""
        async with superuser(self.server.port, self.password) as connection:
            await connection.execute("SELECT pg_wal_replay_resume()")
        await self._until("SELECT NOT pg_is_in_recovery()", timeout)
        self.server.configure()

    async def open(self, *, reachable: bool = True) -> None:
        """The endpoint takes connections; one that isn't reachable takes them and never answers."""
        self._proxy.switch(self.server.port)
        self._proxy.silence(not reachable)
        await self._proxy.accept()

    def reach(self, reachable: bool) -> None:
        """Lets new connections in, or leaves them without an answer; those that are open stay."""
        self._proxy.silence(not reachable)

    async def vanish(self, vanish: bool) -> None:
        """Packets to the endpoint vanish, or get through again."""
        await self._proxy.vanish(vanish)

    async def restart(self) -> None:
        """The server is restarted, as by a reboot; clients are cut and refused meanwhile."""
        await self._proxy.refuse()
        await self.server.stop()
        await self.server.start()
        self._proxy.switch(self.server.port)
        await self._proxy.accept()

    async def close(self) -> None:
        """No endpoint, no server and no data is left."""
        await self._proxy.close()
        await self.server.kill()
        await asyncio.to_thread(shutil.rmtree, self.server.data, ignore_errors=True)

    async def _until(self, question: str, timeout: float) -> None:
        """Asks until the answer is yes; ServerError when the server ends, or `timeout` seconds are over."""
        with contextlib.suppress(TimeoutError, psycopg.Error):
            async with asyncio.timeout(timeout), superuser(self.server.port, self.password) as connection:
                while await (await connection.execute(question)).fetchone() != (True,):  # noqa: ASYNC110 - only the server knows.
                    await asyncio.sleep(0.01)
                return
        raise ServerError(f"{self.server.name} did not recover: {self.server.last_log_line()}")
