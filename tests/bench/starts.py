"""From the start of a process until it serves: bot and bare Bolt app until Slack's hello, the rehearsal until it is ready."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from signal import SIGINT
from statistics import median

from rehearsal.settings import inherited
from tests.bench.figures import Figure, memory_mb
from tests.bench.subjects import Place, made, place, start

STARTS = 7
SETTLED_SECONDS = 3.0  # the engine and the clients of AWS are loaded after the connection
REHEARSALS = 5
LIVES_SECONDS = 8.0  # as long as anybody looks at it, and long enough for it to make the copies for the next start


async def measure(folder: Path) -> list[Figure]:
    """Starts of both in turn, the bot's each with a new state; memory some seconds after the connection."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    memory: dict[bool, list[float]] = {True: [], False: []}
    async with place(folder / "bare") as bare_place, place(folder / "bot") as bot_place:
        for number in range(STARTS):
            for bare, at in ((True, bare_place), (False, bot_place)):
                forget_state(at)
                subject = await start(at, bare=bare)
                seconds[bare].append(subject.seconds)
                if number >= STARTS - 2:
                    await asyncio.sleep(SETTLED_SECONDS)
                    memory[bare].append(memory_mb(subject.process.pid))
                await subject.kill()
    return [
        Figure(name="Start to connected", value=median(seconds[False]), bare=median(seconds[True]), unit="s", aim=1.0),
        Figure(name="Memory, connected", value=median(memory[False]), bare=median(memory[True]), unit="MB", aim=130),
    ]


async def rehearsal(folder: Path) -> list[Figure]:
    """`rehearse start` until it says that it is ready: the first time, which sets up, and the times after."""
    made(folder)
    first, *later = [await ready(folder) for _ in range(REHEARSALS + 1)]
    note = f"the first start of all, which makes the databases, took {first:.1f} s"
    return [Figure(name="Rehearsal ready after the first set-up", value=median(later), unit="s", aim=3.0, note=note)]


async def ready(folder: Path) -> float:
    """Seconds from the start of `rehearse start` to its line about the workspace."""
    argv = [sys.executable, "-m", "rehearsal", "start", "--port", "0"]
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*argv, cwd=folder, env=inherited(), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(90):
        line = await process.stdout.readline()
    seconds = time.monotonic() - began
    await asyncio.sleep(LIVES_SECONDS)
    if process.returncode is None:
        process.send_signal(SIGINT)
    await process.communicate()
    if not line.startswith(b"The workspace is at"):
        raise RuntimeError("The rehearsal did not start; `rehearse start` says why.")
    return seconds


def forget_state(at: Place) -> None:
    """Remove what an earlier start left."""
    for path in at.folder.glob("state.sqlite*"):
        path.unlink()
