"""A task of ECS, which is a real child process: pulled, started, probed, logged, stopped."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rehearsal.aws.clock import Clock
from rehearsal.machines.launch import launch

PULL = 40.0  # AWS seconds from PROVISIONING to the container's start
DRAIN = 300.0  # AWS seconds that requests under way have before the task is asked to end: the deregistration delay
DRAIN_AT_MOST = 1.0  # real seconds of it, since a frozen task never answers, and the balancer gives it up anyway
STOP_TIMEOUT = 30.0  # AWS seconds between SIGTERM and SIGKILL
STOP_AT_LEAST = 0.3  # real seconds of it, since the process is a real one at any speed
UNHEALTHY_AFTER = 180.0  # AWS seconds until ECS gives up a container that never became healthy
UNHEALTHY_AT_LEAST = 10.0  # real seconds of it: a real process starts no faster at a higher speed
PROBE_EVERY = 10.0  # AWS seconds
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


class Spawn(Protocol):
    """Starts a program with exactly this environment and a pipe for stdout and stderr."""

    async def __call__(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process: ...


async def spawn_child(name: str, argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """The plain `Spawn`: a child of this process, in a session of its own."""
    return await launch(
        *argv,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A revision of the task definition: its image, and how that behaves (the program's BEHAVIOUR)."""

    number: int
    image: str
    registered_at: datetime
    behaviour: str = "good"
    kept: bool = True  # whether the repository still has the image
    health_path: str = "/api/health"


@dataclass(kw_only=True, eq=False)
class Task:
    """One running copy of a revision: what ECS would say about it, and the process behind it."""

    revision: Revision
    deployment: str
    created_at: datetime
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    port: int = 0
    desired: str = "RUNNING"
    last: str = "PENDING"
    health: str = "UNKNOWN"
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    process: asyncio.subprocess.Process | None = None
    asked_to_stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def serving(self) -> bool:
        """Whether it's running and healthy, and not asked to stop."""
        return self.desired == "RUNNING" and self.last == "RUNNING" and self.health == "HEALTHY"

    def stop(self, code: str, reason: str, at: datetime) -> None:
        """Ask the task to end; its `Runner` does the rest. Asking twice makes no difference."""
        if self.desired == "STOPPED":
            return
        self.desired, self.stop_code, self.reason, self.stopping_at = "STOPPED", code, reason, at
        self.asked_to_stop.set()


class Output(Protocol):
    """Takes a line that a task wrote."""

    def __call__(self, task: Task, line: str) -> None: ...


class Drained(Protocol):
    """Waits until no request to a port is under way, `seconds` at most."""

    async def __call__(self, port: int, seconds: float) -> None: ...


class Runner:
    """Takes a task from PENDING to STOPPED."""

    def __init__(self, *, clock: Clock, spawn: Spawn, drained: Drained, output: Output) -> None:
        self.clock = clock
        self.spawn = spawn
        self.drained = drained
        self.output = output

    async def run(self, task: Task, environment: Mapping[str, str], *, pull: float = PULL) -> None:
        """Run a task until it's STOPPED, whoever ends it; its process is killed if this is cancelled."""
        if not await self._stopped_within(task, pull):
            task.port = free_port()
            task.process = await self.spawn(f"control-plane-{task.id[:8]}", self._argv(task), environment)
            task.started_at, task.last = self.clock.now(), "RUNNING"
            try:
                await self._alive(task, task.process)
            finally:
                await _kill(task.process)
        self._record_end(task)

    @staticmethod
    def _argv(task: Task) -> list[str]:
        return [sys.executable, "-m", "rehearsal.machines.control_plane", "--port", str(task.port)]

    async def _stopped_within(self, task: Task, pull: float) -> bool:
        try:
            await asyncio.wait_for(task.asked_to_stop.wait(), self.clock.real(pull))
        except TimeoutError:
            return False
        return True

    async def _alive(self, task: Task, process: asyncio.subprocess.Process) -> None:
        reading = asyncio.create_task(self._read(task, process))
        probing = asyncio.create_task(self._probe(task))
        ended = asyncio.create_task(process.wait())
        asked = asyncio.create_task(task.asked_to_stop.wait())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self.drained(task.port, min(self.clock.real(DRAIN), DRAIN_AT_MOST))
                await self._end(process)
            await asyncio.wait({reading}, timeout=1.0)
        finally:
            for waiting in (reading, probing, ended, asked):
                waiting.cancel()
            await asyncio.gather(reading, probing, ended, asked, return_exceptions=True)

    async def _read(self, task: Task, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.output(task, line.decode(errors="replace").rstrip("\n"))

    async def _probe(self, task: Task) -> None:
        """The container's health check, until it succeeds once.

        It runs inside the container. So a container that's frozen as a whole isn't probed and keeps its last result, as
        Docker's paused containers do, and ECS still counts it as running.
        """
        patience = max(self.clock.real(UNHEALTHY_AFTER), UNHEALTHY_AT_LEAST)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while await status_of(task.port, task.revision.health_path) != 200:  # noqa: ASYNC110 - it is asked over HTTP.
                    await asyncio.sleep(max(self.clock.real(PROBE_EVERY), 0.02))
                task.health = "HEALTHY"
                return
        task.health = "UNHEALTHY"
        task.stop("ServiceSchedulerInitiated", "Task failed container health checks", self.clock.now())

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), max(self.clock.real(STOP_TIMEOUT), STOP_AT_LEAST))
        await _kill(process)

    def _record_end(self, task: Task) -> None:
        code = task.process.returncode if task.process is not None else None
        if code is not None:
            task.exit_code = 128 - code if code < 0 else code  # a signal's number as a shell reports it
        if task.desired == "RUNNING":
            task.desired, task.stop_code = "STOPPED", "EssentialContainerExited"
            task.reason = "Essential container in task exited"
            task.stopping_at = self.clock.now()
        task.stopped_at, task.last = self.clock.now(), "STOPPED"


def environment_of(task: Task, wanted: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a task's process: what it should have, and what any program needs to start."""
    here = Path(__file__).resolve().parents[3]
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"IMAGE": task.revision.image, "BEHAVIOUR": task.revision.behaviour, "PYTHONPATH": str(here)}
    return {**inherited, **wanted, **own}


async def status_of(port: int, path: str, seconds: float = 2.0) -> int | None:
    """The HTTP status of a GET to a port of this machine; None if there was no answer in time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                first = await reader.readline()
            finally:
                writer.close()
        return int(first.split()[1])
    except (OSError, ValueError, IndexError):
        return None


def free_port() -> int:
    """A port of this machine that was free just now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
