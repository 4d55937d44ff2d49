"""Kills what a rehearsal started once the rehearsal itself is gone, however it ended.

Run as a program, it holds the reading end of a pipe. Each line adds or removes a process: `+pid identity` or `-pid`. When
the other end closes, even by SIGKILL, every process still listed is killed with its whole family. It uses the standard
library only: it must start in a few milliseconds and outlive everything.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

PROC = Path("/proc")
MARK = "REHEARSAL_MARK"
Table = dict[int, tuple[int, int, str]]


def identity(pid: int) -> str | None:
    """Boot and start time, which tell a process from a later one with the same id; None if there is no such process."""
    if not PROC.joinpath("self/stat").exists():
        row = _ps().get(pid)
        return row[2] if row else None
    fields = _stat(pid)
    return f"{_boot()}:{fields[19]}" if fields else None


def family(pid: int) -> list[int]:
    """The process, all its descendants and everything in their process groups; the process itself comes first."""
    table = _table()
    found = [pid] if pid in table else []
    groups = {pid}
    grew = True
    while grew:
        new = [p for p, (parent, group, _) in table.items() if p not in found and (parent in found or group in groups)]
        found.extend(new)
        groups.update(p for p in new if table[p][1] == p)
        grew = bool(new)
    return found


def kill_family(pid: int, known_as: str | None = None) -> list[int]:
    """Kill the process and its family with SIGKILL, which ends stopped processes too; returns their ids.

    Nothing happens if `known_as` is given and the id belongs to another process by now.
    """
    if known_as is not None and identity(pid) != known_as:
        return []
    _signal(pid, signal.SIGSTOP)  # A stopped parent starts no more children while we look for them.
    members = family(pid)
    for member in members:
        _signal(member, signal.SIGKILL)
    return members


def kill_marked(mark: str) -> list[int]:
    """Kill every process with this mark in its environment (Linux), even if it has left its family; returns their ids."""
    needle = f"{MARK}={mark}".encode()
    killed = []
    for pid in [int(entry.name) for entry in PROC.glob("[0-9]*")]:
        with contextlib.suppress(OSError):
            if pid != os.getpid() and needle in PROC.joinpath(str(pid), "environ").read_bytes().split(b"\0"):
                _signal(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _boot() -> str:
    try:
        return PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat: state, parent, group and so on, 19 is the start time. None for zombies."""
    try:
        fields = PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def _table() -> Table:
    if not PROC.joinpath("self/stat").exists():
        return _ps()
    table: Table = {}
    for entry in os.listdir(PROC):
        if entry.isdigit() and (fields := _stat(int(entry))):
            table[int(entry)] = (int(fields[1]), int(fields[2]), fields[19])
    return table


def _ps() -> Table:
    columns = "pid=,ppid=,pgid=,lstart="
    listing = subprocess.run(["ps", "-Ao", columns], capture_output=True, text=True, check=False)
    rows = [line.split(None, 3) for line in listing.stdout.splitlines()]
    return {int(row[0]): (int(row[1]), int(row[2]), row[3]) for row in rows if len(row) == 4}


def main() -> None:
    """Wait for the end of the rehearsal, then kill what it left. The first argument is the mark of its processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left: dict[int, str] = {}
    for line in sys.stdin:
        pid, _, known_as = line[1:].strip().partition(" ")
        if line.startswith("+"):
            left[int(pid)] = known_as
        else:
            left.pop(int(pid), None)
    for process, known_as in left.items():
        kill_family(process, known_as)
    kill_marked(sys.argv[1])


if __name__ == "__main__":
    main()
