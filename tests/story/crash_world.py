"""A world in which the bot is killed at one point after another, and what must hold after each of them."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, TypeVar

import psycopg

from rehearsal import settings
from rehearsal.aws.ecs.scheduler import COMPLETED, Rules
from rehearsal.drills.run import DRILLS, ENDS
from rehearsal.world import Options, World
from tests.story.conftest import logged_errors

ROOT = Path(__file__).parents[2]
SPEED = 300.0  # the deadline of a deployment, 600 s of AWS, leaves 2 s for real processes to start
BALANCER_SECONDS = 0.5  # a target that hangs is given up sooner than in the demo, so that many points fit in little time
PATIENCE = 5.0  # seconds that a person waits after a restart before typing or clicking again
ASKED = r"after record: .*dr_timeline\(stage1-1:ask\)"
CLICKED = r"before record: dr_inbox\(click\)"
VOLATILE = (  # what differs from run to run, and the word put in its place
    (r"digest [0-9a-f]{12}", "digest D"),
    (r"ecs-svc/\d+", "ecs-svc/N"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"us-west-2[ab]", "ZONE"),
    (r"\d\d:\d\d:\d\d UTC", "MOMENT"),
    (r"\b(\d+) of \1 sessions", "all sessions"),
    (r"\b\d+ of \d+ connections", "N of M connections"),
    (r"\b\d+(\.\d+)? ?(s|ms|min|%)(?!\w)", "N \\2"),
)
Message = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Course:
    """What people do in a passage and what comes of it: a drill, a run that waits for a person, or one that never begins.

    The bot is killed at the points from the one that matches `since` on; what comes before it is the same as in a drill.
    """

    name: str
    command: str = "control-plane restart"
    fault: str = ""  # of the world, which the witness sees; without one AWS refuses the change until the decision
    pause: float = 0.0
    changed: bool = False  # somebody else deploys between the plan and its approval
    decision: str = ""  # the button that is pressed, or "stop" for the command
    since: str = ""
    end: str = "Done"
    effects: Mapping[str, int] = field(default_factory=lambda: {"UpdateService": 1})

    @classmethod
    def of(cls, drill: str, effects: Mapping[str, int]) -> Course:
        """A drill as it is."""
        made = DRILLS[drill]
        return cls(name=drill, command=made.command, fault=made.fault, pause=made.pause, effects=effects)


COURSES = {
    course.name: course
    for course in (
        Course.of("control-plane-down", {"UpdateService": 1}),
        Course.of("bad-deploy", {"UpdateService": 1}),
        Course.of("database-failover", {"RebootDBInstance": 1}),
        Course.of("too-many-connections", {}),
        Course(name="retry", decision="dr_retry", since=ASKED),
        Course(name="skip", decision="dr_skip", since=ASKED, effects={}),
        Course(name="fallback", decision="dr_fallback", since=ASKED, end="Failed", effects={}),
        Course(name="abort", decision="dr_abort", since=ASKED, end="Aborted", effects={}),
        Course(name="stop", decision="stop", since=ASKED, end="Aborted", effects={}),
        Course(name="changed-world", changed=True, since=CLICKED, end="Not started", effects={}),
    )
}


class NotSeen(Exception):
    """Something did not come in time; the message says what."""


@dataclass(kw_only=True)
class Passage:
    """One course with one crash: where, whether it came, what was told, and everything that was not right."""

    course: str
    point: str
    reached: bool = False
    seconds: float = 0.0
    again: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = "WRONG" if self.wrong else "right" if self.reached or not self.point else "not reached"
        more = " | ".join([*self.again, *self.wrong])
        return f"{how:11} {self.seconds:5.1f} s  {self.course}: {self.point or 'no crash'}  {more}".rstrip()


class Lane:
    """One rehearsal that is used for point after point; a new one is started where a passage went wrong."""

    def __init__(self, room: Path, cache: Path) -> None:
        self._room = room
        self._cache = cache
        self._number = 0
        self._world: World | None = None

    async def world(self) -> World:
        """A world without faults and without a bot."""
        if self._world is None:
            self._number += 1
            room = self._room / str(self._number)
            world = World(Options(room=room, cache=self._cache, port=0, speed=SPEED, with_bot=False))
            self._world = await world.__aenter__()
            world.balancer.seconds = BALANCER_SECONDS
        return self._world

    async def close(self) -> None:
        """End the world."""
        if self._world is not None:
            world, self._world = self._world, None
            await world.__aexit__(None, None, None)

    async def pass_through(self, course: Course, point: str, expected: list[str] | None) -> Passage:
        """Go through a course, killing the bot at the point; with no `expected` timeline it is the measure itself."""
        passage = Passage(course=course.name, point=point)
        began = time.monotonic()
        world = await self.world()
        incident = Incident(world, course, passage)
        try:
            await incident.run()
            passage.wrong += await Judge(incident).judge(expected)
        except Exception as error:  # whatever it is belongs to this point, and the next point gets a new world
            said = [message["text"] for message in incident.thread()]
            passage.wrong.append(f"{error!r} | the thread: {said} | the bot's log: {incident.log()}")
        finally:
            await incident.end_bot()
        passage.seconds = time.monotonic() - began
        try:
            await (self.close() if passage.wrong else calm_down(world))
        except Exception as error:
            passage.again.append(f"the world is replaced: {error!r}")
            await self.close()
        return passage


async def calm_down(world: World) -> None:
    """No fault, every part healthy, revision :7 everywhere, and nothing pinned or remembered of the passage."""
    async with asyncio.timeout(40):
        await world.rds.settled()
        await world.faults.put("heal")
        await world.database.redundant()
        scheduler = world.ecs.scheduler
        scheduler.rules = Rules()
        if scheduler.primary.revision.number != 7 or any(task.health != "HEALTHY" for task in scheduler.of(scheduler.primary)):
            await deploy(world, 7)
        await deployed(world)
        await world.witness.healthy(20)
    for card in world.workspace.messages("incident"):
        card["pinned"] = False  # a channel holds a hundred pins, and there are more points than that
    world.journal.clear()
    for old in world.room.glob("state.sqlite*"):
        old.unlink()
    (world.room / "bot.log").unlink(missing_ok=True)


async def deploy(world: World, revision: int) -> None:
    """Somebody deploys this revision of the control plane, and it is complete."""
    world.ecs.scheduler.deploy(world.ecs.revisions[revision], settle=0, pull=0)
    await deployed(world)


async def deployed(world: World) -> None:
    """Wait until the newest deployment is complete."""
    await until("the deployment is complete", lambda: world.ecs.scheduler.primary.rollout == COMPLETED, 20)


class Incident:
    """What people do: ask, approve, decide, and repeat what nobody has heard. The bot is restarted whenever it dies."""

    def __init__(self, world: World, course: Course, passage: Passage) -> None:
        self.world = world
        self.course = course
        self.passage = passage
        self.slack = world.workspace
        self.card_ts = ""
        self.sessions: set[int] = set()
        self.statements_before = len(world.database.statements())
        self.ended_before = ended_sessions(world)
        self._known = {message["ts"] for message in self.slack.messages("incident")}
        self._listed = world.room / "points.txt"
        self._keeper: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Fault, command, approval, decision, end; returns when nothing is left to be told."""
        await self.world.witness.healthy()
        await self._start_crashing_bot()
        await self._break()
        await until("the bot serves", self._serving, 30)
        await self._ask()
        if self.course.changed:
            await deploy(self.world, 6)
        await self._approve()
        if self.course.decision:
            await self._decide()
        await until("the run is over", self._over, 60)
        await self._quiet()
        self.passage.passed = self._listed.read_text().splitlines() if self._listed.exists() else []

    async def end_bot(self) -> None:
        """No bot is left."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.world.kill_bot()

    async def _break(self) -> None:
        if not self.course.fault:
            self.world.aws_faults.put("access_denied", operation="UpdateService", times=None)
            return
        await self.world.faults.put(self.course.fault)
        await until("the witness sees the outage", lambda: self.world.witness.report()["state"] == "down", 20)
        self.sessions = await sessions_of(self.world, "nightly-report") if "connections" in self.course.name else set()
        await asyncio.sleep(self.course.pause)

    # The bot ----------------------------------------------------------------------------------------------------------

    async def _start_crashing_bot(self) -> None:
        self._listed.unlink(missing_ok=True)
        told = {"CRASH_AT": self.passage.point} if self.passage.point else {"CRASH_LIST": str(self._listed)}
        argv = [sys.executable, "-m", "tests.story.crashing_bot", "serve", "--config", str(self.world.config)]
        process = await self.world.processes.start(
            "bot", argv, env=self.world.bot_environment | told, stdout=self.world.room / "bot.log", cwd=ROOT
        )
        self._keeper = asyncio.create_task(self._keep(process))

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        """Start the plain bot when the crashing one is dead, as a service manager does."""
        code = await process.wait()
        self.passage.reached = code == -SIGKILL
        await self.world.start_bot()

    def _serving(self) -> bool:
        wanted = 2 if self.passage.reached else 1
        return self.log().count('"event": "serving"') >= wanted

    def log(self) -> str:
        """What the bot logged, before and after it was killed."""
        path = self.world.room / "bot.log"
        return path.read_text() if path.exists() else ""

    def log_errors(self) -> list[str]:
        """The events that the bot logged as errors."""
        return [f"{line['event']}: {str(line.get('exception', ''))[-600:]}" for line in logged_errors(self.log())]

    # People -----------------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        for _ in range(3):
            answer = await self.slack.command("alice", "incident", self.course.command)
            if await self._comes(self._plan_card, answer["acked"]):
                return
            self.passage.again.append("typed again")
        raise NotSeen("There was no plan after three commands.")

    async def _approve(self) -> None:
        card = self._plan_card()
        assert card is not None
        self.card_ts = card["ts"]
        for _ in range(3):
            with contextlib.suppress(Exception):  # the button may have gone since somebody looked
                answer = await self.slack.click("bob", "incident", self.card_ts, "dr_approve")
                if await self._comes(lambda: not self._button(self.card()), answer["acked"]):
                    return
            if not self._button(self.card()):
                return
            self.passage.again.append("clicked again")
        raise NotSeen("The approval was not taken after three clicks.")

    async def _decide(self) -> None:
        await until("the run asks a person", lambda: self._button(self.card(), "dr_retry"), 60)
        self.world.aws_faults.clear()
        for _ in range(3):
            acked = await self._answer() if self._button(self.card(), "dr_retry") else True
            if await self._comes(lambda: not self._button(self.card(), "dr_retry"), acked):
                return
            self.passage.again.append("decided again")
        raise NotSeen("The decision was not taken after three clicks.")

    async def _answer(self) -> bool:
        """Press the button, or type the command; whether the bot acknowledged it."""
        if self.course.decision == "stop":
            typed = await self.slack.command("carol", "incident", f"stop {run_of(self.card())}")
            return bool(typed["acked"])
        self.slack.views("carol").clear()  # a form of an earlier click is put away
        clicked = await self.slack.click("carol", "incident", self.card_ts, self.course.decision)
        if self.course.decision != "dr_skip" or not clicked["acked"]:
            return bool(clicked["acked"])
        with contextlib.suppress(NotSeen):  # the bot may die before it opens the form
            (form,) = await until("the form is open", lambda: self.slack.views("carol"), PATIENCE)
            given = await self.slack.submit("carol", form["id"], {"reason": "It answers again by itself."})
            return bool(given["acked"])
        return False

    async def _comes(self, seen: Callable[[], Any], acked: bool) -> bool:
        """Whether something shows: a person who was acknowledged waits long, another only for a while after the restart."""
        if not acked:
            await until("the bot serves again", lambda: seen() or (self.passage.reached and self._serving()), 30)
        with contextlib.suppress(NotSeen):
            await until("it shows", seen, 30 if acked else PATIENCE)
            return True
        return False

    # What stands in the channel ---------------------------------------------------------------------------------------

    def cards(self) -> list[Message]:
        """The messages of this passage in the channel."""
        return [message for message in self.slack.messages("incident") if message["ts"] not in self._known]

    def card(self) -> Message:
        """The card of the plan that was approved."""
        return next(message for message in self.cards() if message["ts"] == self.card_ts)

    def thread(self) -> list[Message]:
        """The replies under the card."""
        everything = self.slack.messages("incident", self.card_ts) if self.card_ts else []
        return [message for message in everything if message["ts"] != self.card_ts]

    def _plan_card(self) -> Message | None:
        return next((message for message in self.cards() if self._button(message)), None)

    @staticmethod
    def _button(message: Message, action: str = "dr_approve") -> bool:
        return action in json.dumps(message.get("blocks", []))

    def _over(self) -> bool:
        title = self.card()["text"].partition(":")[0]
        if title in ENDS and title != self.course.end:
            last = json.dumps(self.cards()[-1]["blocks"])
            raise NotSeen(f"The run did not end as it should: {self.card()['text']} | the last card: {last}")
        if title == "Waiting for a person" and not self.course.decision:
            raise NotSeen(f"The run waits for a person: {self.card()['text']}")
        return title == self.course.end

    async def _quiet(self) -> None:
        """Wait until nothing is left to be told, and the crash, which may come after the end, has come or will not."""
        calm_since = time.monotonic()
        ends = calm_since + 30
        while time.monotonic() - calm_since < (0.3 if self.passage.reached and self._serving() else 1.5):
            if time.monotonic() > ends:
                raise NotSeen("The outbox was not empty after 30 s.")
            calm_since = calm_since if self._nothing_left() else time.monotonic()
            await asyncio.sleep(0.05)

    def _nothing_left(self) -> bool:
        if self.passage.reached and not self._serving():
            return False
        due = "SELECT count(*) FROM dr_outbox WHERE sent_rev < rev OR (pin_wanted AND NOT pinned)"
        open_deeds = "SELECT count(*) FROM dr_inbox WHERE NOT handled"
        running = "SELECT count(*) FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')"
        with contextlib.closing(sqlite3.connect(self.world.room / "state.sqlite", timeout=5)) as state:
            return not any(state.execute(question).fetchone()[0] for question in (due, open_deeds, running))


class Judge:
    """What must hold after a passage: each effect once, the world well, the timeline whole and told once."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self.world = incident.world
        self.course = incident.course

    async def judge(self, expected: list[str] | None) -> list[str]:
        """Everything that is not right, as sentences."""
        run = run_of(self.incident.card())
        shown = await self._shown(run)
        self.incident.passage.told = told = [canonical(message["text"], run) for message in self.incident.thread()]
        wrong = [*self._effects(), *await self._database_effects(), *self._cards(run), *self._timeline(shown)]
        if expected is not None:
            wrong += differences(in_order(expected), in_order(told))
        wrong += [f"logged as an error: {error}" for error in self.incident.log_errors()]
        return wrong + await self._witness()

    def _effects(self) -> Iterator[str]:
        had = {effect["operation"]: effect["count"] for effect in self.world.journal.effects(source="bot")}
        if had != self.course.effects:
            yield f"effects were {had}"
        sent = self.world.journal.calls(source="bot", changing=True)
        tried = sum(call["fault"] != "access_denied" for call in sent)
        if tried != sum(self.course.effects.values()):
            yield f"{tried} changing calls were sent"

    async def _database_effects(self) -> list[str]:
        statements = self.world.database.statements()[self.incident.statements_before :]
        sent = [line for line in statements if "pg_terminate_backend" in line]
        if not self.incident.sessions:
            return [f"{len(sent)} statements ended sessions"] if sent else []
        wrong = [] if len(sent) == 1 else [f"{len(sent)} statements ended sessions"]
        ended = ended_sessions(self.world) - self.incident.ended_before
        if {pid for pid, _ in ended} & self.incident.sessions != self.incident.sessions or set(ended.values()) != {1}:
            wrong.append(f"of sessions {sorted(self.incident.sessions)} these were ended: {ended}")
        others = {pid: application for pid, application in ended if application != "nightly-report"}
        if others:
            wrong.append(f"other sessions were ended: {others}")
        return wrong

    def _cards(self, run: str) -> Iterator[str]:
        count = sum(run in json.dumps(message.get("blocks", [])) for message in self.incident.cards())
        if count != 1:
            yield f"the run has {count} cards"
        wanted = 2 if self.course.changed or self.course.decision == "dr_fallback" else 1
        if len(self.incident.cards()) != wanted and "typed again" not in self.incident.passage.again:
            yield f"{len(self.incident.cards())} messages stand in the channel"
        if not self.incident.card().get("pinned"):
            yield "the card is not pinned"

    def _timeline(self, shown: dict[str, Any]) -> Iterator[str]:
        outcomes = [step["outcome"] for step in shown["steps"]]
        given_up = self.course.changed or self.course.decision not in ("", "dr_retry")
        proven = given_up or all(outcome in ("done", "already done") for outcome in outcomes)
        if shown["state"] != self.course.end.lower() or not proven:
            yield f"`dr show` says {shown['state']}, {outcomes}"
        texts = [line["text"] for line in shown["timeline"]]
        said = [html.unescape(message["text"]).partition(" ")[2] for message in self.incident.thread()]
        if texts != said:
            yield f"`dr show` tells {texts}, and the thread {said}"

    async def _shown(self, run: str) -> dict[str, Any]:
        argv = settings.bot_command(self.world.config, "show", run, "--json")
        process = await asyncio.create_subprocess_exec(*argv, env=self.world.bot_environment, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return dict(json.loads(out))

    async def _witness(self) -> list[str]:
        try:
            await self.world.witness.healthy(20)
        except TimeoutError:
            return ["the witness still sees an outage"]
        lost = (await self.world.witness.verify())["rows_lost"]
        return [f"{lost} acknowledged rows are lost"] if lost else []


def run_of(card: Message) -> str:
    """The id of the run a card tells of."""
    found = re.search(r"(?:Plan|Run) `([a-z2-7]{8})`", json.dumps(card["blocks"]))
    assert found, card
    return found[1]


def canonical(text: str, run: str) -> str:
    """A line of the thread without what differs from run to run."""
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text.replace(run, "RUN"))
    return text


def in_order(lines: list[str]) -> list[str]:
    """The lines with those of one stage sorted by step, because the steps of a stage go on side by side."""

    def place(numbered: tuple[int, str]) -> tuple[int, int]:
        number, line = numbered
        step = re.search(r"Step (\d+)\.(\d+)", line)
        if step is None:
            return (number, 0)
        first = next(n for n, other in enumerate(lines) if f"Step {step[1]}." in other)
        return (first, int(step[2]))

    return [line for _, line in sorted(enumerate(lines), key=place)]


def differences(expected: list[str], told: list[str]) -> list[str]:
    """How a timeline differs from an uncrashed one. A step may end by finding out that an earlier try had worked."""
    if len(expected) != len(told):
        return [f"the thread has {len(told)} lines instead of {len(expected)}: {told}"]
    return [f"told {is_!r} instead of {was!r}" for was, is_ in zip(expected, told, strict=True) if not same(was, is_)]


def same(expected: str, told: str) -> bool:
    """Whether two lines say the same, or the second that the step was done by an earlier try."""
    step = re.search(r"(Step \S+) done:", expected)
    return expected == told or bool(step and f"{step[1]} already done: An earlier try had worked:" in told)


async def sessions_of(world: World, application: str) -> set[int]:
    """The server processes of an application's sessions."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    async with await psycopg.AsyncConnection.connect(world.database.dsn("postgres")) as connection:
        return {row[0] for row in await (await connection.execute(query, [application])).fetchall()}


def ended_sessions(world: World) -> Counter[tuple[int, str]]:
    """Process and application of every session that was ended by somebody's statement, from the servers' own logs.

    Numbers of processes come again and a server that is restarted ends sessions too: only what was added to it is telling.
    """
    ended = re.compile(r"\[(\d+)\] [^@ ]+@[^/ ]+/(\S+) 57P01 FATAL:  terminating connection due to administrator command")
    logs = [log.read_text(errors="replace") for log in (world.room / "postgres").glob("postgres-*.log")]
    return Counter((int(pid), application) for log in logs for pid, application in ended.findall(log))


async def until(what: str, seen: Callable[[], Found], timeout: float) -> Found:
    """Wait until something is seen. Raises `NotSeen` with the sentence after `timeout` seconds."""
    ends = time.monotonic() + timeout
    while not (value := seen()):
        if time.monotonic() > ends:
            raise NotSeen(f"Waited {timeout:g} s until {what}, in vain.")
        await asyncio.sleep(0.03)
    return value
