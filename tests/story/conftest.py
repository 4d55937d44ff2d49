"""What the stories share: a rehearsal per module, and an incident channel in which people act and look."""

from __future__ import annotations

import asyncio
import copy
import html
import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rehearsal import settings
from rehearsal.slack import payloads
from rehearsal.world import Options, World

SPEED = 600.0
RESTART = "control-plane restart"
ENDS = ("Done", "Failed", "Aborted", "Stopped", "Not started")
WEST = "us-west-2"
Json = dict[str, Any]
Found = TypeVar("Found")


@pytest.fixture(scope="session")
def rooms() -> Iterator[Path]:
    """A folder for all worlds of this test session; the database's account must get in."""
    path = Path(tempfile.mkdtemp(prefix="stories-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def cache(rooms: Path) -> Path:
    """The database's template, made once for all worlds."""
    return rooms / "cache"


@pytest.fixture(scope="module")
async def world(rooms: Path, cache: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One rehearsal with the bot in it for the whole module."""
    options = Options(room=rooms / request.module.__name__.rpartition(".")[2], cache=cache, port=0, speed=SPEED)
    async with World(options) as world:
        await world.witness.healthy()
        yield world


@pytest.fixture
async def incident(world: World) -> AsyncIterator[Incident]:
    """The incident channel of a world without faults and without runs; it is left like that again."""
    incident = Incident(world)
    world.journal.clear()
    yield incident
    await incident.calm_down()


class Incident:
    """The incident channel: what people do in it, and what they see."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slack = world.workspace

    # What people do ---------------------------------------------------------------------------------------------------

    async def type(self, person: str, text: str) -> str:
        """Type `/dr text`; returns what the bot answers at once."""
        answer = await self.slack.command(person, "incident", text)
        assert answer["acked"], answer
        return str((answer["response"] or {}).get("text", ""))

    async def plan(self, person: str, text: str = RESTART) -> str:
        """Ask for a plan and wait until it can be approved; returns its id."""
        known = set(self.ids())
        await self.type(person, text)
        return await self.new_plan(known)

    async def new_plan(self, known: set[str]) -> str:
        """Wait for a plan that can be approved and is none of the known ones; returns its id."""
        return await until(lambda: next((i for i in self.ids() if i not in known and "dr_approve" in self.buttons(i)), None))

    async def click(self, person: str, run: str, action: str, value: str | None = None) -> None:
        """Press a button of a plan's or a run's card."""
        answer = await self.slack.click(person, "incident", self.card(run)["ts"], action, value=value)
        assert answer["acked"], answer

    async def refused(self, person: str, run: str, action: str, value: str | None = None) -> str:
        """Press a button that must be refused; returns the sentence that only this person sees."""
        async with self.told(person) as sentences:
            await self.click(person, run, action, value)
        return sentences[0]

    async def stale_click(self, person: str, message: Json, action: str, value: str | None = None) -> None:
        """Press a button of a card as it stood a while ago, as on a screen that was not refreshed."""
        element = next(e for b in message["blocks"] for e in b.get("elements", []) if e.get("action_id") == action)
        pressed = {k: element[k] for k in ("action_id", "type", "text", "value") if k in element}
        pressed |= {"block_id": "stale", "action_ts": self.slack.store.next_ts()} | ({"value": value} if value else {})
        who, where = self.slack.person(person), self.slack.room("incident")
        trigger = self.slack.modals.trigger(who.id)
        body = payloads.block_actions(who, where, message, pressed, trigger_id=trigger, response_url="http://127.0.0.1:1/")
        ack = await self.slack.sockets.deliver("interactive", body, accepts_response=False)
        assert ack.acked, ack

    async def stale_refused(self, person: str, message: Json, action: str) -> str:
        """The same, where it must be refused; returns the sentence."""
        async with self.told(person) as sentences:
            await self.stale_click(person, message, action)
        return sentences[0]

    @asynccontextmanager
    async def told(self, person: str, count: int = 1) -> AsyncIterator[list[str]]:
        """Collect the sentences that only this person is told from here on, waiting until they answer `count` tries."""
        before = len(self.slack.ephemerals(person))
        sentences: list[str] = []
        yield sentences
        await until(lambda: sum(map(tries, self.slack.ephemerals(person)[before:])) >= count)
        sentences += [html.unescape(m["text"]) for m in self.slack.ephemerals(person)[before:]]

    async def approved(self, requester: str = "alice", approver: str = "bob", text: str = RESTART) -> str:
        """Ask for a plan and approve it; returns the run's id without waiting for anything else."""
        run = await self.plan(requester, text)
        await self.click(approver, run, "dr_approve")
        return run

    # What people see --------------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """The ids of all plans and runs in the channel, oldest first."""
        return [i for i in map(_id_of, self.slack.messages("incident")) if i]

    def card(self, run: str) -> Json:
        """The card of a plan or run."""
        return next(m for m in self.slack.messages("incident") if _id_of(m) == run)

    def photo(self, run: str) -> Json:
        """The card as it stands now, kept as it is."""
        return copy.deepcopy(self.card(run))

    def title(self, run: str) -> str:
        """The first words of a card: Done, Waiting for a person, ..."""
        return str(self.card(run)["text"]).partition(":")[0]

    def says(self, run: str) -> str:
        """All the text of a card."""
        return json.dumps(self.card(run)["blocks"], ensure_ascii=False)

    def buttons(self, run: str) -> list[str]:
        """The action ids of a card's buttons."""
        elements = [e for block in self.card(run)["blocks"] if block["type"] == "actions" for e in block["elements"]]
        return [e["action_id"] for e in elements]

    def thread(self, run: str) -> list[str]:
        """The timeline as it stands in the thread, without its marks."""
        ts = self.card(run)["ts"]
        replies = [html.unescape(m["text"]) for m in self.slack.messages("incident", ts) if m["ts"] != ts]
        return [re.sub(r"^:\w+: ", "", text) for text in replies]

    async def ended(self, run: str, timeout: float = 30.0) -> str:
        """Wait until the run is over and its end is told; returns how it ended."""
        await until(lambda: self.title(run) in ENDS, timeout, lambda: "\n".join([self.title(run), *self.thread(run)]))
        await self.quiet()
        return self.title(run)

    async def waiting(self, run: str) -> None:
        """Wait until the run asks a person."""
        await until(lambda: "dr_retry" in self.buttons(run), 30.0, lambda: "\n".join([self.title(run), *self.thread(run)]))

    async def quiet(self) -> None:
        """Wait until the bot has told everything."""
        count, since = self._calls(), time.monotonic()
        while time.monotonic() - since < 0.35:
            await asyncio.sleep(0.05)
            if count != (now := self._calls()):
                count, since = now, time.monotonic()

    def _calls(self) -> int:
        return sum(entry["kind"] == "call" and entry["method"] != "users.info" for entry in self.slack.log)

    # What was done ----------------------------------------------------------------------------------------------------

    def effects(self) -> list[tuple[str, int]]:
        """The changing calls that had their effect, with how often."""
        return [(e["operation"], e["count"]) for e in self.world.journal.effects(source="bot")]

    async def dr(self, *words: str, without: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Run the `dr` program beside the bot, without some of its variables: exit code, standard output, standard error."""
        argv = settings.bot_command(self.world.config, *words)
        pipe = asyncio.subprocess.PIPE
        environment = {name: value for name, value in self.world.bot_environment.items() if name not in without}
        process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=pipe, stderr=pipe, cwd=self.world.room)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def story(self, run: str) -> Json:
        """What `dr show RUN --json` tells."""
        code, out, err = await self.dr("show", run, "--json")
        assert code == 0, err
        return dict(json.loads(out))

    # The world --------------------------------------------------------------------------------------------------------

    async def deploy(self, revision: int) -> None:
        """Somebody else deploys a revision of the control plane, and it is complete."""
        self.world.ecs.scheduler.deploy(self.world.ecs.revisions[revision])
        await until(lambda: self.world.ecs.scheduler.primary.rollout == "COMPLETED", 20)

    async def calm_down(self) -> None:
        """No faults, no open runs, no plan on offer, control-plane:7 complete, and an empty journal."""
        await self.world.faults.put("heal")
        if self.world.processes.pid("bot") is None:
            await self.world.start_bot()
        await until(lambda: self.slack.state()["connected"], 20)
        for run in self.ids():
            if self.title(run) in ("Run begins", "Running", "Waiting for a person"):
                await self.type("carol", f"stop {run}")
                await self.ended(run)
            if "dr_reject" in self.buttons(run):  # the same plan would not be offered a second time
                await self.click("carol", run, "dr_reject")
                await until(lambda run=run: "dr_reject" not in self.buttons(run), 20)
        await self.world.rds.settled()
        await self.world.database.redundant()
        scheduler = self.world.ecs.scheduler
        if scheduler.primary.revision.number != 7 or scheduler.primary.rollout != "COMPLETED":
            await self.deploy(7)
        await until(lambda: scheduler.primary.rollout == "COMPLETED", 20)
        await self.quiet()
        self.world.journal.clear()

    @asynccontextmanager
    async def settings(self, old: str, new: str) -> AsyncIterator[None]:
        """The bot restarted with another dr.toml, and with the old one at the end."""
        before = self.world.config.read_text()
        assert old in before
        await self._restart_with(before.replace(old, new))
        yield
        await self._restart_with(before)

    async def _restart_with(self, text: str) -> None:
        await self.world.processes.stop("bot", grace=10)
        self.world.config.write_text(text)
        await self.world.start_bot()
        await until(lambda: self.slack.state()["connected"], 20)


def tries(message: Json) -> int:
    """How many clicks or commands of a person this one message answers."""
    counted = re.search(r"You tried (\d+) times", message["text"])
    return int(counted[1]) if counted else 1


def logged_errors(log: str) -> list[Json]:
    """The lines of the bot's log that tell of an error."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] in ("error", "critical")]


async def until(
    seen: Callable[[], Found | None], timeout: float = 10.0, otherwise: Callable[[], object] = lambda: "it was not seen"
) -> Found:
    """Look again and again until something is seen, and return it."""
    ends = time.monotonic() + timeout
    while not (found := seen()):
        assert time.monotonic() < ends, f"not within {timeout:g} s: {otherwise()}"
        await asyncio.sleep(0.02)
    return found


def _id_of(message: Json) -> str | None:
    found = re.search(r"(?:Plan|Run) `([a-z2-7]{8})`", json.dumps(message.get("blocks", [])))
    return found[1] if found else None
