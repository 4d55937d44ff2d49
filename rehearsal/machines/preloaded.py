"""Starts the project's programs by forking a process that has imported what they need.

    async with Preloaded() as preloaded:
        launch_by(preloaded.launch)

If that process is gone or doesn't answer, programs are started in the ordinary way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import signal
import subprocess
from contextlib import ExitStack, suppress
from typing import IO, Any, cast

from rehearsal.machines import reaper
from rehearsal.machines.preloading import PYTHON, Forker, start
from rehearsal.waiting import until

UNKNOWN = 255  # the exit code of a process whose parent died before it, as in asyncio
ANSWER_SECONDS = 10.0  # it needs 1.7 of them for its imports, if it has a processor of its own
END_SECONDS = 10.0


class Forked:
    """A process that was forked: what `asyncio.subprocess.Process` offers, as far as it is used."""

    def __init__(self, stdout: asyncio.StreamReader | None, stderr: asyncio.StreamReader | None) -> None:
        self.pid = 0
        self.known_as: str | None = None
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self.answered = asyncio.Event()
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, a signal's number as a negative one."""
        await self._ended.wait()
        return cast(int, self.returncode)

    async def communicate(self) -> tuple[bytes, bytes]:
        """All that it writes to its pipes until its end."""
        out, err = await asyncio.gather(*(pipe.read() if pipe else _nothing() for pipe in (self.stdout, self.stderr)))
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal. Raises `ProcessLookupError` if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def begin(self, pid: int) -> None:
        """It has started as this process."""
        self.pid = pid
        self.known_as = reaper.identity(pid)
        self.answered.set()

    def give_up(self) -> None:
        """Nobody wants it any more."""
        if self.pid and self.returncode is None:
            self.kill()

    def end(self, code: int) -> None:
        """It has ended with this code."""
        self.returncode = code
        self._ended.set()


class Preloaded:
    """The process that is forked. If none is given, it starts with the first program that is wanted, and imports all `at_once`.

    It has `seconds` for each answer, the imports before the first one included.
    """

    def __init__(self, forker: Forker | None = None, *, at_once: bool = False, seconds: float = ANSWER_SECONDS) -> None:
        self.at_once = at_once
        self.seconds = seconds
        self._forker = forker
        self._listening: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._wanted: dict[int, Forked] = {}
        self._running: dict[int, Forked] = {}
        self._silent = asyncio.Event()

    async def __aenter__(self) -> Preloaded:
        if self._forker:
            self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the process, and what it forked that still runs."""
        for forked in self._running.values():
            with suppress(ProcessLookupError):
                forked.give_up()
        if self._forker:
            self._forker.end()
        if self._listening:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listening, END_SECONDS)

    async def launch(self, *argv: str, **options: Any) -> asyncio.subprocess.Process:
        """Start a program; it is forked if it is one of the project's modules and needs no other account."""
        if list(argv[:2]) == PYTHON and options.get("user") is None and (forked := await self._fork(argv[2:], options)):
            return cast(asyncio.subprocess.Process, forked)
        return await asyncio.create_subprocess_exec(*argv, **options)

    async def _fork(self, words: tuple[str, ...], options: dict[str, Any]) -> Forked | None:
        """The program, or None if it can't be forked."""
        forker = self._open()
        number = next(self._numbers)
        with ExitStack() as stack:
            out, reading_out = await _output(options.get("stdout"), stack)
            if options.get("stderr") == subprocess.STDOUT:
                err, reading_err = out, None
            else:
                err, reading_err = await _output(options.get("stderr"), stack)
            forked = self._wanted[number] = Forked(reading_out, reading_err)
            try:
                forker.order(_order(number, words, options), out, err)
                await asyncio.wait_for(forked.answered.wait(), self.seconds)
            except (OSError, TimeoutError):
                forker.end()
                await self._silent.wait()  # It may have forked in time after all.
            except asyncio.CancelledError:
                forked.give_up()
                raise
            finally:
                self._wanted.pop(number, None)
        return forked if forked.pid else None

    def _open(self) -> Forker:
        if self._forker is None:
            self._forker = start(at_once=self.at_once)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(self._forker), name="listen to the process that is forked")
        return self._forker

    async def _listen(self, forker: Forker) -> None:
        """Who started and who ended; once the process itself has ended, look for the ends of what it forked."""
        reports = await _reader(cast(IO[bytes], forker.process.stdout))
        while line := await reports.readline():
            report = json.loads(line)
            if "started" in report:
                self._begin(report["started"], self._wanted.pop(report["order"], None))
            elif forked := self._running.pop(report["ended"], None):
                forked.end(report["code"])
        forker.end()
        self._silent.set()
        for forked in self._wanted.values():
            forked.answered.set()
        await asyncio.gather(*(_watch(forked) for forked in self._running.values()))

    def _begin(self, pid: int, forked: Forked | None) -> None:
        if forked is None:  # Whoever wanted it was cancelled meanwhile.
            os.kill(pid, signal.SIGKILL)
        else:
            forked.begin(pid)
            self._running[pid] = forked


async def _watch(forked: Forked) -> None:
    """Notice the end of a process whose parent is gone."""
    await until(lambda: forked.known_as is None or reaper.identity(forked.pid) != forked.known_as, math.inf, every=0.05)
    forked.end(UNKNOWN)


def _order(number: int, words: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    environment = os.environ if options.get("env") is None else options["env"]
    cwd = str(options.get("cwd") or os.getcwd())
    return {"number": number, "module": words[0], "argv": words[1:], "env": {**environment}, "cwd": cwd}


async def _nothing() -> bytes:
    return b""


async def _reader(pipe: IO[bytes]) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader


async def _output(wanted: Any, stack: ExitStack) -> tuple[int, asyncio.StreamReader | None]:
    """The descriptor to write to, open as long as the stack, and the reading end if a pipe is wanted."""
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        return writing, await _reader(os.fdopen(reading, "rb", 0))
    if wanted == subprocess.DEVNULL:
        quiet = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, quiet)
        return quiet, None
    if wanted is None:
        return 2, None
    return wanted if isinstance(wanted, int) else wanted.fileno(), None
