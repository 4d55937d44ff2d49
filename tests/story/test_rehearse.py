"""`rehearse start`: everything it starts is gone when it ends, however it ends. If it cannot start, one line says why."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.machines import preloading, reaper
from tests.story.conftest import until


@pytest.fixture
def home(work_dirs: Path, request: pytest.FixtureRequest) -> Path:
    """A folder to start in."""
    path = work_dirs / f"home-{abs(hash(request.node.name))}"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
async def started(home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A rehearsal that has started, as a person starts it."""
    process = await start(home)
    yield process
    await end(process)


async def start(home: Path) -> asyncio.subprocess.Process:
    argv = [sys.executable, "-m", "rehearsal", "start", "--port", "0", "--speed", "600"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=home, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line.startswith(b"The workspace is at http://127.0.0.1:"), line
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


def everything(process: asyncio.subprocess.Process) -> dict[int, str | None]:
    """All processes of a rehearsal, with what tells them from later ones with the same id."""
    return {pid: reaper.identity(pid) for pid in reaper.family(process.pid)}


def left(family: dict[int, str | None]) -> list[int]:
    return [pid for pid, known_as in family.items() if known_as and reaper.identity(pid) == known_as]


async def test_ctrl_c_ends_everything(started: asyncio.subprocess.Process, home: Path) -> None:
    family = everything(started)
    assert len(family) > 5  # the bot, two database servers with their children, the control plane
    started.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(started.wait(), 30) == 0
    assert left(family) == []
    assert not (home / ".rehearsal" / "world.json").exists()


async def test_a_kill_ends_everything_too_and_the_next_start_is_clean(started: asyncio.subprocess.Process, home: Path) -> None:
    family = everything(started)
    started.kill()
    await started.wait()
    await until(lambda: not left(family), 10, lambda: left(family))
    again = await start(home)
    family = everything(again)
    await end(again)
    assert left(family) == []


async def test_ctrl_c_during_the_start_leaves_nothing_behind(home: Path) -> None:
    argv = [sys.executable, "-m", "rehearsal", "start", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=home)
    await until(lambda: len(reaper.family(process.pid)) > 2, 30)
    family = everything(process)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == 130
    assert left(family) == []


async def test_ctrl_c_while_it_still_imports_ends_everything_without_a_word(home: Path) -> None:
    process = await starting(home)
    family = everything(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert await asyncio.wait_for(process.communicate(), 30) == (b"", b"")
    assert process.returncode in (130, -signal.SIGINT)  # which a shell shows as 130, too
    assert left(family) == []


async def test_a_kill_while_it_still_imports_ends_everything_without_a_word(home: Path) -> None:
    process = await starting(home)
    family = everything(process)
    process.kill()
    assert await asyncio.wait_for(process.communicate(), 30) == (b"", b"")
    await until(lambda: not left(family), 10, lambda: left(family))


async def test_it_starts_and_ends_even_if_the_process_it_forks_from_is_killed(home: Path) -> None:
    process = await starting(home)
    os.kill(forked_from(process), signal.SIGKILL)
    assert process.stdout
    assert (await asyncio.wait_for(process.stdout.readline(), 60)).startswith(b"The workspace is at")
    family = everything(process)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (0, b"")
    assert left(family) == []


async def test_it_ends_even_if_the_process_it_forked_from_was_killed(started: asyncio.subprocess.Process, home: Path) -> None:
    family = everything(started)
    os.kill(forked_from(started), signal.SIGKILL)
    told = json.loads((home / ".rehearsal" / "world.json").read_text())["processes"]
    assert all(map(reaper.identity, told.values())), "the bot and the others go on"
    started.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(started.wait(), 30) == 0
    assert left(family) == []


async def starting(home: Path) -> asyncio.subprocess.Process:
    """A rehearsal that has just begun to start, in a process group of its own."""
    argv, pipe = [sys.executable, "-m", "rehearsal", "start", "--port", "0"], asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=home, stdout=pipe, stderr=pipe, start_new_session=True)
    await until(lambda: len(reaper.family(process.pid)) > 1, 30)
    return process


def forked_from(process: asyncio.subprocess.Process) -> int:
    """The process that the rehearsal's programs are forked from."""
    name = preloading.__name__.encode()
    return next(pid for pid in reaper.family(process.pid)[1:] if name in Path(f"/proc/{pid}/cmdline").read_bytes())


async def test_a_taken_port_is_one_line_and_exit_code_2(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "rehearsal", "start", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(*argv, cwd=home, stderr=asyncio.subprocess.PIPE)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    assert f"Port {port} is taken" in err.decode()
    assert str(port + 1) in err.decode()


async def test_a_second_rehearsal_in_a_folder_is_refused_and_can_join_the_first(
    started: asyncio.subprocess.Process, home: Path
) -> None:
    argv = [sys.executable, "-m", "rehearsal", "start", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=home, stderr=asyncio.subprocess.PIPE)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert len(err.splitlines()) == 1
    assert "is running in" in err.decode()
    assert started.returncode is None
    told = json.loads((home / ".rehearsal" / "world.json").read_text())
    assert {"workspace", "slack_api", "aws", "databases", "control_plane", "ssh", "processes"} <= told.keys()
    assert told["processes"]["rehearsal"] == started.pid
    assert set(told["processes"].values()) <= set(reaper.family(started.pid))

    await dr_joins(home)


async def dr_joins(home: Path) -> None:
    """`dr --rehearsal` asks this rehearsal, whatever else its environment names."""
    elsewhere = {"AWS_PROFILE": "production", "SLACK_BOT_TOKEN": "xoxb-production", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    argv = [sys.executable, "-m", "bot", "--rehearsal", "check", "--json"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=home, env=os.environ | elsewhere, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    says = {finding["says"]: finding["level"] for finding in json.loads(out)}
    assert says["Slack knows this bot as dr in Shielda (rehearsal)."] == "ok", err
    assert any(one.startswith("AWS in us-west-2 knows this bot as") and one.endswith("/rehearsal.") for one in says)
    assert b"refused" not in out, "what listens nowhere was asked: the database that the environment named"
