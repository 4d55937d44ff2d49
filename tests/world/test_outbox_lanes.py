"""The outbox against the rehearsal's Slack: what holds up one method, channel, run or person holds up no other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import create_engine, insert, inspect, select, text, update
from structlog.testing import capture_logs

from bot import settings
from bot.app import slack_client
from bot.outbox import Outbox
from bot.store import Store
from bot.tables import open_engine, outbox
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import application
from rehearsal.slack.workspace import Workspace
from tests.story.conftest import tries, until
from tests.world.test_store import offer

ROOT = Path(__file__).parents[2]
SCOPES = ["chat:write", "channels:read", "channels:history", "pins:write"]
INCIDENT, GENERAL = "C0INCIDENT", "C0GENERAL"
SPEED = 25.0
Json = dict[str, Any]


class Told:
    """A store, the workspace that its outbox tells, and what a test puts into the one and looks up in the other."""

    def __init__(self, workspace: Workspace, store: Store, site: settings.Settings) -> None:
        self.workspace = workspace
        self.store = store
        self.site = site

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Outbox]:
        """The outbox works as long as the block lasts."""
        working = Outbox(self.store, slack_client(self.site), self.site)
        worker = asyncio.create_task(working.run())
        try:
            yield working
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)

    async def add(self, *rows: Json) -> None:
        """Order what is to be told."""
        for row in rows:
            await self.store.do(lambda c, row=row: c.execute(insert(outbox), row))

    async def card(self, run: str, channel: str = INCIDENT, **values: Any) -> None:
        """A plan whose card is in the channel, up to date."""
        await offer(self.store, run)
        ts = self.workspace.store.bot_message(self.workspace.channel(channel), f"The card of {run}", [])["ts"]
        await self.change(run, **{"channel": channel, "ts": ts, "sent_rev": 1, **values})

    async def change(self, key: str, **values: Any) -> None:
        """Change what is on record about one message."""
        await self.store.do(lambda c: c.execute(update(outbox).where(outbox.c.key == key).values(**values)))

    async def lines(self, run: str, count: int, channel: str = INCIDENT) -> None:
        """Lines of a run that are still to be told."""
        rows = ({"key": f"{run}/{n}", "kind": "reply", "run_id": run, "channel": channel} for n in range(count))
        await self.add(*(row | {"text": "x"} for row in rows))

    async def sentence(self, person: str, says: str, about: str = "", at: float | None = None) -> None:
        """A sentence for one person."""
        row = {"kind": "ephemeral", "channel": INCIDENT, "person": person, "text": says, "run_id": about}
        await self.add(row | {"key": f"refusal/{random.random()}", "at": at or time.time()})

    def calls(self, method: str, **arguments: str) -> list[Json]:
        """The calls of a method with these arguments that Slack carried out, in their order."""
        of_method = [e for e in self.workspace.log if e["kind"] == "call" and e["method"] == method and e["ok"]]
        return [e for e in of_method if all(e["args"].get(name) == value for name, value in arguments.items())]

    def errors(self) -> set[str]:
        """The errors with which Slack refused calls."""
        return {e["error"] for e in self.workspace.log if e["kind"] == "call" and e["error"]}

    def thread(self, run: str, channel: str = INCIDENT) -> list[str]:
        """The keys of the lines of a run, as they are in the channel."""
        messages = [m for m in self.workspace.channel(channel).messages if m.get("thread_ts")]
        keys = [m["metadata"]["event_payload"]["key"] for m in messages]
        return [key for key in keys if key.startswith(f"{run}/")]

    def cards(self, run: str) -> list[Json]:
        """The cards of a plan that the bot posted or edited."""
        return [m for m in self.workspace.messages(INCIDENT) if f"`{run}`" in str(m["blocks"])]

    def answers(self, person: str) -> list[str]:
        """What only this person was told."""
        return [m["text"] for m in self.workspace.ephemerals(person)]


@pytest.fixture
async def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    workspace = Workspace(
        manifest={"oauth_config": {"scopes": {"bot": SCOPES}}},
        people=PEOPLE,
        channels=("incident", "general"),
        limits_speed=SPEED,
    )
    runner = web.AppRunner(application(workspace), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("SLACK_BOT_TOKEN", workspace.bot_token)
    site = settings.load(ROOT / "dr.toml")
    slack = {"api_url": f"http://127.0.0.1:{runner.addresses[0][1]}/api/", "posts_per_second": SPEED, "channel": INCIDENT}
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    yield Told(workspace, store, site.model_copy(update={"slack": site.slack.model_copy(update=slack)}))
    store.close()
    await runner.cleanup()


# Lanes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limited",
    ["chat.postMessage", "chat.update", "chat.postEphemeral", "pins.add", "conversations.history", "conversations.replies"],
)
async def test_a_limit_of_one_method_pauses_that_method_alone(told: Told, limited: str) -> None:
    await told.card("in-flight", ts="", in_flight=True)
    await told.card("edited", sent_rev=0)
    await told.card("pinned", pin_wanted=True)
    for run, channel in {"settled": INCIDENT, "here": INCIDENT, "there": GENERAL}.items():
        await told.card(run, channel)
        await told.lines(run, 1, channel)
    await told.change("settled/0", in_flight=True)
    await told.sentence("U0BOB", "You may not.")
    told.workspace.faults.rate_limit(limited, retry_after=60, channel=INCIDENT)
    expected: list[tuple[str, Json]] = [
        ("chat.postMessage", {"channel": INCIDENT}),
        ("chat.postMessage", {"channel": GENERAL}),
        *((method, {}) for method in ("chat.update", "chat.postEphemeral", "pins.add")),
        *((method, {}) for method in ("conversations.history", "conversations.replies")),
    ]
    paused = [call for call in expected if call[0] == limited and call[1] != {"channel": GENERAL}]

    async with told.telling():
        await until(lambda: all(told.calls(method, **args) for method, args in expected if (method, args) not in paused), 5)
        await asyncio.sleep(0.3)
    assert all(not told.calls(method, **args) for method, args in paused)
    refused = [e["method"] for e in told.workspace.log if e["kind"] == "call" and e["error"] == "ratelimited"]
    assert refused == [limited]


async def test_an_answer_to_one_person_that_slack_holds_back_delays_no_line(told: Told) -> None:
    await told.sentence("U0DAVE", "You may not.")
    await told.card("run")
    await told.lines("run", 5)
    told.workspace.faults.slow("chat.postEphemeral", seconds=30)
    async with told.telling():
        await until(lambda: len(told.thread("run")) == 5, 5)
    assert told.answers("dave") == []


async def test_a_refused_edit_holds_up_no_line_of_its_run(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.outbox.REFUSED_SECONDS", 60)
    message = told.workspace.store.person_message(told.workspace.channel(INCIDENT), "U0BOB", "not the bot's to edit")
    await told.card("run", ts=message["ts"], sent_rev=0)
    async with told.telling():
        await until(lambda: "cant_update_message" in told.errors(), 5)
        await told.lines("run", 2)
        await until(lambda: len(told.thread("run")) == 2, 5)


async def test_a_card_is_edited_after_the_lines_of_its_run(told: Told) -> None:
    await told.card("run", sent_rev=0)
    await told.lines("run", 5)
    async with told.telling():
        await until(lambda: told.calls("chat.update"), 5)
    assert len(told.calls("chat.postMessage")) == 5
    assert told.calls("chat.postMessage")[-1]["at"] < told.calls("chat.update")[0]["at"]


async def test_a_card_does_not_wait_for_lines_that_slack_does_not_take(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.outbox.CARD_SECONDS", 0.5)
    await told.card("run", sent_rev=0)
    await told.lines("run", 5)
    told.workspace.faults.rate_limit("chat.postMessage", retry_after=60)
    async with told.telling():
        await until(lambda: told.calls("chat.update"), 5)
    assert told.calls("chat.postMessage") == []


async def test_runs_take_turns_and_each_keeps_its_order(told: Told) -> None:
    for run in ("first", "second"):
        await told.card(run)
        await told.lines(run, 6)
    async with told.telling():
        await until(lambda: len(told.calls("chat.postMessage")) == 12, 10)
    posted = [e["args"]["metadata"]["event_payload"]["key"].partition("/")[0] for e in told.calls("chat.postMessage")]
    assert posted == ["first", "second"] * 6
    for run in ("first", "second"):
        assert told.thread(run) == [f"{run}/{n}" for n in range(6)]


async def test_a_deleted_card_is_posted_once_even_if_two_calls_find_out(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.outbox.CARD_SECONDS", 0.0)
    await told.card("run", ts="1.000001", sent_rev=0)
    await told.lines("run", 1)
    await told.change("run/0", in_flight=True)
    told.workspace.faults.slow("conversations.replies", seconds=0.5)  # it finds out when the card is there again
    async with told.telling():
        await until(lambda: told.cards("run"), 5)
        assert "thread_not_found" not in told.errors()
        await until(lambda: told.thread("run"), 5)
        assert {"message_not_found", "thread_not_found"} <= told.errors()
        await asyncio.sleep(0.3)
    (card,) = told.cards("run")
    assert len(told.workspace.messages(INCIDENT, card["ts"])) == 2


async def test_whatever_slack_loses_limits_or_slows_every_line_is_told_once_and_in_order(told: Told) -> None:
    runs, methods = ["run-a", "run-b", "run-c", "run-d"], ("chat.postMessage", "conversations.replies", "chat.postEphemeral")
    chance, faults = random.Random(7), told.workspace.faults
    for run in runs:
        await told.card(run, chance.choice((INCIDENT, GENERAL)))
    channels = {run: INCIDENT if run in str(told.workspace.messages(INCIDENT)) else GENERAL for run in runs}
    for _ in range(8):
        faults.lose_answer(chance.choice(methods), times=1)
        faults.slow(chance.choice(methods), seconds=chance.uniform(0.05, 0.2), times=2)
    faults.rate_limit("conversations.replies")
    faults.rate_limit("chat.postMessage", channel=GENERAL)
    async with told.telling():
        for number in range(6):
            for run in runs:
                row = {"key": f"{run}/{number}", "kind": "reply", "run_id": run, "channel": channels[run], "text": "x"}
                await told.add(row)
            await told.sentence("U0DAVE", f"You may not: {number}.")
            await asyncio.sleep(chance.uniform(0, 0.1))
        await until(lambda: all(len(told.thread(run, channels[run])) >= 6 for run in runs), 20)
        await asyncio.sleep(0.5)
    for run in runs:
        assert told.thread(run, channels[run]) == [f"{run}/{n}" for n in range(6)]


class SlowToAnswer(Store):
    """A store that takes a while to say what is due, so that its answer is old when it comes."""

    async def do(self, work: Any, *arguments: Any) -> Any:
        answer = await super().do(work, *arguments)
        if work.__name__ == "_due":
            await asyncio.sleep(0.06)
        return answer


async def test_an_old_answer_of_the_state_does_not_make_a_line_stand_twice(told: Told) -> None:
    await told.card("run")
    await told.lines("run", 10)
    told.store = SlowToAnswer(told.store.engine)
    async with told.telling() as working, asyncio.timeout(10):
        while len(told.thread("run")) < 10:
            working.wake()  # so that it asks while a line is on its way
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)
    told.store.close()
    assert told.thread("run") == [f"run/{n}" for n in range(10)]


# People ---------------------------------------------------------------------------------------------------------------


async def test_the_same_refusal_of_one_person_is_told_at_once_and_then_with_a_count(told: Told) -> None:
    async with told.telling():
        await told.sentence("U0DAVE", "You may not.", "run")
        await until(lambda: told.answers("dave"), 5)
        for _ in range(39):
            await told.sentence("U0DAVE", "You may not.", "run")
        await until(lambda: sum(map(tries, told.workspace.ephemerals("dave"))) == 40, 5)
    first, *later = told.answers("dave")
    assert first == "You may not."
    assert len(later) <= 3
    assert all(says.startswith("You may not. (You tried ") for says in later)


async def test_another_person_plan_or_sentence_is_answered_at_once(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.outbox.REPEAT_POSTS", 10_000)
    about_each = [("U0DAVE", "No.", "a"), ("U0DAVE", "No.", "b"), ("U0DAVE", "Never.", "a"), ("U0GINA", "No.", "a")]
    async with told.telling():
        for one in about_each:
            await told.sentence(*one)
        await until(lambda: len(told.answers("dave")) == 3 and len(told.answers("gina")) == 1, 5)
        for one in about_each:
            await told.sentence(*one)
        await asyncio.sleep(0.5)
    assert (len(told.answers("dave")), len(told.answers("gina"))) == (3, 1)


async def test_people_take_turns_so_that_nobody_is_answered_after_a_flood(told: Told) -> None:
    for number in range(40):
        await told.sentence("U0DAVE", f"You may not: {number}.")
    await told.sentence("U0BOB", "Somebody else must approve it.")
    async with told.telling():
        await until(lambda: told.answers("bob"), 5)
    assert len(told.answers("dave")) <= 3


async def test_a_sentence_that_comes_minutes_late_is_dropped_with_a_line_in_the_log(told: Told) -> None:
    await told.sentence("U0DAVE", "You may not.", at=time.time() - 600)
    await told.sentence("U0BOB", "Somebody else must approve it.", at=time.time() - 30)
    with capture_logs() as logs:
        async with told.telling():
            await until(lambda: told.answers("bob"), 5)
    assert told.answers("dave") == []
    assert [line["person"] for line in logs if line["event"] == "ephemeral_dropped"] == ["U0DAVE"]
    assert await told.store.do(lambda c: c.execute(select(outbox.c.key).where(outbox.c.sent_rev < 1)).all()) == []


async def test_a_state_of_an_older_bot_gets_the_new_column_and_keeps_its_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    with open_engine(url).begin() as connection:
        connection.execute(insert(outbox), {"key": "run", "kind": "card", "channel": INCIDENT})
    with create_engine(url).begin() as connection:
        connection.execute(text("ALTER TABLE dr_outbox DROP COLUMN at"))
    for _ in range(2):
        engine = open_engine(url)
        assert "at" in [column["name"] for column in inspect(engine).get_columns("dr_outbox")]
        with engine.begin() as connection:
            assert connection.execute(select(outbox.c.key, outbox.c.at)).all() == [("run", 0.0)]


async def test_the_outbox_ends_when_it_is_told_to_however_busy_it_is(told: Told) -> None:
    chance = random.Random(1)
    async with asyncio.timeout(10):
        for number in range(40):
            await told.sentence("U0DAVE", f"You may not: {number}.")
            async with told.telling():
                await asyncio.sleep(chance.uniform(0, 0.02))
