"""One PostgreSQL server: its folder, its process, its own settings."""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from rehearsal.machines.processes import Processes
from rehearsal.postgres.binaries import Binaries, own
from rehearsal.postgres.interlock import interlock, release
from rehearsal.waiting import until


class ServerError(Exception):
    """A server did not start; the message has the last line of its log."""


class Server:
    """A server on 127.0.0.1: configure, start, stop, kill. A start chooses a new port if it needs one.

    `always` are settings that no `configure` takes back.
    """

    def __init__(
        self,
        processes: Processes,
        name: str,
        data: Path,
        log: Path,
        binaries: Binaries,
        *,
        always: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.data = data
        self.log = log
        self.binaries = binaries
        self.always = dict(always or {})
        self.port = 0
        self.hung = False
        self._processes = processes
        self._settings: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether the postmaster exists, whether or not it answers."""
        return self._processes.pid(self.name) is not None

    def configure(
        self, settings: Mapping[str, str] | None = None, *, standby: bool = False, recover: bool = False, **more: str
    ) -> None:
        """Replace this server's own settings, from the next start or reload on.

        A `standby` follows another server; with `recover` it replays an archive as far as the settings say.
        """
        self._settings = {**(settings or {}), **more}
        for name, wanted in (("standby.signal", standby), ("recovery.signal", recover)):
            marker = self.data / name
            if wanted:
                marker.touch()
                own(marker, self.binaries.account)
            else:
                marker.unlink(missing_ok=True)
        self._write()

    async def start(self, *, timeout: float = 20.0) -> None:
        """Start, and return once the server takes connections; ServerError if it doesn't within `timeout` seconds."""
        for attempt in (1, 2, 3):
            try:
                return await self._start(timeout)
            except ServerError:
                await self._processes.kill(self.name)
                self.port = 0  # Another process may have taken the port meanwhile.
                if attempt == 3:
                    raise
        return None

    async def stop(self, *, timeout: float = 10.0) -> None:
        """Shut down fast and cleanly: sessions are ended, nothing is lost. A hung server is killed, because it can't respond."""
        if self.hung:
            return await self.kill()
        await self._processes.stop(self.name, grace=timeout, number=signal.SIGINT)
        return None

    async def kill(self) -> None:
        """Kill every process of the server at once, as a power cut would, even if it hangs."""
        memory = interlock(self.data) if self.running else None
        await self._processes.kill(self.name)
        release(memory)
        self.hung = False

    async def hang(self) -> None:
        """Freeze every process of the server: connections stay open, new ones are accepted, and nothing answers."""
        self.hung = True
        await self._processes.signal(self.name, signal.SIGSTOP, family=True)

    async def resume(self) -> None:
        """Let a frozen server go on."""
        await self._processes.signal(self.name, signal.SIGCONT, family=True)
        self.hung = False

    async def reload(self, **settings: str) -> None:
        """Change some of its own settings while it runs."""
        self._settings.update(settings)
        self._write()
        await self._processes.signal(self.name, signal.SIGHUP)

    async def copy_from(self, port: int, password: str, account: str) -> None:
        """Replace the data with a fresh base backup of the server at `port`; call `configure` afterwards."""
        await asyncio.to_thread(shutil.rmtree, self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        own(self.data, self.binaries.account)
        source = ["-h", "127.0.0.1", "-p", str(port), "-U", account, "-X", "stream", "-c", "fast", "--no-sync"]
        # No -R: it writes primary_conninfo to postgresql.auto.conf, which overrides ours and loses the standby's name.
        argv: list[str | Path] = [self.binaries.program("pg_basebackup"), "-D", self.data, *source]
        environment = {"PGPASSWORD": password, "LC_ALL": "C"}
        name, user = f"{self.name} base backup", self.binaries.account
        await self._processes.run(name, argv, env=environment, user=user, stdout=self.log)

    async def _start(self, timeout: float) -> None:
        self.port = self.port or _free_port()
        self._write()
        argv: list[str | Path] = [self.binaries.program("postgres"), "-D", self.data]
        process = await self._processes.start(self.name, argv, user=self.binaries.account, stdout=self.log)

        def ready() -> bool:
            return self._status(process.pid) in ("ready", "standby")

        with contextlib.suppress(TimeoutError):
            await until(lambda: ready() or process.returncode is not None, timeout, every=0.005)
        if not ready():
            raise ServerError(f"{self.name} did not start: {self.last_log_line()}")

    def _status(self, pid: int) -> str:
        """The status in the server's pid file, such as starting, ready or standby; empty if the file is another process's."""
        try:
            lines = self.data.joinpath("postmaster.pid").read_text().splitlines()
        except OSError:
            return ""
        return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""

    def _write(self) -> None:
        settings = {"cluster_name": self.name, **self.always, **self._settings, "port": str(self.port)}
        quoted = {key: value.replace("'", "''") for key, value in settings.items()}
        path = self.data / "node.conf"
        path.write_text("".join(f"{key} = '{value}'\n" for key, value in quoted.items()))
        path.chmod(0o600)
        own(path, self.binaries.account)

    def last_log_line(self) -> str:
        """The last line of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "its log is empty."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
