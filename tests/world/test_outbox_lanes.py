"""The outbox against the rehearsal's Slack: what holds up one method, channel, run or person holds up no other."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from bot.state import approvals
from bot.state.approvals import Click
from bot.state.store import Store
from tests.story.conftest import until
from tests.world.outbox_world import GENERAL, INCIDENT, Json, Told


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
    monkeypatch.setattr("bot.slack.outbox.REFUSED_SECONDS", 60)
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


class NewsInBetween(Store):
    """A store in which Bob rejects a plan just after the outbox has asked what is due."""

    rejected = False

    async def do(self, work: Any, *arguments: Any) -> Any:
        answer = await super().do(work, *arguments)
        if work.__name__ == "due_rows" and not self.rejected:
            self.rejected = True
            await super().do(approvals.reject, Click(run_id="run", question="plan", nonce="nonce"), "U0BOB")
        return answer


async def test_a_card_never_shows_what_its_thread_does_not_say_yet(told: Told) -> None:
    await told.card("run", sent_rev=0)
    told.store = NewsInBetween(told.store.engine)
    told.workspace.faults.slow("chat.postMessage", seconds=0.5)
    async with told.telling():
        await until(lambda: "rejected" in str(told.cards("run")), 5)
        assert told.thread("run") == ["run/rejected"]
    told.store.close()


async def test_a_card_does_not_wait_for_lines_that_slack_does_not_take(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack.outbox.CARD_SECONDS", 0.5)
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
    monkeypatch.setattr("bot.slack.outbox.CARD_SECONDS", 0.0)
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
        if work.__name__ == "due_rows":
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


async def test_the_outbox_ends_when_it_is_told_to_however_busy_it_is(told: Told) -> None:
    chance = random.Random(1)
    async with asyncio.timeout(10):
        for number in range(40):
            await told.sentence("U0DAVE", f"You may not: {number}.")
            async with told.telling():
                await asyncio.sleep(chance.uniform(0, 0.02))
