"""The name of the process that holds the lead, and whether that process is certainly gone.

A process on another machine may only be silent. One on this machine can be looked up: when its process id is free, or somebody
else's, it is gone for good, and nobody needs to wait until its lease has expired. If that can't be looked up, nobody is gone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PROC = Path("/proc")
DEAD = "ZX"  # the states of a process that has ended but that its parent hasn't reaped yet


def name_of_this_process() -> str:
    """Machine, process and a word of its own, because a process that starts over keeps its id: `machine/pid/start/word`."""
    pid = os.getpid()
    _, started = _look_up(pid)
    return f"{_machine()}/{pid}/{started}/{secrets.token_hex(4)}"


def is_gone(holder: str) -> bool:
    """Whether the holder's process has certainly ended. False when that is not known."""
    machine, _, rest = holder.rpartition("/")[0].partition("/")
    pid, _, started = rest.partition("/")
    if not machine or machine != _machine() or not pid.isdigit():
        return False
    if int(pid) == os.getpid() or not _exists(int(pid)):
        return True  # the first: that was this process before it started over
    ended, started_now = _look_up(int(pid))
    return ended or started_now not in ("", started)


def _machine() -> str:
    """This boot of this machine, and the space of process ids within it; "" if the system does not tell."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.readlink(PROC / 'self/ns/pid').strip('pid:[]')}"
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _look_up(pid: int) -> tuple[bool, str]:
    """Whether a process has ended and only waits for its parent, and when it started, in ticks since the boot; "" if unknown."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        threads = len(list((PROC / str(pid) / "task").iterdir()))
    except OSError:
        return False, ""
    return fields[0] in DEAD and threads <= 1, fields[19]
