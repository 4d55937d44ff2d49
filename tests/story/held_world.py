"""A rehearsal whose bot is `held_bot`: it has one scenario more, with a Hold and a clean-up, and its steps obey the test."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rehearsal.machines.launch import launch
from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import Incident, calm_options

ROOT = Path(__file__).parents[2]
HOLD = "test hold"


class HeldWorld(Rehearsal):
    """The rehearsal, with the other bot."""

    async def start_bot(self) -> None:
        """Start the bot that has the scenario of the test."""
        await self.start_crashing_bot({})

    async def start_crashing_bot(self, orders: Mapping[str, str]) -> asyncio.subprocess.Process:
        """The same, with CRASH_AT or CRASH_LIST (see `crashing_bot`)."""
        argv = [sys.executable, "-m", "tests.story.held_bot", "serve", "--config", str(self.config)]
        environment = self.bot_environment | {"HELD_DIR": str(self.work_dir)} | orders
        return await self.processes.start("bot", argv, env=environment, stdout=self.bot_log, cwd=ROOT)

    async def dr(self, *words: str, without: Sequence[str] = ()) -> tuple[int, str, str]:
        """The `dr` program that knows the scenarios of the test; returns exit code, stdout and stderr."""
        environment = self.bot_environment | {"HELD_DIR": str(self.work_dir)}
        environment = {name: value for name, value in environment.items() if name not in without}
        argv, pipe = [sys.executable, "-m", "tests.story.held_bot", *words, "--config", str(self.config)], asyncio.subprocess.PIPE
        process = await launch(*argv, env=environment, stdout=pipe, stderr=pipe, cwd=ROOT)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    @property
    def starts(self) -> int:
        """How often a bot has begun to serve."""
        return self.bot_log.read_text().count('"event": "serving"') if self.bot_log.exists() else 0


@asynccontextmanager
async def held_world(work_dir: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    """The rehearsal with this bot, connected."""
    async with HeldWorld(calm_options(work_dir=work_dir, cache=cache)) as world:
        await world.witness.healthy()
        await until(lambda: world.starts, 60, "a serving bot")
        yield world


class HeldIncident(Incident):
    """The incident channel, and what the steps did."""

    world: HeldWorld

    def control(self, **controls: Any) -> None:
        """Say how the steps turn out from now on."""
        (self.world.work_dir / "controls.json").write_text(json.dumps(controls))

    @property
    def done(self) -> list[str]:
        """What the steps did so far, in order."""
        path = self.world.work_dir / "effects.txt"
        return path.read_text().split() if path.exists() else []

    async def reconfigure(self, old: str, new: str) -> None:
        """From now on the bot has another dr.toml."""
        before = self.world.config.read_text()
        assert old in before
        await self._restart_with(before.replace(old, new))

    async def unattended_run(self, timeout: float = 60.0) -> str:
        """Wait for a run that nobody approved, other than those that are there; returns its id."""
        known = self.ids()
        return await until(lambda: next((run for run in self.ids() if run not in known), None), timeout, "an unattended run")

    async def held(self) -> str:
        """A run of Alice's, approved by Bob, that waits in its Hold; returns its id."""
        run = await self.plan("alice", HOLD, timeout=60)
        await self.click("bob", run, "dr_approve")
        await self.asks(run)
        return run

    async def asks(self, run: str) -> None:
        """Wait until the card asks for a Yes or No."""
        await until(lambda: "dr_hold_no" in self.buttons(run), 30, lambda: self._state_of(run))

    async def says_no(self, run: str, person: str = "carol", reason: str = "Rows are missing.") -> None:
        """Answer No with a reason."""
        await self.click(person, run, "dr_hold_no")
        await self.fill_in(person, reason=reason)

    async def revive(self) -> None:
        """Kill the bot with SIGKILL and start it again."""
        before = self.world.starts
        await self.world.kill_bot()
        await self.world.start_bot()
        await until(lambda: self.world.starts > before, 60, "a bot that serves again")

    async def forget(self) -> None:
        """End what is open, and forget what was done."""
        self.control()
        for run in self.ids():
            if "dr_hold_no" in self.buttons(run):
                await self.says_no(run)
                await self.ended(run, 60)
        for name in ("effects.txt", "temporary"):
            (self.world.work_dir / name).unlink(missing_ok=True)


@asynccontextmanager
async def held_incident(world: HeldWorld) -> AsyncIterator[HeldIncident]:
    """The incident channel of this world, without runs and with nothing done, before and after."""
    incident = HeldIncident(world)
    incident.control()
    world.journal.clear()
    yield incident
    await incident.forget()
    await incident.calm_down()
