"""Programs that are forked: they are what they would be otherwise, and start and end whatever happens to their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.machines import preloading, reaper
from rehearsal.machines.preloaded import UNKNOWN, Preloaded
from rehearsal.waiting import until

PROGRAM = """
import os, sys, time
print(os.getppid(), os.getcwd(), os.environ.get("WHO"), sys.argv[1:], flush=True)
print("and an error", file=sys.stderr, flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""
OWNER = """
import asyncio, sys
from rehearsal.machines.preloaded import Preloaded
async def main():
    async with Preloaded(seconds=60) as preloaded:
        program = await preloaded.launch(sys.executable, "-m", "program", "600", stdout=-3, stderr=-3, cwd=sys.argv[1])
        print(preloaded._forker.process.pid, program.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program."""
    tmp_path.joinpath("program.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def forker() -> preloading.Forker:
    return preloading.start()


@pytest.fixture
async def forks(forker: preloading.Forker) -> AsyncIterator[Preloaded]:
    async with Preloaded(forker, seconds=60) as forks:
        yield forks


def program(seconds: float) -> list[str]:
    return [sys.executable, "-m", "program", str(seconds)]


async def said(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """The parent and the rest of what the program says first."""
    assert process.stdout
    parent, _, rest = (await process.stdout.readline()).decode().strip().partition(" ")
    return int(parent), rest


async def test_a_forked_program_has_its_own_folder_environment_and_exit_code(
    forks: Preloaded, forker: preloading.Forker, folder: Path
) -> None:
    process = await forks.launch(*program(0), env={"WHO": "me"}, stdout=PIPE, stderr=STDOUT, cwd=folder)
    parent, rest = await said(process)
    assert parent == forker.process.pid
    assert rest == f"{folder} me ['0']"
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"and an error\n", 7)
    assert os.getsid(0) != os.getsid(forker.process.pid)


async def test_what_ends_a_forked_program_is_its_exit_code(forks: Preloaded, folder: Path) -> None:
    process = await forks.launch(*program(600), stdout=DEVNULL, stderr=DEVNULL, cwd=folder)
    assert os.getsid(process.pid) == process.pid
    process.kill()
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGKILL


async def test_if_the_forked_from_process_is_killed_the_next_program_starts_all_the_same(
    forks: Preloaded, forker: preloading.Forker, folder: Path
) -> None:
    os.kill(forker.process.pid, signal.SIGKILL)
    for _ in range(2):
        process = await forks.launch(*program(0), stdout=PIPE, stderr=DEVNULL, cwd=folder)
        assert (await said(process))[0] == os.getpid()
        assert await process.wait() == 7
    assert forker.process.returncode == -signal.SIGKILL, "a zombie"


async def test_if_the_forked_from_process_does_not_answer_the_program_starts_once_all_the_same(
    forker: preloading.Forker, folder: Path
) -> None:
    os.kill(forker.process.pid, signal.SIGSTOP)
    async with Preloaded(forker, seconds=0.3) as forks:
        process = await forks.launch(*program(0), stdout=PIPE, stderr=DEVNULL, cwd=folder)
        assert (await said(process))[0] == os.getpid()
        assert await process.wait() == 7
        assert forker.process.returncode == -signal.SIGKILL, "it could start the program after all"


async def test_the_end_of_a_program_is_noticed_after_the_forked_from_process_was_killed(
    forks: Preloaded, forker: preloading.Forker, folder: Path
) -> None:
    process = await forks.launch(*program(600), stdout=PIPE, stderr=DEVNULL, cwd=folder)
    await said(process)
    os.kill(forker.process.pid, signal.SIGKILL)
    await until(lambda: forker.process.returncode is not None)
    assert process.returncode is None
    process.kill()
    assert await asyncio.wait_for(process.wait(), 10) == UNKNOWN
    with pytest.raises(ProcessLookupError):
        process.kill()


async def test_a_program_whose_start_is_cancelled_does_not_run(forks: Preloaded, forker: preloading.Forker, folder: Path) -> None:
    starting = asyncio.create_task(forks.launch(*program(600), stdout=DEVNULL, stderr=DEVNULL, cwd=folder))
    await asyncio.sleep(0.01)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    process = await forks.launch(*program(0), stdout=DEVNULL, stderr=DEVNULL, cwd=folder)
    assert await process.wait() == 7
    await until(lambda: reaper.family(forker.process.pid) == [forker.process.pid])


async def test_at_the_end_nothing_is_left(forker: preloading.Forker, folder: Path) -> None:
    async with Preloaded(forker, seconds=60) as forks:
        process = await forks.launch(*program(600), stdout=DEVNULL, stderr=DEVNULL, cwd=folder)
    assert process.returncode is not None
    assert not reaper.identity(process.pid)
    assert forker.process.returncode is not None


async def test_if_the_one_who_gave_the_orders_is_killed_everything_ends_without_a_word(folder: Path) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(folder), stdout=PIPE, stderr=PIPE)
    assert owner.stdout
    pids = list(map(int, (await owner.stdout.readline()).split()))
    assert all(map(reaper.identity, pids))
    owner.kill()
    assert await asyncio.wait_for(owner.communicate(), 30) == (b"", b"")
    await until(lambda: not any(map(reaper.identity, pids)), 15)


async def test_ctrl_c_ends_the_forked_from_process_without_a_word(folder: Path) -> None:
    program = [sys.executable, "-m", preloading.__name__]
    process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    await asyncio.sleep(0.5)  # It's importing.
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
