"""Starts the project's programs by forking a process that has imported what they need.

A bot spends 2 of its first 2.5 s of CPU time on imports, and the stories start hundreds of bots. What is started here is a
process like any other, with its own session, environment, output and exit code; only its modules are there already.

    async with Preloaded() as preloaded:
        launch_by(preloaded.launch)

Run as a program (`python -m tests.preloaded`) it is the process that is forked: it reads orders from the socket on its
standard input, and writes who started and who ended to its standard output, one JSON object per line.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

MODULES = ("bot.cli", "bot.serve", "bot.engine.handlers", "actions.aws.gateway", "rehearsal.machines.control_plane")
PYTHON = [sys.executable, "-m"]
LARGEST_ORDER = 1_000_000


# The side of the tests ------------------------------------------------------------------------------------------------


class Forked:
    """A process that was forked: what `asyncio.subprocess.Process` offers, as far as it is used."""

    def __init__(self, stdout: asyncio.StreamReader | None, stderr: asyncio.StreamReader | None) -> None:
        self.pid = 0
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
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

    def end(self, code: int) -> None:
        """It has ended with this code."""
        self.returncode = code
        self._ended.set()


@dataclass(kw_only=True)
class Preloaded:
    """The process that is forked, which starts with the first program that is wanted."""

    _template: asyncio.subprocess.Process | None = None
    _orders: socket.socket | None = None
    _listening: asyncio.Task[None] | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _started: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    _running: dict[int, Forked] = field(default_factory=dict)
    _early: dict[int, int] = field(default_factory=dict)  # the code of a process that ended before it was known here

    async def __aenter__(self) -> Preloaded:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._template and self._orders and self._listening:
            self._orders.close()
            await self._template.wait()
            await self._listening

    async def launch(self, *argv: str, **options: Any) -> asyncio.subprocess.Process:
        """Start a program; it is forked if it is one of the project's modules and needs no other account."""
        if list(argv[:2]) != PYTHON or options.get("user") is not None:
            return await asyncio.create_subprocess_exec(*argv, **options)
        async with self._starting:
            return cast(asyncio.subprocess.Process, await self._fork(argv[2], argv[3:], options))

    async def _fork(self, module: str, words: tuple[str, ...], options: dict[str, Any]) -> Forked:
        orders = self._orders or await self._open()
        with ExitStack() as stack:
            out, reading_out = await _output(options.get("stdout"), stack)
            if options.get("stderr") == subprocess.STDOUT:
                err, reading_err = out, None
            else:
                err, reading_err = await _output(options.get("stderr"), stack)
            order = {
                "module": module,
                "argv": words,
                "env": {**(os.environ if options.get("env") is None else options["env"])},
                "cwd": str(options.get("cwd") or os.getcwd()),
            }
            socket.send_fds(orders, [json.dumps(order).encode() + b"\n"], [out, err])
            forked = Forked(reading_out, reading_err)
            forked.pid = await asyncio.wait_for(self._started.get(), 30)
        if forked.pid in self._early:
            forked.end(self._early.pop(forked.pid))
        else:
            self._running[forked.pid] = forked
        return forked

    async def _open(self) -> socket.socket:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._template = await asyncio.create_subprocess_exec(
                *PYTHON, "tests.preloaded", stdin=theirs, stdout=subprocess.PIPE, start_new_session=True
            )
        self._listening = asyncio.create_task(self._listen(self._template))
        return self._orders

    async def _listen(self, template: asyncio.subprocess.Process) -> None:
        assert template.stdout is not None
        while line := await template.stdout.readline():
            said = json.loads(line)
            if "started" in said:
                self._started.put_nowait(said["started"])
            elif forked := self._running.pop(said["ended"], None):
                forked.end(said["code"])
            else:
                self._early[said["ended"]] = said["code"]


async def _nothing() -> bytes:
    return b""


async def _output(wanted: Any, stack: ExitStack) -> tuple[int, asyncio.StreamReader | None]:
    """The descriptor to write to, open as long as the stack, and the reading end if a pipe is wanted."""
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        stack.callback(os.close, writing)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
        return writing, reader
    if wanted == subprocess.DEVNULL:
        quiet = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, quiet)
        return quiet, None
    if wanted is None:
        return 2, None
    return wanted if isinstance(wanted, int) else wanted.fileno(), None


# The process that is forked -------------------------------------------------------------------------------------------


def main() -> None:
    """Fork for each order, until there are no more; the fork then is the program that was ordered."""
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # so that no collection in a fork copies what is shared
    order = _next_order()
    if order is not None:
        sys.argv[1:] = order["argv"]
        sys.orig_argv[:] = [*PYTHON, order["module"], *order["argv"]]  # by which the bot starts itself over
        sys.path[0] = order["cwd"]
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _next_order() -> dict[str, Any] | None:
    """An order, in the fork that has to carry it out; None in the first process, when nobody can send orders any more."""
    orders = socket.socket(fileno=os.dup(0))
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno())
    for order, (out, err) in _orders(orders, woken):
        if pid := os.fork():
            os.close(out)
            os.close(err)
            _say(started=pid)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (orders, woken, waking):
            one.close()
        _become(order, out, err)
        return order
    return None


def _orders(orders: socket.socket, woken: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Each order with the descriptors for its output, and meanwhile say whose end came."""
    while True:
        readable, _, _ = select.select([orders, woken], [], [])
        if woken in readable:
            woken.recv(4096)
            _say_who_ended()
        if orders in readable:
            data, fds, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 2)
            if not data:
                return
            while not data.endswith(b"\n"):
                data += orders.recv(LARGEST_ORDER)
            yield json.loads(data), fds


def _become(order: dict[str, Any], out: int, err: int) -> None:
    """Take the session, folder, environment and output that were ordered."""
    os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    with contextlib.suppress(OSError):  # its name in `top`, on Linux
        Path("/proc/self/comm").write_text(" ".join([order["module"].rpartition(".")[2], *order["argv"][:1]]))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(wanted, number)
    for number in {nothing, out, err} - {0, 1, 2}:
        os.close(number)


def _say_who_ended() -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _say(ended=ended[0], code=os.waitstatus_to_exitcode(ended[1]))


def _say(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
