"""The bit of System V shared memory by which PostgreSQL notices a second server on the same data.

A server that is killed leaves it behind, and a machine has only some thousand of them.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

IPC_RMID = 0
LINE = 6  # of postmaster.pid: its key and its id


def interlock(data: Path) -> int | None:
    """The id of the memory of the server that runs on this folder; None if there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((data / "postmaster.pid").read_text().splitlines()[LINE].split()[1])
    return None


def release(memory: int | None) -> None:
    """Give the memory back, once no process of its server is left."""
    if memory is not None:
        ctypes.CDLL(None).shmctl(memory, IPC_RMID, None)
