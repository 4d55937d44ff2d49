"""Bots as processes beside a rehearsal, what each of them sends, and people who do not give up: for the scripts of faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any

from aiohttp import web

from rehearsal import settings
from rehearsal.drills.catalogue import DRILLS, Drill
from rehearsal.people import NotAcknowledged, told
from rehearsal.slack.errors import SlackError
from rehearsal.slack.server import SlackServer
from rehearsal.waiting import NotSeen, until
from rehearsal.world import Rehearsal
from tests.story.conftest import SPEED, Incident, logged_errors

EFFECT = {"control-plane-down": ("UpdateService", 1), "database-failover": ("RebootDBInstance", 1)}
MOMENTS = {"control-plane-down": 2.0, "database-failover": 5.0}  # seconds after an approval, or a start, at which a fault begins
FOREIGN = ("slack_bolt", "slack_sdk")  # what these log while Slack is away is theirs
LEAD = re.compile(r"\blead/(\d+)")
PATIENCE = 15.0  # seconds until somebody types or clicks again: a second command supersedes the first one's plan
QUESTIONS = ("auth.test", "apps.connections.open")  # what a standby asks, too
__all__ = ["EFFECT", "MOMENTS", "SPEED", "BotProcess", "Persistent", "Sends", "calm_down", "judge"]


class BotProcess:
    """A bot's process by name, with a settings file and a log of its own."""

    def __init__(self, world: Rehearsal, name: str, state_url: str = "") -> None:
        self.world = world
        self.name = name
        self.log = world.work_dir / f"{name}.log"
        self.config = world.work_dir / f"{name}.toml"
        text = world.config.read_text()
        self.config.write_text(re.sub(r'(\[state\]\nurl = )".*"', rf'\1"{state_url}"', text) if state_url else text)
        self._process: asyncio.subprocess.Process | None = None
        self._began = 0

    async def start(self) -> None:
        """Start the process."""
        self._began = len(self.says().encode())
        argv = settings.bot_command(self.config, "serve")
        self._process = await self.world.processes.start(
            self.name, argv, env=self.world.bot_environment, stdout=self.log, cwd=self.world.work_dir
        )

    @property
    def ready(self) -> bool:
        """Whether the process has led or stood by since it was started."""
        said = self.says(self._began)
        return "standing_by" in said or '"serving"' in said

    @property
    def lives(self) -> bool:
        """Whether the process runs, frozen or not."""
        return self._process is not None and self._process.returncode is None

    async def terminate(self, seconds: float = 15.0) -> tuple[float, int]:
        """Send SIGTERM and wait; how long the process took to end, and its exit code."""
        assert self._process is not None
        began = time.monotonic()
        await self.world.processes.signal(self.name, SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), seconds)
        return time.monotonic() - began, code

    async def kill(self) -> None:
        """Kill the process."""
        await self.world.processes.kill(self.name)
        self._process = None

    def says(self, start: int = 0) -> str:
        """The log from a byte on."""
        return self.log.read_bytes()[start:].decode(errors="replace") if self.log.exists() else ""


def serves(log: str) -> bool:
    """Whether the bot of this log leads, and is through with all that this begins with."""
    return log.rfind('"event": "serving"') > log.rfind('"event": "leading"') >= 0


@dataclass(frozen=True, kw_only=True)
class Send:
    """One call that reached Slack or AWS: when, from a leader of which epoch, and what."""

    at: float
    lead: int
    what: str


class Sends:
    """Who sent what, as it arrived: every call of a leader carries its epoch in its user agent."""

    def __init__(self, world: Rehearsal) -> None:
        self.sends: list[Send] = []
        self._watch_aws(world)

    def two_at_once(self) -> list[str]:
        """The calls that arrived from an earlier leader after one of a later one."""
        newest, wrong = 0, []
        for send in self.sends:
            if send.lead < newest:
                wrong.append(f"{send.what} of leader {send.lead} arrived when leader {newest} acted already")
            newest = max(newest, send.lead)
        return wrong

    def note(self, user_agent: str, what: str) -> None:
        """Write a call down."""
        if (found := LEAD.search(user_agent)) is not None:
            self.sends.append(Send(at=time.monotonic(), lead=int(found[1]), what=what))

    def _watch_aws(self, world: Rehearsal) -> None:
        record = world.journal.record

        def noting(**call: Any) -> None:
            self.note(call["user_agent"], call["operation"])
            record(**call)

        world.journal.record = noting  # type: ignore[method-assign]

    @contextlib.contextmanager
    def watching_slack(self) -> Iterator[None]:
        """Note every call to Slack as long as the block lasts, before Slack does anything with it."""
        answer = SlackServer.api

        async def noting(server: SlackServer, request: web.Request) -> web.StreamResponse:
            self.note(request.headers.get("User-Agent", ""), request.match_info["method"])
            return await answer(server, request)

        SlackServer.api = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            SlackServer.api = answer  # type: ignore[method-assign]


@dataclass(kw_only=True)
class Persistent:
    """People on call who type and click again until they see what they wait for."""

    incident: Incident
    drill: Drill
    chance: random.Random
    known: set[str] = field(default_factory=set)
    waited: int = 0  # how often a run waited for a person

    def __post_init__(self) -> None:
        self.known = set(self.incident.ids())

    def runs(self) -> list[str]:
        """The plans and runs of this incident."""
        return list(dict.fromkeys(run for run in self.incident.ids() if run not in self.known))

    def begun(self) -> list[str]:
        """Those that were approved."""
        return [run for run in self.runs() if "dr_approve" not in self.incident.buttons(run) and not self._only_planned(run)]

    def offered(self) -> list[str]:
        """Those that can be approved."""
        return [run for run in self.runs() if "dr_approve" in self.incident.buttons(run)]

    async def approve(self, seconds: float = 90.0) -> str:
        """Ask and approve until a run begins; returns its id."""
        ends = time.monotonic() + seconds
        while not self.begun():
            if time.monotonic() > ends:
                raise AssertionError(f"There was no run after {seconds:g} s: {[self.incident.title(r) for r in self.runs()]}")
            if open_plans := self.offered():
                await self._click("bob", open_plans[-1], "dr_approve")
                await self._look(self.begun, PATIENCE)
            else:
                with contextlib.suppress(NotAcknowledged):
                    await self.incident.type("alice", self.drill.command)
                await self._look(lambda: self.offered() or self.begun(), PATIENCE)
        return self.begun()[0]

    async def end(self, run: str, seconds: float = 90.0) -> None:
        """Wait until the run has ended and all of it is told; who is asked, retries."""
        ends = time.monotonic() + seconds
        while not self.incident.is_over(run):
            if time.monotonic() > ends:
                raise AssertionError(f"{run} did not end: {self.incident.title(run)}: {self.incident.thread(run)}")
            if "dr_retry" in self.incident.buttons(run):
                self.waited += 1
                await self._click("carol", run, "dr_retry")
                await self._look(lambda: "dr_retry" not in self.incident.buttons(run), 5.0)
            await asyncio.sleep(0.05)
        await self.incident.quiet()

    async def _click(self, person: str, run: str, action: str) -> None:
        with contextlib.suppress(NotAcknowledged, SlackError, LookupError):  # the card has changed since somebody looked
            await self.incident.click(person, run, action)

    async def _look(self, seen: Any, seconds: float) -> None:
        with contextlib.suppress(NotSeen):
            await until(seen, seconds, every=0.05)

    def _only_planned(self, run: str) -> bool:
        return self.incident.title(run).startswith("Plan ")


def judge(incident: Incident, people: Persistent, run: str, log: str, story: dict[str, Any]) -> list[str]:
    """Everything that does not hold after an incident, as sentences."""
    wrong = []
    had = incident.effects()
    if had != [EFFECT[people.drill.name]]:
        wrong.append(f"the effects were {had}")
    thread, recorded = incident.thread(run), told(story["timeline"])
    if thread != recorded:
        wrong.append(f"the thread is {thread}, and the timeline {recorded}")
    if incident.ids().count(run) != 1:
        wrong.append(f"the run has {incident.ids().count(run)} cards")
    outcomes = {step["outcome"] for step in story["steps"]}
    if incident.title(run) != "Done" or not outcomes <= {"done", "already done"}:
        wrong.append(f"the run ended as {incident.title(run)} with {outcomes}: {told}")
    if people.waited:
        wrong.append(f"the run waited for a person: {told}")
    return [*wrong, *errors_in(log)]


def errors_in(log: str) -> list[str]:
    """What a bot logged as an error of its own, and tracebacks that are no log line."""
    wrong = [f"logged as an error: {json.dumps(line)[:1200]}" for line in logged_errors(log) if _own(line)]
    if "Traceback" in "".join(line for line in log.splitlines() if not line.startswith("{")):
        wrong.append(f"a traceback was printed: {log[-1500:]}")
    return wrong


def _own(line: dict[str, Any]) -> bool:
    return not str(line["logger"]).startswith(FOREIGN)


async def calm_down(world: Rehearsal) -> None:
    """The rehearsal as it was before the incident."""
    await world.restore()
    for card in world.workspace.messages("incident"):
        card["pinned"] = False  # a channel holds a hundred pins


def drill_for(chance: random.Random) -> Drill:
    """One of the two drills whose effects can be counted."""
    return DRILLS[chance.choice(sorted(EFFECT))]


def folder(path: Path) -> Path:
    """A folder that the database's account may enter."""
    path.chmod(0o755)
    return path
