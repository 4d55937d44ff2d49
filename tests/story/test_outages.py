"""What the bot does while Slack is away, and when AWS does a thing and its answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.people import told
from rehearsal.slack.chat import MOST_PINS, delete, pins_add, pins_remove
from rehearsal.slack.errors import UnknownError
from rehearsal.world import Options, Rehearsal
from tests.story.conftest import Incident, calm_options, until

ONCE = [("UpdateService", 1)]


async def told_whole_and_once(incident: Incident, run: str) -> list[str]:
    """The thread holds the timeline as it was recorded: every line, in order, once. Returns it."""
    recorded = told((await incident.story(run))["timeline"])
    await until(lambda: len(incident.thread(run)) >= len(recorded), 30, lambda: f"the whole story: {incident.thread(run)}")
    await incident.quiet()
    thread = incident.thread(run)
    assert thread == recorded
    keys = [m["metadata"]["event_payload"]["key"] for m in incident.slack.messages("incident", incident.card(run)["ts"])]
    assert len(set(keys)) == len(keys)
    assert incident.ids().count(run) == 1
    return thread


@pytest.fixture(scope="module", autouse=True)
async def minute(work_dirs: Path, cache: Path) -> AsyncIterator[asyncio.Task[None]]:
    """The story of a whole minute without Slack: in a world of its own, while the other stories of this module go on."""
    task = asyncio.create_task(a_minute_without_slack(calm_options(work_dir=work_dirs / "minute", cache=cache)))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def a_minute_without_slack(options: Options) -> None:
    async with Rehearsal(options) as world:
        await world.witness.healthy()
        incident = Incident(world)
        run = await incident.plan("alice")
        world.aws_faults.put("slow", operation="UpdateService", seconds=1.0)
        await incident.click("bob", run, "dr_approve")
        await until(lambda: "dr_approve" not in incident.buttons(run))
        world.workspace.faults.outage(60)
        told = len(incident.thread(run))
        await until(lambda: incident.effects() == ONCE, 20)
        async with asyncio.timeout(30):
            while (await incident.story(run))["state"] != "done":
                pass
        assert world.workspace.faults.away
        assert len(incident.thread(run)) == told
        assert await incident.ended(run, timeout=90) == "Done"
        assert not world.workspace.faults.away
        thread = await told_whole_and_once(incident, run)
        assert "approved plan" in thread[0]
        assert "Every step is done and proven" in thread[-1]
        assert incident.effects() == ONCE


# Slack ----------------------------------------------------------------------------------------------------------------


async def test_after_an_outage_people_can_ask_and_approve_again(incident: Incident) -> None:
    incident.slack.faults.outage(5)
    assert (await incident.slack.command("alice", "incident", "runs"))["error"] == "slack_away"
    await until(lambda: incident.slack.sockets.open, 20)
    run = await incident.approved()
    assert await incident.ended(run) == "Done"
    await told_whole_and_once(incident, run)


async def test_an_outage_that_begins_with_the_run_loses_no_line(incident: Incident) -> None:
    run = await incident.approved()
    await until(lambda: "dr_approve" not in incident.buttons(run))
    incident.slack.faults.outage(5)
    assert await incident.ended(run) == "Done"
    await told_whole_and_once(incident, run)
    assert incident.effects() == ONCE


async def test_if_slack_goes_away_before_naming_who_clicked_they_are_told_later(
    incident: Incident,
) -> None:
    run = await incident.plan("alice")
    async with incident.told("bob") as sentences:
        await incident.click("bob", run, "dr_approve")
        incident.slack.faults.outage(2)
    assert "Slack did not say who user U0BOB is" in sentences[0]
    assert incident.effects() == []
    await until(lambda: incident.slack.sockets.open, 20)  # the bot may speak again before it listens again
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"


async def test_a_message_that_slack_stored_without_an_answer_is_not_told_twice(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.slack.faults.lose_answer("chat.postMessage", times=4)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    await told_whole_and_once(incident, run)


async def test_a_plan_whose_card_was_stored_without_an_answer_stands_once_in_the_channel(incident: Incident) -> None:
    before = len(incident.slack.messages("incident"))
    incident.slack.faults.lose_answer("chat.postMessage")
    run = await incident.plan("alice")
    await incident.quiet()
    assert len(incident.slack.messages("incident")) == before + 1
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"


async def test_a_message_in_flight_is_not_sent_again_while_slack_does_not_say_whether_it_is_there(incident: Incident) -> None:
    before = len(incident.slack.messages("incident"))
    incident.slack.faults.lose_answer("chat.postMessage")
    incident.slack.faults.rate_limit("conversations.history", retry_after=1)
    run = await incident.plan("alice")
    incident.slack.faults.lose_answer("chat.postMessage")
    incident.slack.faults.rate_limit("conversations.replies", retry_after=1)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    await told_whole_and_once(incident, run)
    assert len(incident.slack.messages("incident")) == before + 2, "a card, and the end once for the channel"


async def test_a_message_in_flight_is_found_on_the_second_page_of_a_long_thread(incident: Incident) -> None:
    run = await incident.plan("alice")
    for number in range(200):
        await incident.slack.post("carol", "incident", f"and {number}", incident.card(run)["ts"])
    incident.slack.faults.lose_answer("chat.postMessage")
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    recorded = told((await incident.story(run))["timeline"])
    assert incident.thread(run)[200:] == recorded


async def test_a_deleted_card_is_posted_again_and_the_run_is_told_to_its_end(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.world.aws_faults.put("slow", operation="UpdateService", seconds=1.0)
    await incident.click("bob", run, "dr_approve")
    await until(lambda: len(incident.thread(run)) > 1)
    delete(incident.slack, {"channel": incident.card(run)["channel"], "ts": incident.card(run)["ts"]})
    await until(lambda: run in incident.ids())
    assert await incident.ended(run) == "Done"
    assert incident.thread(run)[-1].startswith("Every step is done and proven")
    assert incident.card(run)["pinned"]
    assert incident.ids().count(run) == 1
    assert incident.effects() == ONCE


async def test_if_a_channel_is_full_of_pins_the_oldest_ended_run_loses_its_pin(
    incident: Incident,
) -> None:
    over = await incident.approved()
    assert await incident.ended(over) == "Done"
    pins = [m["ts"] for m in incident.slack.messages("incident") if m["pinned"]]
    others = [await incident.slack.post("carol", "incident", f"note {n}") for n in range(MOST_PINS - len(pins))]
    for note in others:
        pins_add(incident.slack, {"channel": note["channel"], "timestamp": note["ts"]})
    run = await incident.approved()
    assert await incident.ended(run) == "Done"
    pinned = {m["ts"] for m in incident.slack.messages("incident") if m["pinned"]}
    assert pinned == {incident.card(run)["ts"], *pins[1:], *(note["ts"] for note in others)}
    for note in others:
        pins_remove(incident.slack, {"channel": note["channel"], "timestamp": note["ts"]})


async def test_if_slack_limits_the_rate_the_bot_waits_as_told_and_posts_all(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.slack.faults.rate_limit("chat.postMessage", times=2, retry_after=1)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    await told_whole_and_once(incident, run)
    posts = [e for e in incident.slack.log if e["kind"] == "call" and e["method"] == "chat.postMessage"]
    limited = [i for i, e in enumerate(posts) if e["error"] == "ratelimited"][-2:]
    assert all(posts[i + 1]["at"] - posts[i]["at"] >= 0.95 for i in limited)


async def test_when_its_sockets_are_reset_the_bot_is_back_for_the_next_click(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.slack.faults.reset_sockets()
    await until(lambda: incident.slack.sockets.open, 20)
    await asyncio.sleep(0.2)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


# AWS ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["after_drop", "after_500"])
async def test_a_deployment_whose_answer_is_lost_is_found_by_reading_back_and_not_repeated(
    incident: Incident, fault: str
) -> None:
    run = await incident.plan("alice")
    incident.world.aws_faults.put(fault, operation="UpdateService")  # type: ignore[arg-type]
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert len(incident.world.journal.calls(operation="UpdateService")) == 1
    assert any("Reading back shows" in line for line in incident.thread(run))


async def test_a_failover_whose_answer_is_lost_is_found_by_reading_back_and_not_repeated(incident: Incident) -> None:
    run = await incident.plan("alice", "database failover")
    incident.world.aws_faults.put("after_drop", operation="RebootDBInstance")
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run, 60) == "Done"
    assert incident.effects() == [("RebootDBInstance", 1)]
    assert len(incident.world.journal.calls(operation="RebootDBInstance")) == 1
    assert any("Reading back shows" in line for line in incident.thread(run))


async def test_a_request_that_was_lost_before_its_effect_is_a_question_and_a_retry_does_it_once(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.world.aws_faults.put("drop", operation="UpdateService")
    await incident.click("bob", run, "dr_approve")
    await incident.waiting(run)
    assert incident.effects() == []
    assert any("Step 1.1 failed" in line and "Nothing changed" in line for line in incident.thread(run))
    await incident.click("carol", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    await told_whole_and_once(incident, run)


async def test_a_throttled_change_is_done_once(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.world.aws_faults.put("throttle", operation="UpdateService", times=2)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_a_button_that_nobody_sees_any_more_cannot_be_pressed(incident: Incident) -> None:
    """The rehearsal itself holds people to what is on their screen."""
    run = await incident.approved()
    assert await incident.ended(run) == "Done"
    with pytest.raises(UnknownError, match="no button dr_approve"):
        await incident.click("carol", run, "dr_approve")


async def test_while_slack_is_away_for_a_minute_the_run_goes_on_and_all_of_it_is_told_afterwards(
    minute: asyncio.Task[None],
) -> None:
    await minute


async def test_the_first_command_after_a_start_needs_no_web_api(incident: Incident) -> None:
    await incident.world.kill_bot()
    await incident.world.start_bot()
    await incident.connected()
    incident.slack.faults.lose_answer("auth.test", times=20)
    try:
        assert "What /dr can do" in await incident.type("alice", "help")
    finally:
        incident.slack.faults.recover()
