"""A rehearsal in which the bot is killed at one point after another, while people go on with their recovery."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psycopg

from rehearsal.drills.breaking import break_it
from rehearsal.drills.catalogue import DRILLS
from rehearsal.drills.lost import stated_loss
from rehearsal.people import ENDS, UNDECIDED, Answer, NotAcknowledged, People
from rehearsal.slack.errors import SlackError
from rehearsal.waiting import NotSeen, until
from rehearsal.world import Rehearsal
from tests.story.conftest import calm_options
from tests.story.crash_courses import Course

ROOT = Path(__file__).parents[2]
SPEED = 300.0  # the deadline of a deployment, 600 s of AWS, leaves 2 s for real processes to start
HUNG_SECONDS = 0.5  # the balancer gives up a hung target sooner than in the demo, so that many points take little time
END_SECONDS = 120.0  # to a question or the end of a run: a restore takes AWS a quarter of an hour, a snapshot about as long
PATIENCE = 5.0  # seconds that people wait after a restart before they type or click again
CAST = {"requester": "alice", "approver": "bob", "colleague": "carol"}
UNSENT = (  # what the bot still has to do, in its own tables
    "SELECT count(*) FROM dr_outbox WHERE sent_rev < rev OR (pin_wanted AND NOT pinned)",
    "SELECT count(*) FROM dr_inbox WHERE NOT handled",
    "SELECT count(*) FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')",
)


@dataclass(kw_only=True)
class Trial:
    """One course with one kill: at which point, whether it happened, what was said, and everything that was wrong."""

    course: str
    point: str = ""
    killed: bool = False
    seconds: float = 0.0
    repeats: list[str] = field(default_factory=list)
    thread: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "WRONG" if self.wrong else "right" if self.killed or not self.point else "NOT KILLED"
        more = " | ".join([*self.repeats, *self.wrong])
        return f"{verdict:11} {self.seconds:5.1f} s  {self.course}: {self.point or 'no kill'}  {more}".rstrip()


class Lane:
    """One rehearsal for trial after trial. It's replaced after a trial that went wrong."""

    def __init__(self, work_dir: Path, cache: Path, *, two_regions: bool = False) -> None:
        self._two_regions = two_regions
        self._work_dir = work_dir
        self._cache = cache
        self._number = 0
        self._world: Rehearsal | None = None
        self._patience = 0.0  # the balancer's own, in seconds

    async def world(self) -> Rehearsal:
        """A rehearsal without faults and without a bot."""
        if self._world is None:
            self._number += 1
            work_dir = self._work_dir / str(self._number)
            two = self._two_regions
            world = Rehearsal(calm_options(work_dir=work_dir, cache=self._cache, speed=SPEED, with_bot=False, two_regions=two))
            self._world = await world.__aenter__()
            self._patience = world.balancer.seconds
        return self._world

    async def close(self) -> None:
        """End the rehearsal."""
        if self._world is not None:
            world, self._world = self._world, None
            await world.__aexit__()

    async def restore(self, world: Rehearsal) -> None:
        """Make the rehearsal as it was before the trial, or replace it if that doesn't work."""
        async with asyncio.timeout(40):
            await world.restore()
        world.balancer.seconds = self._patience
        for card in world.workspace.messages("incident"):
            card["pinned"] = False  # a channel takes a hundred pins, and there are more points than that
        forget_bot(world)


class Recovery:
    """What people do in a trial: ask, approve, decide, and repeat what wasn't acknowledged. A dead bot is restarted."""

    def __init__(self, world: Rehearsal, course: Course, trial: Trial) -> None:
        self.world = world
        self.course = course
        self.drill = course.drill
        self.trial = trial
        self.run = ""
        self.command = self.drill.command
        self.sessions: set[int] = set()
        self.stated: float | None = None  # seconds of commits that may be lost, by the button
        self.approved_at = 0.0
        self.statements_before = len(world.database.statements())
        self.ended_before = ended_sessions(world)
        self.people = People(world.workspace, since=world.workspace.store.next_ts())
        self._listed = world.work_dir / "points.txt"
        self._keeper: asyncio.Task[None] | None = None

    async def go(self) -> None:
        """Fault, command, answers, end; returns once the bot has nothing left to say."""
        await self.world.witness.healthy()
        if self.drill.after:
            await self._go_before()
        await self._start_crashing_bot()
        await self._break()
        await until(self._serving, 30, "a serving bot")
        await self._ask()
        if self.course.deployed:
            await self.world.ecs.deploy(self.course.deployed)
        for answer in self.drill.answers:
            await self._answer(answer)
        await until(self._over, END_SECONDS, lambda: f"the end of the run: {self.people.card(self.run)['text']}")
        await self._quiet()
        self.trial.points = self._listed.read_text().splitlines() if self._listed.exists() else []

    async def _go_before(self) -> None:
        """Go through the drill that this one comes after, with a bot that nobody kills. It doesn't count any more."""
        name = self.drill.after[-1]
        first = Recovery(self.world, Course(drill=DRILLS[name]), Trial(course=name))
        try:
            await first.go()
        finally:
            await first.end_bot()
        await self.world.witness.healthy()
        self.world.witness.forget_lost()
        self.world.journal.clear()
        forget_bot(self.world)
        self.people = People(self.world.workspace, since=self.world.workspace.store.next_ts())

    async def end_bot(self) -> None:
        """End the bot, whichever it is by now."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.world.kill_bot()

    def log(self) -> str:
        """What the bot logged, before and after it was killed."""
        return self.world.bot_log.read_text() if self.world.bot_log.exists() else ""

    async def _break(self) -> None:
        if self.course.refused:
            self.world.aws_faults.put("access_denied", operation=self.course.refused, times=None)
        if self.course.lost:
            self.world.aws_faults.put("after_drop", operation=self.course.lost)
        if self.drill.shows == "nothing":  # after many trials production has outgrown the snapshot of its first day
            await self.world.rds.take_automated_snapshot()
        if not self.drill.fault and self.drill.shows != "region":
            return
        if self.drill.fault:  # not without one, or a busy machine passes for a service that is down
            self.world.balancer.seconds = HUNG_SECONDS
        self.command = await break_it(self.world, self.drill)
        self.sessions = await sessions_of(self.world, "nightly-report") if "connections" in self.drill.name else set()

    # The bot ----------------------------------------------------------------------------------------------------------

    async def _start_crashing_bot(self) -> None:
        self._listed.unlink(missing_ok=True)
        orders = {"CRASH_AT": self.trial.point} if self.trial.point else {"CRASH_LIST": str(self._listed)}
        argv = [sys.executable, "-m", "tests.story.crashing_bot", "serve", "--config", str(self.world.config)]
        environment = self.world.bot_environment | orders
        process = await self.world.processes.start("bot", argv, env=environment, stdout=self.world.bot_log, cwd=ROOT)
        self._keeper = asyncio.create_task(self._keep(process))

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        """Start the plain bot once the crashing one is dead, as a service manager does."""
        code = await process.wait()
        self.trial.killed = code == -SIGKILL
        await self.world.start_bot()

    def _serving(self) -> bool:
        return self.log().count('"event": "serving"') >= (2 if self.trial.killed else 1)

    # People -----------------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        for _ in range(3):
            acknowledged = await self._is_acknowledged(self.people.type(CAST["requester"], self.command))
            if await self._shows(lambda: bool(self.people.open_plans()), acknowledged):
                self.run = self.people.open_plans()[0]
                return
            self.trial.repeats.append("typed again")
        raise NotSeen("There was no plan after three commands.")

    async def _answer(self, answer: Answer) -> None:
        await self.people.asked(answer, self.run, END_SECONDS)
        if answer.when == UNDECIDED:
            self.world.aws_faults.clear()
        self.stated = self.stated or stated_loss(self.people.card(self.run))
        self.approved_at = self.approved_at or time.time()
        for _ in range(3):
            acknowledged = not self._asks(answer) or await self._is_acknowledged(
                self.people.give(answer, CAST[answer.by], self.run)
            )
            if await self._shows(lambda: not self._asks(answer), acknowledged):
                return
            self.trial.repeats.append("answered again")
        raise NotSeen(f"The answer to {answer.when} was not accepted after three tries.")

    def _asks(self, answer: Answer) -> bool:
        return answer.when in self.people.buttons(self.run)

    async def _is_acknowledged(self, act: Any) -> bool:
        """Do it; whether the bot acknowledged it. The button may be gone by now, and the form may never come."""
        try:
            await act
        except (NotAcknowledged, NotSeen, SlackError):
            return False
        return True

    async def _shows(self, seen: Callable[[], bool], acknowledged: bool) -> bool:
        """Whether something shows. People wait long after an acknowledgement, and otherwise only a while after the restart."""
        if not acknowledged:
            await until(lambda: seen() or (self.trial.killed and self._serving()), 30, "a bot that serves again")
        with contextlib.suppress(NotSeen):
            return await until(seen, 30 if acknowledged else PATIENCE)
        return False

    def _over(self) -> bool:
        title, text = self.people.title(self.run), self.people.card(self.run)["text"]
        if title in ENDS and title != self.drill.end:
            raise NotSeen(f"The run did not end as {self.drill.end}: {text} | the last card: {self.people.messages()[-1]}")
        if UNDECIDED in self.people.buttons(self.run):
            raise NotSeen(f"The run waits for a decision: {text}")
        return title == self.drill.end

    async def _quiet(self) -> None:
        """Wait until the bot has nothing left to say, and the kill, which may come after the end, has happened or won't."""
        quiet_since = time.monotonic()
        deadline = quiet_since + 30
        while time.monotonic() - quiet_since < (0.3 if self.trial.killed and self._serving() else 1.5):
            if time.monotonic() > deadline:
                raise NotSeen("The bot still had something to do after 30 s.")
            quiet_since = quiet_since if self._nothing_left() else time.monotonic()
            await asyncio.sleep(0.05)

    def _nothing_left(self) -> bool:
        if self.trial.killed and not self._serving():
            return False
        with contextlib.closing(sqlite3.connect(self.world.work_dir / "state.sqlite", timeout=5)) as state:
            return not any(state.execute(question).fetchone()[0] for question in UNSENT)


def forget_bot(world: Rehearsal) -> None:
    """Remove the state and the log of a bot that has ended: the next one starts over."""
    for old in (*world.work_dir.glob("state.sqlite*"), world.bot_log):
        old.unlink(missing_ok=True)


async def sessions_of(world: Rehearsal, application: str) -> set[int]:
    """The server processes of an application's sessions."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    async with await psycopg.AsyncConnection.connect(world.database.dsn("postgres")) as connection:
        return {row[0] for row in await (await connection.execute(query, [application])).fetchall()}


def ended_sessions(world: Rehearsal) -> Counter[tuple[int, str]]:
    """Process and application of every session that a statement ended, from the servers' own logs.

    Process ids are used again, and a restarted server ends sessions too: compare with an earlier count.
    """
    ended = re.compile(r"\[(\d+)\] [^@ ]+@[^/ ]+/(\S+) 57P01 FATAL:  terminating connection due to administrator command")
    return Counter((int(pid), application) for pid, application in ended.findall(world.database.log()))
