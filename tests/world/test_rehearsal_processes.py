"""The processes of a rehearsal: none is left, however the rehearsal ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.machines import reaper
from rehearsal.machines.processes import ProcessError, Processes
from rehearsal.waiting import until

OWNER = """
import asyncio, signal, sys
from pathlib import Path
from rehearsal.postgres.pair import ServerPair
from rehearsal.machines.processes import Processes
async def main():
    processes = Processes(Path(sys.argv[1]))
    family = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    await processes.start("family", [sys.executable, "-c", family])
    await processes.start("stopped", ["sleep", "600"])
    async with ServerPair(processes, Path(sys.argv[2], "owner"), cache=Path(sys.argv[2], "cache")) as database:
        await database.hang_primary()
        await processes.signal("stopped", signal.SIGSTOP)
        print(processes.reaper_pid, *processes.pids().values(), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def owner(record: Path, work_dirs: Path) -> tuple[subprocess.Popen[str], int, list[int]]:
    """A rehearsal in a process of its own: that process, its reaper, and what it started."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(record), str(work_dirs)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as printed:
        reaper_pid, *pids = map(int, printed.readline().split())
    return process, reaper_pid, [member for pid in pids for member in reaper.family(pid)]


async def test_what_a_rehearsal_started_is_gone_after_it_was_killed(tmp_path: Path, work_dirs: Path) -> None:
    process, _, children = owner(tmp_path / "processes.json", work_dirs)
    assert len(children) > 10  # Two servers with their backends, one of them stopped, a family, a stopped process.
    process.kill()
    process.wait()
    await until(lambda: not any(map(reaper.identity, children)), 5)


async def test_the_next_start_kills_what_a_crash_left(tmp_path: Path, work_dirs: Path) -> None:
    record = tmp_path / "processes.json"
    process, reaper_pid, children = owner(record, work_dirs)
    with pytest.raises(ProcessError, match="already running"):
        await Processes(record).open()
    os.kill(reaper_pid, signal.SIGKILL)
    process.kill()
    process.wait()
    assert all(map(reaper.identity, children))
    async with Processes(record):
        await until(lambda: not any(map(reaper.identity, children)), 5)


async def test_a_recycled_process_number_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    earlier = {"owner": [1, "long ago"], "mark": "none", "processes": [[stranger.pid, "another boot:1"]]}
    record.write_text(json.dumps(earlier))
    async with Processes(record):
        await asyncio.sleep(0.1)
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()
