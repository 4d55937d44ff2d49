"""Many lines that wait for Slack are folded into few messages: whole, in order, once. And a workspace without task cards."""

from __future__ import annotations

import asyncio

import pytest

from actions.values import Outcome, Result
from bot.slack.folding import FOLDED, MOST_BEHIND
from bot.state import approvals
from tests.story.conftest import until
from tests.world.outbox_world import INCIDENT, Told

LINES = 120


async def wait_for_slack(told: Told, count: int, mark: str = "ok") -> list[str]:
    """Lines of a run that Slack has not been told, each its own text; returns those texts."""
    texts = [f"Step {number}.1 done: <b> & *{number}* of `{count}`, {'x' * (number % 50)}." for number in range(count)]
    rows = [
        {"key": f"run/{n}.1#1:end", "kind": "reply", "run_id": "run", "channel": INCIDENT, "text": text, "mark": mark}
        for n, text in enumerate(texts)
    ]
    await told.add(*rows)
    return texts


def said(told: Told) -> str:
    """All that the thread says, as it is read."""
    messages = [m for m in told.workspace.channel(INCIDENT).messages if m.get("thread_ts")]
    texts = [block["text"]["text"] for m in messages for block in m["blocks"] or [{"text": {"text": m["text"]}}]]
    return "\n".join(texts).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def whole_once_and_in_order(told: Told, texts: list[str]) -> bool:
    thread = said(told)
    places = [thread.find(text) for text in texts]
    return -1 not in places and places == sorted(places) and all(thread.count(text) == 1 for text in texts)


async def test_many_lines_that_wait_stand_in_few_messages(told: Told) -> None:
    await told.card("run")
    texts = await wait_for_slack(told, LINES)
    await told.add({"key": "run/end", "kind": "reply", "run_id": "run", "channel": INCIDENT, "text": "The end.", "mark": "ok"})
    async with told.telling():
        await until(lambda: "The end." in said(told), 10)
    assert whole_once_and_in_order(told, texts)
    assert told.thread("run")[-1] == "run/end"
    assert len(told.thread("run")) <= LINES / 10


@pytest.mark.parametrize(("count", "mark"), [(MOST_BEHIND, "ok"), (LINES // 4, "ask")])
async def test_few_lines_and_decisions_stay_messages_of_their_own(told: Told, count: int, mark: str) -> None:
    await told.card("run")
    await wait_for_slack(told, count, mark)
    async with told.telling():
        await until(lambda: len(told.thread("run")) == count, 10)
    assert told.thread("run") == [f"run/{n}.1#1:end" for n in range(count)]


@pytest.mark.parametrize("kills", [1, 2])
async def test_folded_lines_are_told_once_whatever_gets_lost(told: Told, kills: int) -> None:
    await told.card("run")
    texts = await wait_for_slack(told, LINES)
    told.workspace.faults.lose_answer("chat.postMessage", times=kills)
    for _ in range(kills):  # the bot dies just after Slack stored the message
        before = len(said(told))
        async with told.telling():
            await until(lambda before=before: len(said(told)) > before, 10)
    async with told.telling():
        await until(lambda: texts[-1] in said(told), 10)
        await asyncio.sleep(0.3)
    assert whole_once_and_in_order(told, texts)


async def test_a_workspace_without_task_cards_gets_sections_from_then_on(told: Told) -> None:
    await told.card("run", sent_rev=0)
    click = approvals.Click(run_id="run", question="plan", nonce="nonce")
    await told.store.do(approvals.approve, click, "U0BOB", 1)
    assert await told.store.begin_steps("run", {"1.1": "Restart it"}, 1)
    told.workspace.faults.refuse_blocks("plan")
    async with told.telling():
        await until(lambda: told.calls("chat.update"), 10)
        await told.store.end_step("run", "1.1", 1, Outcome(result=Result.DONE, says="It is restarted."))
        await until(lambda: "It is restarted." in str(told.cards("run")), 10)
    refused = [e for e in told.workspace.log if e["kind"] == "call" and e["error"] == "invalid_blocks"]
    assert len(refused) == 1  # it is remembered
    assert '"plan"' not in str([block["type"] for block in told.cards("run")[0]["blocks"]])
    assert FOLDED not in str(told.cards("run"))
