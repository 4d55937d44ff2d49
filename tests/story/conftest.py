"""What the stories share: a rehearsal per module, and an incident channel in which people act."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal.people import People
from rehearsal.slack import payloads
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal

SPEED = 600.0
CALM = 0.25  # seconds between the witness's requests in a story that measures no outage
RESTART = "control-plane restart"
WEST = "us-west-2"
UNFINISHED = {"dr_stop", "dr_retry", "dr_abort", "dr_hold_no"}  # the buttons of a run that isn't over
Json = dict[str, Any]


def calm_options(*, speed: float = SPEED, **more: Any) -> Options:
    """A rehearsal on any port, which spares CPU time: its witness asks less often, and its bot draws no reports."""
    return Options(**{"port": 0, "speed": speed, "witness_every": CALM, "reports": False} | more)


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rehearsal]:
    """One rehearsal with the bot for the whole module."""
    work_dir = work_dirs / request.module.__name__.rpartition(".")[2]
    async with Rehearsal(calm_options(work_dir=work_dir, cache=cache)) as world:
        await world.witness.healthy()
        yield world


@pytest.fixture
async def incident(world: Rehearsal) -> AsyncIterator[Incident]:
    """The incident channel of a rehearsal without faults and without runs, before and after the test."""
    incident = Incident(world)
    world.journal.clear()
    yield incident
    await incident.calm_down()


class Incident(People):
    """The incident channel, together with the rehearsal behind it."""

    def __init__(self, world: Rehearsal) -> None:
        super().__init__(world.workspace)
        self.world = world

    # What people do ---------------------------------------------------------------------------------------------------

    async def plan(self, person: str, text: str = RESTART, timeout: float = 10.0) -> str:
        """Ask for a plan and wait until it can be approved; returns its id."""
        return await super().plan(person, text, timeout)

    async def approved(self, requester: str = "alice", approver: str = "bob", text: str = RESTART) -> str:
        """Ask for a plan and approve it; returns the run's id without waiting for anything else."""
        run = await self.plan(requester, text)
        await self.click(approver, run, "dr_approve")
        return run

    async def refused(self, person: str, run: str, action: str, value: str | None = None) -> str:
        """Press a button that must be refused; returns the sentence that only this person sees."""
        async with self.told(person) as sentences:
            await self.click(person, run, action, value)
        return sentences[0]

    async def stale_click(self, person: str, message: Json, action: str, value: str | None = None) -> None:
        """Press a button of a card as it was a while ago, as on a screen that wasn't refreshed."""
        element = next(e for b in message["blocks"] for e in b.get("elements", []) if e.get("action_id") == action)
        pressed = {k: element[k] for k in ("action_id", "type", "text", "value") if k in element}
        pressed |= {"block_id": "stale", "action_ts": self.slack.store.next_ts()} | ({"value": value} if value else {})
        who, where = self.slack.person(person), self.slack.channel("incident")
        trigger = self.slack.modals.trigger(who.id)
        body = payloads.block_actions(who, where, message, pressed, trigger_id=trigger, response_url="http://127.0.0.1:1/")
        ack = await self.slack.sockets.deliver("interactive", body, accepts_response=False)
        assert ack.acked, ack

    async def stale_refused(self, person: str, message: Json, action: str) -> str:
        """The same, if it must be refused; returns the sentence."""
        async with self.told(person) as sentences:
            await self.stale_click(person, message, action)
        return sentences[0]

    @asynccontextmanager
    async def told(self, person: str, count: int = 1) -> AsyncIterator[list[str]]:
        """Collect the sentences that only this person sees from here on, and wait until they answer `count` tries."""
        before = len(self.slack.ephemerals(person))
        sentences: list[str] = []
        yield sentences
        await until(lambda: sum(map(tries, self.slack.ephemerals(person)[before:])) >= count, what=f"{count} answers to {person}")
        sentences += [html.unescape(m["text"]) for m in self.slack.ephemerals(person)[before:]]

    def photo(self, run: str) -> Json:
        """A copy of the card as it is now."""
        return copy.deepcopy(self.card(run))

    # What was done ----------------------------------------------------------------------------------------------------

    def effects(self) -> list[tuple[str, int]]:
        """The changing calls that took effect, and how often."""
        return [(e["operation"], e["count"]) for e in self.world.journal.effects(source="bot")]

    async def dr(self, *words: str, without: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Run the `dr` program beside the bot, without some of its variables; returns exit code, stdout and stderr."""
        return await self.world.dr(*words, without=without)

    async def story(self, run: str) -> Json:
        """What `dr show RUN --json` prints."""
        return await self.world.show(run)

    # The rehearsal ----------------------------------------------------------------------------------------------------

    async def deploy(self, revision: int) -> None:
        """Somebody else deploys a revision of the control plane."""
        await self.world.ecs.deploy(revision)

    async def calm_down(self) -> None:
        """End all faults, runs and plans, and restore control-plane:7."""
        await self.world.faults.put("heal")
        if self.world.processes.pid("bot") is None:
            await self.world.start_bot()
        await self.connected()
        for run in self.ids():
            if UNFINISHED & {*self.buttons(run)}:
                await self.type("carol", f"stop {run}")
                await self.ended(run)
            if "dr_reject" in self.buttons(run):  # the same plan would not be offered a second time
                await self.click("carol", run, "dr_reject")
                await until(lambda run=run: "dr_reject" not in self.buttons(run), 20)
        await self.world.restore()
        await self.quiet()
        self.world.journal.clear()

    async def connected(self) -> None:
        """Wait until the bot is connected to Slack."""
        await until(lambda: self.slack.sockets.open, 20, "a connected bot")

    @asynccontextmanager
    async def settings(self, old: str, new: str) -> AsyncIterator[None]:
        """The bot with another dr.toml, and with the old one again at the end."""
        before = self.world.config.read_text()
        assert old in before
        await self._restart_with(before.replace(old, new))
        yield
        await self._restart_with(before)

    async def _restart_with(self, text: str) -> None:
        await self.world.processes.stop("bot", grace=10)
        self.world.config.write_text(text)
        await self.world.start_bot()
        await self.connected()


def tries(message: Json) -> int:
    """How many clicks or commands of a person this one message answers."""
    counted = re.search(r"You tried (\d+) times", message["text"])
    return int(counted[1]) if counted else 1


def logged_errors(log: str) -> list[Json]:
    """The lines of the bot's log that report an error."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] in ("error", "critical")]
