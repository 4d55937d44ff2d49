"""A read replica: a server of its own that follows another one over a link, and a database of its own once promoted."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable

import psycopg
from psycopg import conninfo

from rehearsal.machines.proxy import Proxy
from rehearsal.postgres.server import Server, ServerError
from rehearsal.postgres.template import DATABASE, SUPERUSER, Template, superuser

FOLLOWING = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"


class Replica:
    """A PostgreSQL standby that streams from `source` (its port, asked at each connection) over a link.

    The link can be cut (`link.vanish`) or slowed (`link.slow`). The endpoint's port stays the same, also when it's promoted.
    """

    def __init__(self, server: Server, template: Template, source: Callable[[], int]) -> None:
        self.server = server
        self.link = Proxy()
        self.promoted = False
        self._template = template
        self._source = source
        self._endpoint = Proxy()

    @property
    def endpoint(self) -> Proxy:
        """What clients connect to."""
        return self._endpoint

    @property
    def streaming(self) -> bool:
        """Whether it is connected to its source, as far as anybody can tell from here."""
        return not self.promoted and not self.link.vanished and self.link.live > 0

    def dsn(self, role: str, password: str) -> str:
        """A connection string to the endpoint."""
        return conninfo.make_conninfo(
            host=self._endpoint.host, port=self._endpoint.port, user=role, password=password, dbname=DATABASE
        )

    async def start(self, *, from_template: bool = False, timeout: float = 30.0) -> None:
        """Follow the source and be readable.

        From the template it's there within milliseconds, if the source began as the same; else from a base backup, which goes
        over the link too.
        """
        self.link.switch(self._source)
        await self.link.accept()
        if from_template:
            await self._template.copy(self.server.data)
        else:
            await self.server.copy_from(self.link.port, self._template.password, SUPERUSER)
        source = conninfo.make_conninfo(
            host=self.link.host, port=self.link.port, user=SUPERUSER, password=self._template.password,
            application_name=self.server.name,
        )  # fmt: skip
        self.server.configure(standby=True, primary_conninfo=source)
        await self.server.start()
        self._endpoint.switch(self.server.port)
        await self._endpoint.accept()
        await self._until(FOLLOWING, timeout)

    async def promote(self, timeout: float = 60.0) -> None:
        """It stops following, and takes writes on a timeline of its own."""
        async with superuser(self.server.port, self._template.password) as connection:
            await connection.execute("SELECT pg_promote(true, %s)", [int(timeout)])
        await self._until("SELECT NOT pg_is_in_recovery()", timeout)
        self.promoted = True
        self.server.configure()
        await self.link.close()

    async def restart(self) -> None:
        """The server is restarted, as by a reboot; clients are cut and refused meanwhile."""
        await self._endpoint.refuse()
        await self.server.stop()
        await self.server.start()
        self._endpoint.switch(self.server.port)
        await self._endpoint.accept()

    def reach(self, reachable: bool) -> None:
        """Lets new connections in, or leaves them without an answer; those that are open stay."""
        self._endpoint.silence(not reachable)

    async def close(self) -> None:
        """No endpoint, no server and no data is left."""
        await self._endpoint.close()
        await self.link.close()
        await self.server.kill()
        await asyncio.to_thread(shutil.rmtree, self.server.data, ignore_errors=True)

    async def _until(self, question: str, timeout: float) -> None:
        with contextlib.suppress(TimeoutError, psycopg.Error):
            async with asyncio.timeout(timeout), superuser(self.server.port, self._template.password) as connection:
                while await (await connection.execute(question.encode())).fetchone() != (True,):  # noqa: ASYNC110 - only the server knows.
                    await asyncio.sleep(0.01)
                return
        raise ServerError(f"{self.server.name} did not get as far: {self.server.last_log_line()}")
