"""A host: a port of its own with an SSH server behind it, and what can be wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import asyncssh

from rehearsal.fleet.shell import TIMED_OUT, Answer, Shell
from rehearsal.fleet.trouble import Trouble
from rehearsal.fleet.unit import PANIC, UNIT, Unit

RESTART_SECONDS = 0.02
CRASH_SECONDS = 0.4
FOREVER = 3600.0
NOISE = b"\x1b[2J\x1b[31m\xff\xfe\x00 <!channel> " * 400  # terminal codes, no UTF-8, and a call of everybody
JOB_FAILED = f"Job for {UNIT}.service failed because the control process exited with error code.\n"


class Host:
    """One host of the fleet. `authorized` are the keys that may sign in, as lines of an authorized_keys file."""

    def __init__(self, *, name: str, zone: str, version: str, runtime: str, authorized: asyncssh.SSHAuthorizedKeys) -> None:
        self.name, self.zone, self.version, self.runtime = name, zone, version, runtime
        self.unit = Unit(host=name)
        self.shell = Shell(unit=self.unit, runtime=runtime)
        self.trouble = Trouble()
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self._authorized = authorized
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def beats(self) -> bool:
        """Whether its agent sends heartbeats that arrive."""
        return self.unit.state == "active" and not self.trouble.away

    def open(self) -> None:
        """Listen; at first on any free port, then on the same."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        self._unlisten()
        for connection in list(self._connections):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def suffer(self, trouble: Trouble) -> None:
        """From now on this is wrong with it, and nothing else."""
        if trouble.refuses and not self.trouble.refuses:
            self._unlisten()
        elif self.trouble.refuses and not trouble.refuses:
            self.open()
        if trouble.away or trouble.hung or trouble.refuses:
            for connection in list(self._connections):
                connection.abort()
        self.trouble = trouble

    def _unlisten(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._keep(self._serve(connection))

    def _keep(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, taken: socket.socket) -> None:
        if self.trouble.hung or self.trouble.away:
            with contextlib.closing(taken):
                await asyncio.sleep(FOREVER)
        key = asyncssh.generate_private_key("ssh-ed25519") if self.trouble.other_key else self.key
        try:
            connection = await asyncssh.run_server(
                taken,
                config=None,
                server_host_keys=[key],
                authorized_client_keys=self._authorized,
                password_auth=False,
                kbdint_auth=False,
                process_factory=self._process,
                encoding=None,
                allow_pty=False,
                compression_algs=None,
            )
        except (asyncssh.Error, OSError):
            taken.close()
            return
        self._connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            self._connections.discard(connection)

    async def _process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            answer = self.shell.answer(process.command or "")
            if answer.endless:
                await self._pour(process)
            if answer.restarts:
                answer = await self._restart(answer, process)
            process.stdout.write(answer.out.encode())
            process.stderr.write(answer.err.encode())
            process.exit(answer.code)

    async def _pour(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Output without an end, until the reader has had enough."""
        while not process.is_closing():
            process.stdout.write(NOISE)
            await process.stdout.drain()
            await asyncio.sleep(0)

    async def _restart(self, answer: Answer, process: asyncssh.SSHServerProcess[bytes]) -> Answer:
        wrong = self.trouble.restart
        if wrong == "hangs":
            await asyncio.sleep(answer.seconds or FOREVER)
            return Answer(code=TIMED_OUT)
        if wrong == "fails":
            self.unit.restart()
            self.unit.fall("ERROR cannot read /etc/shielda/agent.toml: permission denied")
            return Answer(code=1, err=JOB_FAILED)
        await asyncio.sleep(RESTART_SECONDS)
        self.unit.restart()
        if self.unit.crashes:
            self._later(CRASH_SECONDS, self.unit.invocation)
        if wrong == "lost":
            process.get_extra_info("connection").abort()
            await asyncio.sleep(FOREVER)
        return Answer()

    def _later(self, seconds: float, invocation: str) -> None:
        """The version that runs ends soon after its start, unless it was started again meanwhile."""

        async def crash() -> None:
            await asyncio.sleep(seconds)
            if self.unit.invocation == invocation and self.unit.state == "active":
                self.unit.fall(PANIC)

        self._keep(crash())
