"""The process that has imported what the project's programs need, and forks for each of them.

A bot spends 2 of its first 2.5 s of CPU time on imports. What is forked here is a process like any other, with its own
session, environment, output and exit code; only its modules are there already.

`start` starts it; rehearsal.machines.preloaded gives it orders. It reads them from the socket on its standard input, and
writes who started and who ended to its standard output, one JSON object per line. When nobody can send orders any more, it
ends. This file uses a few modules of the standard library only, since the `rehearse` program calls `start` before it
imports anything else.
"""

from __future__ import annotations

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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# By name, for the rehearsal imports no product code. What's missing here costs time only: a program imports it itself.
FIRST = ("bot.cli", "bot.serve", "rehearsal.machines.control_plane")  # what they need until they are ready
# imported one by one while there is nothing to do
LATER = ("bot.engine.handlers", "actions.aws.gateway", "rehearsal.fleet.server")
PYTHON = [sys.executable, "-m"]
AT_ONCE = "at-once"  # the argument that makes it import all of them first
NUMBER_BYTES = 8
IDLE_SECONDS = 2.0  # of no orders, after which what is started has most likely done so
REAPER_SECONDS = 3.0


# The side that gives orders -------------------------------------------------------------------------------------------


class Forker:
    """The process, as the one that started it sees it: give it orders, read its reports, end it."""

    def __init__(self, process: subprocess.Popen[bytes], orders: socket.socket) -> None:
        self.process = process
        self._orders = orders

    def order(self, order: dict[str, Any], out: int, err: int) -> None:
        """Order a program that writes to these descriptors. OSError if the process is gone or takes no more orders."""
        data = json.dumps(order).encode()
        message = len(data).to_bytes(NUMBER_BYTES, "big") + data
        if socket.send_fds(self._orders, [message], [out, err]) < len(message):
            raise BlockingIOError("The process takes no more orders.")

    def end(self) -> None:
        """End the process; what it forked goes on."""
        self._orders.close()
        self.process.kill()
        self.process.wait(10)


def start(program: str = __name__, *, at_once: bool = False) -> Forker:
    """Start the process, in a session of its own so that Ctrl-C doesn't reach it.

    It imports everything before it takes the first order if it shall do so `at_once`: for many programs that do a lot.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        process = subprocess.Popen(
            [*PYTHON, program, *[AT_ONCE] * at_once], stdin=theirs.fileno(), stdout=subprocess.PIPE, start_new_session=True
        )
    return Forker(process, ours)


# The process that is forked -------------------------------------------------------------------------------------------


def main() -> None:
    """Fork for each order, until there are no more; the fork then is the program that was ordered."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # It ends without a traceback.
    gc.disable()
    at_once = sys.argv[1:] == [AT_ONCE]
    for module in FIRST + LATER if at_once else FIRST:
        _preload(module)
    if (order := _next_order([] if at_once else [*LATER])) is None:
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.freeze()  # so that no collection copies what is shared
    gc.enable()
    sys.argv[1:] = order["argv"]
    sys.orig_argv[:] = [*PYTHON, order["module"], *order["argv"]]  # by which the bot starts itself over
    sys.path[0] = order["cwd"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _preload(module: str) -> None:
    with contextlib.suppress(Exception):  # The program that needs it says what is wrong with it.
        importlib.import_module(module)


def _next_order(later: list[str]) -> Any:
    """An order, in the fork that has to carry it out; None in the first process, when nobody can send orders any more."""
    orders = socket.socket(fileno=os.dup(0))
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno())
    running: set[int] = set()
    for order, (out, err) in _orders(orders, woken, running, later):
        if pid := os.fork():
            running.add(pid)
            os.close(out)
            os.close(err)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (orders, woken, waking):
            one.close()
        _become(order, out, err)
        return order
    _end(running)
    return None


def _orders(orders: socket.socket, woken: socket.socket, running: set[int], later: list[str]) -> Iterator[tuple[Any, list[int]]]:
    """Each order with the descriptors for its output; meanwhile say whose end came, and import what can wait."""
    while True:
        readable, _, _ = select.select([orders, woken], [], [], IDLE_SECONDS if later else None)
        if not readable:
            _preload(later.pop(0))
        if woken in readable:
            woken.recv(4096)
            _say_who_ended(running)
        if orders in readable:
            number, fds, _, _ = socket.recv_fds(orders, NUMBER_BYTES, 2)
            data = _exactly(int.from_bytes(number, "big"), orders)
            if not data:
                return
            yield json.loads(data), fds


def _exactly(length: int, orders: socket.socket) -> bytes:
    """So many bytes, or none if nobody can send them any more. More at once could lose the descriptors of the next order."""
    data = b""
    while len(data) < length:
        if not (more := orders.recv(length - len(data))):
            return b""
        data += more
    return data


def _become(order: Any, out: int, err: int) -> None:
    """Take the session, folder, environment and output that were ordered, and say so."""
    os.setsid()
    _say(started=os.getpid(), order=order["number"])  # Here, so that no end of the first process can keep it a secret.
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(wanted, number)
    for number in {nothing, out, err} - {0, 1, 2}:
        os.close(number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    with contextlib.suppress(OSError):  # its name in `top`, on Linux
        Path("/proc/self/comm").write_text(" ".join([order["module"].rpartition(".")[2], *order["argv"][:1]]))


def _end(running: set[int]) -> None:
    """End what still runs, unless the reaper does it in time, which finds the descendants, too."""
    deadline = time.monotonic() + REAPER_SECONDS
    while running and time.monotonic() < deadline:
        time.sleep(0.02)
        _say_who_ended(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _say_who_ended(running: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            running.discard(ended[0])
            _say(ended=ended[0], code=os.waitstatus_to_exitcode(ended[1]))


def _say(**what: int) -> None:
    with contextlib.suppress(OSError):  # Nobody listens any more.
        os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
