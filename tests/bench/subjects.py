"""The programs that are measured, each in a process of its own, and a Slack workspace for each to connect to."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from rehearsal import settings
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from rehearsal.waiting import until

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "http://127.0.0.1:1"
DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
LOOK_SECONDS = 0.001


@dataclass(frozen=True, kw_only=True)
class Place:
    """A workspace that is served, and the folder of the program that connects to it."""

    workspace: Workspace
    url: str
    folder: Path


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """A Slack workspace of its own, in this process."""
    made(folder)
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text())
    workspace = Workspace(manifest=manifest, people=PEOPLE, channels=["incident", "general"], limits_speed=settings.SLACK_SPEED)
    async with serve(workspace) as url:
        yield Place(workspace=workspace, url=url, folder=folder)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A program under measurement that is connected. `seconds` is how long it took from its start to Slack's hello."""

    process: asyncio.subprocess.Process
    seconds: float

    async def kill(self) -> None:
        """End it; nothing is left of it but its files."""
        self.process.kill()
        await self.process.wait()


async def start(at: Place, *, bare: bool) -> Subject:
    """Start `dr serve` with a state of its own, or the bare Bolt app, and wait until it is connected."""
    argv = [sys.executable, "-m", "tests.bench.bare_bolt"] if bare else settings.bot_command(config(at.folder, at.url), "serve")
    env = {**settings.inherited(), **settings.environment(DATABASE), "SLACK_API_URL": f"{at.url}/api/"}
    await until(lambda: not at.workspace.sockets.open, 30, "the end of the one before", every=LOOK_SECONDS)
    with (at.folder / "log").open("ab") as out:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=out, stderr=out, cwd=ROOT)
        await until(lambda: at.workspace.sockets.open, 30, f"a connection (see {at.folder / 'log'})", every=LOOK_SECONDS)
    return Subject(process=process, seconds=time.monotonic() - began)


def made(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True)
    return opened(folder)


def opened(folder: Path) -> Path:
    """The folder, open to others: the account of the database servers must get in."""
    folder.chmod(0o755)
    return folder


def config(folder: Path, url: str) -> Path:
    """A dr.toml as the rehearsal writes it, for the workspace at this address and with a state in this folder."""
    path = folder / "dr.toml"
    text = settings.toml(
        slack_api=f"{url}/api/",
        state_url=f"sqlite:///{folder / 'state.sqlite'}",
        speed=60.0,
        endpoints={"us-west-2": NOWHERE, "us-east-1": NOWHERE},
        public=NOWHERE,
        expiry_minutes=15.0,
    )
    path.write_text(text)
    return path
