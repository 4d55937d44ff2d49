"""The child processes of a rehearsal: each has a name, and all of them are gone when the rehearsal ends, however it ends."""

import asyncio
import contextlib
import json
import os
import pwd
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

from rehearsal.machines import reaper
from rehearsal.machines.launch import launch
from rehearsal.waiting import until


class ProcessError(Exception):
    """A process did not start, or did not end as it should."""


class Processes:
    """Child processes by name. None is left at the end, not even after SIGKILL or a crash.

    `record` is a file that lists them, so that the next start can kill what a crash left behind. Only one rehearsal at a
    time may use it.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._mark = uuid.uuid4().hex
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._identities: dict[int, str] = {}
        self._pipe: int | None = None
        self._reaper: asyncio.subprocess.Process | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> "Processes":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> list[int]:
        """Kill what an earlier start left and start the reaper; returns the ids that were killed. `start` does it if needed."""
        async with self._opening:
            if self._pipe is not None:
                return []
            killed = await asyncio.to_thread(kill_leftovers, self._record)
            reading, self._pipe = os.pipe()
            program = [sys.executable, "-I", "-S", reaper.__file__, self._mark]
            quiet = subprocess.DEVNULL
            try:
                self._reaper = await asyncio.create_subprocess_exec(
                    *program, stdin=reading, stdout=quiet, stderr=quiet, start_new_session=True, cwd="/"
                )
            finally:
                os.close(reading)
            self._remember()
            return killed

    async def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdout: Path | int = subprocess.DEVNULL,
        cwd: Path | None = None,
    ) -> asyncio.subprocess.Process:
        """Start a process in a session of its own. A path as `stdout` is appended to; stderr goes there too.

        `env`, if given, is the whole environment. `user` is an existing account, and needs root. A name can be used
        again once its process has ended.
        """
        await self.open()
        if (old := self._running.get(name)) and old.returncode is None:
            raise ProcessError(f"{name} is already running, as process {old.pid}.")
        environment = {**(os.environ if env is None else env), reaper.MARK: self._mark}
        options: dict[str, Any] = {"env": environment, "cwd": cwd or "/", **_identity_of(user)}
        with _open(stdout) as out:
            process = await launch(
                *map(str, argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out if isinstance(stdout, Path) else subprocess.DEVNULL,
                start_new_session=True,
                **options,
            )
        self._note(name, process)
        return process

    async def run(self, name: str, argv: Sequence[str | Path], *, timeout: float = 60.0, **options: Any) -> None:
        """Run a program to its end. ProcessError if it fails or takes longer than `timeout` seconds."""
        process = await self.start(name, argv, **options)
        try:
            code = await asyncio.wait_for(process.wait(), timeout)
        except TimeoutError as error:
            raise ProcessError(f"{name} had not finished after {timeout:g} s.") from error
        finally:
            await self.kill(name)
        if code:
            raise ProcessError(f"{name} failed with exit code {code}.")

    def pid(self, name: str) -> int | None:
        """The process id of a running process, or None."""
        process = self._running.get(name)
        return process.pid if process and process.returncode is None else None

    @property
    def reaper_pid(self) -> int | None:
        """The reaper's process id, or None if there is none."""
        return self._reaper.pid if self._reaper else None

    def pids(self) -> dict[str, int]:
        """The process id of everything that runs, by name."""
        return {name: process.pid for name, process in self._running.items() if process.returncode is None}

    async def signal(self, name: str, number: Signals, *, family: bool = False) -> None:
        """Send a signal to the process; with `family` to all its descendants too."""
        if (pid := self.pid(name)) is None:
            return
        for member in await asyncio.to_thread(reaper.family, pid) if family else [pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)

    async def stop(self, name: str, *, grace: float = 2.0, number: Signals = SIGTERM) -> None:
        """End the process and its family: ask with the signal `number`, and kill what is still there after `grace` seconds."""
        process = self._running.get(name)
        if process and process.returncode is None and grace > 0:
            family = await asyncio.to_thread(_family_with_identities, process.pid)
            await self.signal(name, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
            for member, known_as in family.items():
                if process.returncode is not None:
                    reaper.kill_family(member, known_as)  # A child that outlived its parent.
        await self.kill(name)

    async def kill(self, name: str, *, timeout: float = 10.0) -> None:
        """End the process and its family with SIGKILL, whether they respond, hang or are stopped."""
        if (process := self._running.pop(name, None)) is None:
            return
        if process.returncode is None:
            members = await asyncio.to_thread(reaper.kill_family, process.pid, self._identities.get(process.pid))
            await asyncio.wait_for(process.wait(), timeout)
            await until(lambda: not any(map(reaper.identity, members)), timeout, f"the end of {name}", every=0.005)
        self._forget(process.pid)

    async def close(self) -> None:
        """End everything that was started, the reaper too, and remove the record."""
        await asyncio.gather(*(self.stop(name) for name in reversed(list(self._running))))
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self._reaper is not None:
            await asyncio.wait_for(self._reaper.wait(), 10)
            self._reaper = None
        self._record.unlink(missing_ok=True)

    def _note(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._running[name] = process
        if known_as := reaper.identity(process.pid):  # None if it has already ended.
            self._identities[process.pid] = known_as
            self._tell(f"+{process.pid} {known_as}")
        self._remember()

    def _forget(self, pid: int) -> None:
        if self._identities.pop(pid, None) is not None:
            self._tell(f"-{pid}")
        self._remember()

    def _tell(self, line: str) -> None:
        if self._pipe is not None:
            os.write(self._pipe, f"{line}\n".encode())

    def _remember(self) -> None:
        owner = [os.getpid(), reaper.identity(os.getpid())]
        content = {"owner": owner, "mark": self._mark, "processes": list(self._identities.items())}
        self._record.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._record.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(content))
        fresh.replace(self._record)


def kill_leftovers(record: Path) -> list[int]:
    """Kill what a crashed start listed in its record; returns the ids. A later process with the same id is left alone.

    ProcessError if the rehearsal that wrote the record is still running.
    """
    try:
        content = json.loads(record.read_text())
        (owner, known_as), mark, processes = content["owner"], content["mark"], content["processes"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if owner != os.getpid() and known_as and reaper.identity(owner) == known_as:
        raise ProcessError(f"A rehearsal is already running, as process {owner} ({record}).")
    killed = [member for pid, started in processes for member in reaper.kill_family(pid, started)]
    return killed + reaper.kill_marked(mark)


def _family_with_identities(pid: int) -> dict[int, str]:
    return {member: known for member in reaper.family(pid) if (known := reaper.identity(member))}


def _identity_of(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _open(stdout: Path | int) -> contextlib.AbstractContextManager[Any]:
    if isinstance(stdout, int):
        return contextlib.nullcontext(stdout)
    stdout.parent.mkdir(parents=True, exist_ok=True)
    return stdout.open("ab")
