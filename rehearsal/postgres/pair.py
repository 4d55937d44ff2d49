"""A Multi-AZ database: a primary and a synchronous standby in another zone, behind one endpoint."""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Self

import psycopg
from psycopg import conninfo, sql

from rehearsal.machines.processes import ProcessError, Processes
from rehearsal.machines.proxy import Proxy
from rehearsal.postgres.backups import Backups
from rehearsal.postgres.binaries import reachable
from rehearsal.postgres.copies import Base
from rehearsal.postgres.server import Server, ServerError
from rehearsal.postgres.template import BOT, DATABASE, OWNER, SUPERUSER, Template, cheap_password, prepare, superuser
from rehearsal.waiting import until

STANDBY = "standby"
LEAK = "nightly-report"
FIRST_SHIPPING = 5.0
log = logging.getLogger(__name__)


class ServerPair:
    """Two servers that swap roles behind an address that stays the same, as an async context.

    `folder` is for these servers alone. `cache` outlives them: the template is there. Their WAL is archived every
    `ship_every` seconds.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        *,
        cache: Path,
        port: int = 0,
        zones: tuple[str, str] = ("us-west-2a", "us-west-2b"),
        ship_every: float = 5.0,
        tls: bool = False,
    ) -> None:
        self.zone, self.other_zone = zones
        self.running = False
        self._processes = processes
        self._folder = folder
        self._cache = cache
        self._proxy = Proxy(port=port, tls=tls)
        self._passwords = {OWNER: secrets.token_urlsafe(12), BOT: secrets.token_urlsafe(12)}
        self._changing = asyncio.Lock()
        self._rebuild: asyncio.Task[None] | None = None
        self._ship_every = ship_every
        self._shipping: asyncio.Task[None] | None = None
        self._generation = 0
        self._template: Template
        self.backups: Backups
        self.first: Base
        self.primary: Server
        self.standby: Server | None = None

    async def __aenter__(self) -> Self:
        """Start both servers; returns once the standby is synchronous and the endpoint takes connections."""
        self._template = await prepare(self._processes, self._cache)
        self._folder = await asyncio.to_thread(reachable, self._folder, self._template.binaries.account)
        await self._clear("*.log")
        self.backups = await asyncio.to_thread(Backups, self._processes, self._folder, self._template)
        self.primary, standby = self._server(self.zone), self._server(self.other_zone)
        await asyncio.gather(self._template.copy(self.primary.data), self._template.copy(standby.data))
        self.primary.configure()
        await self.primary.start()
        await self._set_passwords()
        self.first = self.backups.cold()
        await self._attach(standby)
        self._shipping = asyncio.create_task(self._ship(), name="ship WAL")
        await self._open()
        self.running = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything and remove the data; the logs stay in the folder."""
        await self._processes.kill(LEAK)
        await self.shut_down()
        await self.backups.close()
        await self._clear()

    def reserve(self) -> None:
        """Fix the endpoint's port before the servers run; it refuses connections until they do."""
        self._proxy.reserve()

    @property
    def host(self) -> str:
        """The endpoint's host."""
        return self._proxy.host

    @property
    def port(self) -> int:
        """The endpoint's port, which a failover doesn't change."""
        return self._proxy.port

    @property
    def standby_zone(self) -> str | None:
        """The zone of the synchronous standby; None while there is no standby to fail over to."""
        return self.other_zone if self.standby else None

    @property
    def engine_version(self) -> str:
        """PostgreSQL's version, such as 18.6."""
        return self._template.binaries.version

    def dsn(self, role: str) -> str:
        """A connection string to the endpoint, for the role shielda, dr_bot or postgres (the rehearsal's own superuser)."""
        return conninfo.make_conninfo(host=self.host, port=self.port, user=role, password=self.password(role), dbname=DATABASE)

    def url(self, role: str) -> str:
        """The same as a URL, for DATABASE_URL."""
        return f"postgresql://{role}:{self.password(role)}@{self.host}:{self.port}/{DATABASE}"

    def password(self, role: str) -> str:
        """The password of a role."""
        return self._template.password if role == SUPERUSER else self._passwords[role]

    def statements(self, role: str = BOT) -> list[str]:
        """The log lines of a role's statements on both servers, oldest first: the record of what it did there."""
        lines = self.log().replace("\n\t", " ").splitlines()  # A tab begins the next line of a long statement.
        statement = re.compile(rf"^[^\[]+\[\d+\] {re.escape(role)}@.* LOG:  (statement|execute [^:]*):")
        return sorted(line for line in lines if statement.match(line))

    def log(self) -> str:
        """The logs of both servers, one after the other."""
        return "\n".join(log.read_text(errors="replace") for log in self._folder.glob("postgres-*.log"))

    @property
    def restorable(self) -> datetime:
        """The latest moment to which it can be restored."""
        return self.backups.archive.latest or self.first.at

    async def ship(self) -> datetime:
        """Archive what is committed now; returns the moment up to which it can be restored from then on."""
        return await self.backups.archive.advance(self.primary, self._template.password)

    async def failover(self) -> None:
        """Make the standby the primary, swap the zones, and build a new standby in the background.

        No acknowledged row is lost. Clients are cut and refused meanwhile. ServerError if there is no standby.
        """
        await self.redundant()
        async with self._changing:
            promoted = self.standby
            assert promoted is not None
            await self._proxy.refuse()
            await self.primary.kill()
            self._proxy.abort()
            await self._promote(promoted)
            self.primary, self.standby = promoted, None
            self.zone, self.other_zone = self.other_zone, self.zone
            await self._open()
            self._start_rebuild()

    async def restart(self) -> None:
        """Restart the primary in its zone, as a reboot without failover does. Clients are cut and refused meanwhile."""
        async with self._changing:
            await self._proxy.refuse()
            await self.primary.stop()
            await self.primary.start()
            await self._open()

    def reach(self, reachable: bool) -> None:
        """Let new connections in, or leave them without an answer; those that are open stay."""
        self._proxy.silence(not reachable)

    async def vanish(self, vanish: bool) -> None:
        """Packets to the endpoint vanish, or get through again; the servers go on."""
        await self._proxy.vanish(vanish)

    async def shut_down(self) -> None:
        """Stop both servers for good and close the endpoint, as when somebody deletes the instance; its backups stay."""
        self.running = False
        for task in (self._rebuild, self._shipping):
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._proxy.close()
        servers = [server for server in (self.primary, self.standby) if server]
        await asyncio.gather(*(server.kill() for server in servers))

    async def redundant(self, timeout: float = 30.0) -> None:
        """Wait for a standby that's being built; ServerError if there is none after `timeout` seconds."""
        if self._rebuild:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._rebuild), timeout)
        if self.standby is None:
            raise ServerError(f"There is no standby in {self.other_zone} after {timeout:g} s.")

    async def hang_primary(self) -> None:
        """Fault: freeze every process of the primary. It accepts connections and never answers.

        Waits for a standby that's being built: the fault is meant to hit a whole Multi-AZ database.
        """
        await self.redundant()
        await self.primary.hang()

    async def kill_primary(self) -> None:
        """Fault: kill the primary, as a power cut would; the endpoint refuses connections. Waits as `hang_primary` does."""
        await self.redundant()
        await self._proxy.refuse()
        await self.primary.kill()

    async def fill_connections(self, timeout: float = 15.0) -> int:
        """Fault: a nightly report takes every slot that the application has left; returns how many it holds."""
        output = self._folder / "leak.txt"
        output.unlink(missing_ok=True)
        environment = {**os.environ, "LEAK_DSN": conninfo.make_conninfo(self.dsn(OWNER), application_name=LEAK)}
        await self._processes.start(LEAK, [sys.executable, "-m", "rehearsal.postgres.leak"], env=environment, stdout=output)
        await until(lambda: "full" in output.read_text() or self._processes.pid(LEAK) is None, timeout, "every slot taken")
        if not (text := output.read_text()).startswith("full"):
            raise ServerError(f"The nightly report ended early: {text.strip()[-300:]}")
        return int(text.split()[1])

    async def heal(self) -> None:
        """Undo every fault: end the report, let the primary run and answer, and let the endpoint take connections."""
        await self._processes.kill(LEAK)
        self.backups.archive.heal()
        async with self._changing:
            await self.primary.resume()
            if not self.primary.running:
                await self.primary.start()
            await self._open()

    def _server(self, zone: str) -> Server:
        self._generation += 1
        name = f"postgres-{zone}"
        data = self._folder / f"{name}-{self._generation}"
        log, archiving = self._folder / f"{name}.log", self.backups.archive.settings
        return Server(self._processes, data.name, data, log, self._template.binaries, always=archiving)

    async def _ship(self) -> None:
        await asyncio.sleep(min(self._ship_every, FIRST_SHIPPING))  # A start has enough to do.
        while True:
            try:
                await self.ship()
            except (TimeoutError, OSError, psycopg.Error) as error:
                log.info("nothing could be archived just now: %s", error)
            await asyncio.sleep(self._ship_every)

    async def _set_passwords(self) -> None:
        async with superuser(self.primary.port, self._template.password) as connection:
            for role, password in self._passwords.items():
                await connection.execute(cheap_password(role, password))

    async def _attach(self, standby: Server) -> None:
        """Start the standby and wait until it streams; from then on a commit waits for it."""
        source = conninfo.make_conninfo(
            host="127.0.0.1", port=self.primary.port, user=SUPERUSER, password=self._template.password,
            application_name=STANDBY,
        )  # fmt: skip
        standby.configure(standby=True, primary_conninfo=source)
        await standby.start()
        await self._replication_is("streaming", "state")
        await self.primary.reload(synchronous_standby_names=STANDBY)
        await self._replication_is("sync", "sync_state")
        self.standby = standby

    async def _replication_is(self, wanted: str, column: str, timeout: float = 15.0) -> None:
        query = sql.SQL("SELECT {} FROM pg_stat_replication WHERE application_name = {}")
        statement = query.format(sql.Identifier(column), sql.Literal(STANDBY))

        async def seen() -> bool:
            return (wanted,) in await (await connection.execute(statement)).fetchall()

        async with asyncio.timeout(timeout), superuser(self.primary.port, self._template.password) as connection:
            await until(seen, timeout, f"a standby whose {column} is {wanted}", every=0.01)

    async def _promote(self, server: Server) -> None:
        """Make the server a primary and restart it, as RDS does at a failover; no commit waits for a standby."""
        async with superuser(server.port, self._template.password) as connection:
            await connection.execute("SELECT pg_promote(true, 20)")
        await server.stop()
        server.configure()
        await server.start()

    async def _clear(self, logs: str | None = None, keep: Path | None = None) -> None:
        """Remove the data of servers that are gone, about 30 MB each, and the old logs that match a pattern."""
        for old in self._folder.glob("postgres-*-[0-9]*"):
            if old != keep and old.is_dir():
                await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)
        for old in self._folder.glob(logs) if logs else ():
            old.unlink()

    async def _open(self) -> None:
        self._proxy.switch(self.primary.port)
        await self._proxy.accept()

    def _start_rebuild(self) -> None:
        self._rebuild = asyncio.create_task(self._rebuild_standby(), name="rebuild the standby")

    async def _rebuild_standby(self) -> None:
        """Try until there is a standby again; the primary may hang or be gone for a while."""
        while True:
            standby = self._server(self.other_zone)
            try:
                return await self._build(standby)
            except (ServerError, ProcessError, TimeoutError, OSError, psycopg.Error) as error:
                log.info("no standby in %s yet: %s", self.other_zone, error)
            await standby.kill()
            await self.primary.reload(synchronous_standby_names="")  # No commit waits for a standby that isn't there.
            await asyncio.sleep(0.2)

    async def _build(self, standby: Server) -> None:
        await self._clear(keep=self.primary.data)
        await standby.copy_from(self.primary.port, self._template.password, SUPERUSER)
        await self._attach(standby)
