"""The report of a run against a Slack that doesn't answer, or refuses: the tries have an end, and the thread says so."""

from __future__ import annotations

import dataclasses

import pytest

from bot.slack import pace
from bot.slack.sender import MOST_UPLOADS
from bot.state.tables import runs, steps
from tests.story.conftest import until
from tests.world.outbox_world import INCIDENT, Json, Told

UPLOAD = "files.completeUploadExternal"
RUN = {"id": "abcdefgh", "target": "x", "state": "done", "says": "", "began": 0.0, "ended": 1.0}
STEP = {
    "run_id": "abcdefgh",
    "step": "1.1",
    "attempt": 1,
    "state": "done",
    "began": 0.0,
    "ended": float("inf"),
}  # no axis is so long
LOST = "The report couldn't be uploaded: "


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between the tries are short."""
    monkeypatch.setitem(pace.LIMITS, UPLOAD, dataclasses.replace(pace.LIMITS[UPLOAD], back_off=(0.05,)))


async def ended(told: Told, run: str) -> None:
    """A run whose end stands in the thread, and whose report is still to be uploaded."""
    await told.card(run)
    card = told.workspace.messages(INCIDENT)[-1]["ts"]
    end = told.workspace.store.bot_message(told.workspace.channel(INCIDENT), "The end.", [], thread_ts=card)["ts"]
    of_run = {"run_id": run, "channel": INCIDENT}
    await told.add({"key": f"{run}/end", "kind": "reply", "ts": end, "sent_rev": 1, "mark": "end", **of_run})
    await told.add({"key": f"{run}/report", "kind": "file", **of_run})


def thread(told: Told) -> list[Json]:
    return [m for m in told.workspace.channel(INCIDENT).messages if m.get("thread_ts")]


def allow_files(told: Told, *more: str) -> None:
    bot = told.workspace.manifest["oauth_config"]["scopes"]
    bot["bot"] = [*bot["bot"], "files:write", *more]


@pytest.mark.parametrize("lost", ["files.getUploadURLExternal", "upload", UPLOAD])
async def test_an_upload_that_gets_no_answer_is_given_up_and_the_thread_says_so(told: Told, lost: str) -> None:
    allow_files(told)
    await ended(told, "abcdefgh")
    told.workspace.faults.lose_answer(lost, times=10_000)
    async with told.telling():
        await until(lambda: any(LOST in m["text"] for m in thread(told)), 30)
        tries = [e for e in told.workspace.log if e["kind"] == "lost_answer"]
        await told.lines("abcdefgh", 1)
        await until(lambda: thread(told)[-1]["text"].endswith("x"), 10)  # what comes later is told
    assert len(tries) == MOST_UPLOADS
    assert [e for e in told.workspace.log if e["kind"] == "lost_answer"] == tries
    (said,) = [m["text"] for m in thread(told) if LOST in m["text"]]
    assert f"Slack didn't confirm it in {MOST_UPLOADS} tries. `dr report abcdefgh --out DIR` writes its files." in said


async def test_an_upload_whose_answers_are_lost_for_a_while_comes_once(told: Told) -> None:
    allow_files(told)
    await ended(told, "abcdefgh")
    told.workspace.faults.lose_answer("upload", times=2)
    told.workspace.faults.lose_answer("chat.update", times=1)  # the report hangs on the end, and nobody tells us
    async with told.telling():
        await until(lambda: any(m.get("files") for m in thread(told)), 20)
        await told.lines("abcdefgh", 1)
        await until(lambda: thread(told)[-1]["text"].endswith("x"), 10)
    (end,) = [m for m in thread(told) if m.get("files")]
    assert [file["name"] for file in end["files"]] == ["run-abcdefgh.md", "run-abcdefgh.png"]
    assert not any(LOST in m["text"] for m in thread(told))
    assert len(told.calls("files.completeUploadExternal")) == 1


async def test_a_report_that_slack_refuses_is_not_tried_again(told: Told) -> None:
    await ended(told, "abcdefgh")
    async with told.telling():
        await until(lambda: any(LOST in m["text"] for m in thread(told)), 20)
    assert "Slack refused it (missing_scope). `dr report abcdefgh --out DIR` writes its files." in thread(told)[-1]["text"]
    refused = [e for e in told.workspace.log if e["kind"] == "call" and e["error"] == "missing_scope" and "files" in e["method"]]
    assert len(refused) == 1


async def test_a_report_that_cannot_be_drawn_is_told_once_and_not_tried_again(told: Told) -> None:
    allow_files(told)
    await ended(told, "abcdefgh")
    await told.store.do(lambda c: c.execute(runs.insert().values(**RUN)))
    await told.store.do(lambda c: c.execute(steps.insert().values(**STEP)))
    async with told.telling():
        await until(lambda: any("The report couldn't be written. " in m["text"] for m in thread(told)), 20)
    assert "Unexpected error: " in thread(told)[-1]["text"]
    assert thread(told)[-1]["text"].endswith("The log has the details, and `dr show abcdefgh` has the timeline.")
    assert not told.calls("files.getUploadURLExternal")
