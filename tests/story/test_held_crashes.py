"""The bot is killed around the records and effects of a run with a Hold and a clean-up: one question, each effect once.

`make test` kills it at a seeded sample of the points, and around each effect; `--every-point` at all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from rehearsal.people import NotAcknowledged
from rehearsal.slack.errors import SlackError
from rehearsal.waiting import NotSeen, until
from tests.story.conftest import logged_errors
from tests.story.crash_judge import canonical, differences, in_order
from tests.story.held_world import HOLD, HeldIncident, HeldWorld, held_world

pytestmark = [pytest.mark.crash, pytest.mark.timeout(7200)]
MORE = 3  # how many points a sample has beside those that matter most
EFFECT = r"(before|after) effect: test\.drop_file"
ANSWER = r"(before|after) record: dr_inbox\(submit\)|after record: .*dr_approvals"  # with the name that the approver typed
QUESTION = (
    r"(before|after) record: .*dr_timeline\(stage2-1:(ask|evidence1|on)\)"
    r"|before record: operation_outputs\((ask|decide) stage2-1\)|after record: .*dr_timeline\(main end\)"
)
PARTS = {
    "effect": re.compile(EFFECT),
    "answer": re.compile(ANSWER),
    "question": re.compile(QUESTION),
    "other": re.compile(f"(?!{EFFECT}|{ANSWER}|{QUESTION})"),
}
VARIES = re.compile(r"(before|after) record: (dr_outbox\(\w+\)( \+ )?)+ #")  # how often a card is edited is a matter of time
PATIENCE = 15.0


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    async with held_world(work_dirs / "held-crashes", cache) as world:
        yield world


class Trial:
    """One run with one kill, or none. `go` returns everything that was wrong."""

    def __init__(self, world: HeldWorld, point: str = "") -> None:
        self.world = world
        self.point = point
        self.killed = False
        self.incident = HeldIncident(world)
        self.thread: list[str] = []

    async def go(self, expected: list[str] | None = None) -> list[str]:
        """Ask, approve, answer Yes and see the end, whatever becomes of the bot."""
        incident = self.incident
        incident.control()
        self.world.journal.clear()
        (self.world.work_dir / "effects.txt").unlink(missing_ok=True)
        await self.world.processes.stop("bot", grace=10)
        log, starts, known = len(self.world.bot_log.read_text()), self.world.starts, incident.ids()
        orders = {"CRASH_AT": self.point} if self.point else {"CRASH_LIST": str(self.listed)}
        keeper = asyncio.create_task(self._keep(await self.world.start_crashing_bot(orders)))
        try:
            await until(lambda: self.world.starts > starts, 60, "a serving bot")
            run = await self._carry_out(known)
            if self.point:
                await until(lambda: self.killed and self.world.starts >= starts + 2, 60, f"a kill {self.point}")
            await incident.quiet(1.0)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self.thread = in_order([canonical(message["text"], run) for message in incident.replies(run)])
        return self._wrong(expected, self.world.bot_log.read_text()[log:])

    @property
    def listed(self) -> Path:
        return self.world.work_dir / "points.txt"

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        self.killed = await process.wait() == -SIGKILL
        await self.world.start_bot()

    async def _carry_out(self, known: list[str]) -> str:
        incident = self.incident

        def new() -> list[str]:
            return [run for run in incident.open_plans() if run not in known]

        await self._insist(lambda: incident.type("alice", HOLD), new)
        run = new()[0]
        for person, button in (("bob", "dr_approve"), ("carol", "dr_hold_yes")):
            await until(lambda button=button: button in incident.buttons(run), 60, f"{button} of {run}")
            await self._insist(
                lambda person=person, button=button: incident.click(person, run, button),
                lambda button=button: button not in incident.buttons(run),
            )
        assert await incident.ended(run, 90) == "Done"
        return run

    async def _insist(self, act: Callable[[], Awaitable[Any]], seen: Callable[[], Any]) -> None:
        for _ in range(4):
            with contextlib.suppress(NotAcknowledged, NotSeen, SlackError):  # the form of an approval may never come
                await act()
            with contextlib.suppress(NotSeen):
                await until(seen, PATIENCE)
                return
        raise NotSeen("Nothing came of it after four tries.")

    def _wrong(self, expected: list[str] | None, log: str) -> list[str]:
        done = self.incident.done
        wrong = [] if expected is None else differences(expected, self.thread)
        wrong += [f"{effect} happened {done.count(effect)} times" for effect in ("make", "drop") if done.count(effect) != 1]
        if self.incident.effects() != [("UpdateService", 1)]:
            wrong.append(f"effects were {self.incident.effects()}")
        if (self.world.work_dir / "temporary").exists():
            wrong.append("the temporary file is left behind")
        return [f"{self.point}: {line}" for line in wrong + [f"logged: {error}" for error in logged_errors(log)]]


@pytest.fixture(scope="module")
async def without_kill(world: HeldWorld) -> Trial:
    """How a run goes if nothing is killed."""
    trial = Trial(world)
    assert await trial.go() == []
    return trial


@pytest.mark.parametrize("part", PARTS)
async def test_a_killed_bot_asks_once_and_does_each_thing_once(
    world: HeldWorld, without_kill: Trial, part: str, request: pytest.FixtureRequest
) -> None:
    points = [point for point in without_kill.listed.read_text().splitlines() if not VARIES.match(point)]
    chosen = [point for point in points if PARTS[part].match(point)]
    assert chosen, points
    if part == "other" and not request.config.getoption("--every-point"):
        chosen = random.Random("held").sample(chosen, MORE)
    wrong: list[str] = []
    for point in chosen:
        trial = Trial(world, point)
        wrong += await trial.go(without_kill.thread)
        wrong += [] if trial.killed else [f"{point}: not killed"]
    assert wrong == []
