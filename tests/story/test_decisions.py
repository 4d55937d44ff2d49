"""When a step fails, people decide: again, without it, the fallback, or the end. And a run can be told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rehearsal.slack import payloads
from tests.story.conftest import RESTART, Incident, until

ONCE = [("UpdateService", 1)]


async def failed(incident: Incident, times: int = 1) -> str:
    """A run of Alice's, approved by Bob, that waits because AWS refused its first step; returns its id."""
    run = await incident.plan("alice")
    incident.world.aws_faults.put("access_denied", operation="UpdateService", times=times)
    await incident.click("bob", run, "dr_approve")
    await incident.waiting(run)
    return run


def with_button(message: dict[str, Any], action: str) -> dict[str, Any]:
    """The card with a button more, as it may have had a moment ago."""
    next(b for b in message["blocks"] if b["type"] == "actions")["elements"].append(
        {"type": "button", "action_id": action, "text": {"type": "plain_text", "text": action}, "value": "x"}
    )
    return message


def value_of(incident: Incident, run: str, action: str) -> str:
    """What a button of the card carries: the question that it answers; "" if the card has no such button."""
    elements = [e for block in incident.card(run)["blocks"] if block["type"] == "actions" for e in block["elements"]]
    return next((e["value"] for e in elements if e["action_id"] == action), "")


async def form_of(incident: Incident, person: str) -> dict[str, Any]:
    """The form that this person has open."""
    return await until(lambda: next(iter(incident.slack.views(person)), None))


async def asked_in_channel(incident: Incident, run: str) -> str:
    """The message that asks the run's newest question, waiting for it."""

    def found() -> list[str]:
        keyed = [(m.get("metadata", {}).get("event_payload", {}).get("key", ""), m["text"]) for m in incident.messages()]
        return [text for key, text in keyed if key.startswith(f"{run}/stage")]

    return (await until(found))[-1]


# The question ---------------------------------------------------------------------------------------------------------


async def test_a_run_whose_step_fails_waits_and_says_why_and_what_can_be_done(incident: Incident) -> None:
    run = await failed(incident)
    assert incident.title(run) == "Waiting for a person"
    assert incident.buttons(run) == ["dr_fallback", "dr_retry", "dr_skip", "dr_abort"]  # a retry cures no AccessDenied
    assert any("Step 1.1 failed" in line and "AccessDenied" in line for line in incident.thread(run))
    asks = await asked_in_channel(incident, run)
    assert asks.startswith("❌ <@U0ALICE> <@U0BOB>: ")
    assert "Step 1.1 failed. Waiting for your decision." in asks
    assert incident.effects() == []


async def test_retry_does_the_step_again_and_the_run_is_done(incident: Incident) -> None:
    run = await failed(incident)
    await incident.click("carol", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert "<@U0CAROL> decided: retry." in incident.thread(run)


async def test_a_retry_that_fails_asks_again(incident: Incident) -> None:
    run = await failed(incident, times=2)
    asked = value_of(incident, run, "dr_retry")
    await incident.click("carol", run, "dr_retry")
    await until(lambda: value_of(incident, run, "dr_retry") not in ("", asked))
    assert incident.effects() == []
    await incident.click("carol", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_skip_takes_a_reason_and_the_end_says_what_was_passed_over(incident: Incident) -> None:
    run = await failed(incident)
    await incident.click("carol", run, "dr_skip")
    form = await form_of(incident, "carol")
    assert form["callback_id"] == "dr_confirm"
    refused = await incident.slack.submit("carol", form["id"], {"reason": "    "})
    assert refused["errors"] == {"reason": "A reason of at least three characters is needed. Nothing was done."}
    assert incident.title(run) == "Waiting for a person"
    accepted = await incident.slack.submit("carol", form["id"], {"reason": "It answers again by itself."})
    assert accepted["acked"]
    assert incident.slack.views("carol") == []
    assert await incident.ended(run) == "Done"
    assert "Step 1.1 was skipped by a person and is not proven" in incident.says(run)
    assert "<@U0CAROL> decided: skip, because: It answers again by itself." in incident.thread(run)
    assert any("Step 2.1 done" in line for line in incident.thread(run))
    assert incident.effects() == []


async def test_if_slack_opens_no_form_the_person_is_told_to_press_again(incident: Incident) -> None:
    run = await failed(incident)
    incident.slack.faults.rate_limit("views.open")
    assert "press Skip again" in await incident.refused("carol", run, "dr_skip")
    assert incident.title(run) == "Waiting for a person"
    await incident.click("carol", run, "dr_skip")
    assert (await form_of(incident, "carol"))["callback_id"] == "dr_confirm"


async def test_the_fallback_is_a_plan_of_its_own_that_another_person_must_approve(incident: Incident) -> None:
    run = await failed(incident)
    known = set(incident.ids())
    await incident.click("bob", run, "dr_fallback")
    fallback = await incident.new_plan(known)
    assert await incident.ended(run) == "Failed"
    assert "control-plane rollback" in incident.says(run)
    assert "Approval needed: Roll service control-plane back to control-plane:6" in incident.says(fallback)
    assert "You asked for this plan yourself" in await incident.refused("bob", fallback, "dr_approve")
    assert incident.effects() == []
    await incident.click("alice", fallback, "dr_approve")
    assert await incident.ended(fallback) == "Done"
    assert incident.effects() == ONCE
    assert incident.world.ecs.scheduler.primary.revision.number == 6


async def test_a_fallback_that_can_not_be_planned_ends_the_run_with_the_reason(incident: Incident) -> None:
    run = await incident.plan("alice", "database failover")
    incident.world.aws_faults.put("access_denied", operation="RebootDBInstance")
    await incident.click("bob", run, "dr_approve")
    await incident.waiting(run)
    incident.world.aws_faults.put("access_denied", operation="DescribeDBInstances", times=None)
    await incident.click("bob", run, "dr_fallback")
    assert await incident.ended(run, 30) == "Failed"
    said = incident.thread(run)[-1]
    assert said.startswith(
        "The fallback `/dr database restore time=latest` can't be planned now: The latest restorable time is not"
    )
    assert "AccessDenied" in said
    assert incident.effects() == []


async def test_abort_ends_the_run_and_frees_its_target(incident: Incident) -> None:
    run = await failed(incident)
    await incident.click("carol", run, "dr_abort")
    assert await incident.ended(run) == "Aborted"
    assert "<@U0CAROL> ended the run at step 1.1." in incident.says(run)
    assert incident.buttons(run) == []
    assert incident.effects() == []
    following = await incident.approved("carol", "alice")
    assert await incident.ended(following) == "Done"


async def test_a_person_who_is_on_no_list_decides_nothing(incident: Incident) -> None:
    run = await failed(incident)
    for action in ("dr_retry", "dr_skip", "dr_fallback", "dr_abort", "dr_stop"):
        value = f"{run}:stop:now" if action == "dr_stop" else None
        shown = incident.photo(run) if action != "dr_stop" else with_button(incident.photo(run), action)
        async with incident.told("dave") as sentences:
            await incident.stale_click("dave", shown, action, value)
        may_end = action in ("dr_abort", "dr_stop")  # which a requester may, too
        assert sentences[0].startswith("You can't reject a plan or end a run" if may_end else "You're not an approver")
        assert "Ask <@U0ALICE>, <@U0BOB> or <@U0CAROL>." in sentences[0]  # not Gina, who is a guest
    assert incident.title(run) == "Waiting for a person"
    assert incident.slack.views("dave") == []


async def test_a_second_answer_to_the_same_question_is_refused_and_names_the_first(incident: Incident) -> None:
    run = await failed(incident)
    shown = incident.photo(run)
    await incident.click("bob", run, "dr_retry")
    said = await incident.stale_refused("carol", shown, "dr_abort")
    assert f"This question of run {run} is closed. <@U0BOB> answered it at " in said
    assert ": retry." in said
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


# Stop -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["command", "button"])
async def test_a_stopped_run_proves_the_step_under_way_and_begins_no_other(incident: Incident, how: str) -> None:
    run = await incident.plan("alice")
    incident.world.aws_faults.put("slow", operation="UpdateService", seconds=1.0)
    await incident.click("bob", run, "dr_approve")
    await until(lambda: "dr_stop" in incident.buttons(run) and '"in_progress"' in incident.says(run))
    if how == "command":
        assert f"Got `/dr stop {run}`" in await incident.type("carol", f"stop {run}")
    else:
        await incident.click("carol", run, "dr_stop")
    assert await incident.ended(run) == "Stopped"
    lines = incident.thread(run)
    assert any("<@U0CAROL> told the run to stop" in line for line in lines)
    assert any("Step 1.1 done" in line for line in lines)
    assert not any("Step 2.1" in line for line in lines)
    assert incident.effects() == ONCE
    assert (await incident.story(run))["state"] == "stopped"


async def test_stopping_a_run_that_waits_for_a_person_ends_it(incident: Incident) -> None:
    run = await failed(incident)
    await incident.type("carol", f"stop {run}")
    assert await incident.ended(run) == "Aborted"
    assert "<@U0CAROL> told the run to stop. It was waiting for a person, so it ends here." in incident.thread(run)
    assert incident.effects() == []


async def test_only_people_on_the_lists_stop_a_run(incident: Incident) -> None:
    run = await failed(incident)
    async with incident.told("dave", 2) as sentences:
        await incident.type("dave", f"stop {run}")
    assert "You can't reject a plan or end a run" in sentences[-1]
    assert incident.title(run) == "Waiting for a person"


async def test_stopping_an_unknown_run_is_answered_with_a_sentence(incident: Incident) -> None:
    async with incident.told("alice", 2) as sentences:
        await incident.type("alice", "stop aaaaaaaa")
    assert "There is no run 'aaaaaaaa' to stop." in sentences[-1]


async def test_a_run_that_is_over_cannot_be_stopped(incident: Incident) -> None:
    run = await incident.approved()
    await incident.ended(run)
    async with incident.told("alice", 2) as sentences:
        await incident.type("alice", f"stop {run}")
    assert sentences[-1] == f"Run {run} is over: done. There is nothing to stop."


# What is no command, no button and no payload ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("control-plane restrat", "After `control-plane` comes one of: restart, rollback."),
        ("databse failover", "Did you mean `database failover`?"),
        ("rnus", "Did you mean `runs`?"),
        ("control-plane restart anyway=perhaps", "yes or no is expected"),
        ("control-plane restart anyhow=yes", "`anyway`? Usage: `/dr control-plane restart [service=TEXT] [anyway=yes]`"),
        ("control-plane restart 'unclosed", "Close the quotation mark."),
        ("show", "takes one run id"),
        ("show aaaaaaaa", "There is no run 'aaaaaaaa'."),
        ("\U0001f525 " * 400, "is not a command"),
    ],
)
async def test_words_that_make_no_command_are_answered_with_a_sentence_and_nothing_else(
    incident: Incident, text: str, said: str
) -> None:
    before = incident.ids()
    assert said in await incident.type("alice", text)
    assert incident.ids() == before
    assert incident.world.journal.calls(source="bot") == []


async def test_help_lists_every_command(incident: Incident) -> None:
    said = await incident.type("dave", "help")
    for words in (RESTART, "control-plane rollback", "database failover", "runs", "show RUN", "stop RUN"):
        assert f"`/dr {words}" in said


async def test_runs_and_show_tell_what_happened(incident: Incident) -> None:
    run = await incident.approved()
    await incident.ended(run)
    assert f"*{run}* Restart service control-plane (`/dr {RESTART}`): done" in await incident.type("dave", "runs")
    said = await incident.type("dave", f"show {run}")
    assert "Step 1.1 done" in said
    assert "Every step is done and proven" in said


BROKEN: list[dict[str, Any]] = [
    {"actions": []},
    {"actions": [{"action_id": "dr_destroy", "type": "button", "value": "x", "action_ts": "1.1"}]},
    {"actions": [{"action_id": "dr_approve", "type": "button", "action_ts": "1.1"}]},
    {"actions": [{"action_id": "dr_approve", "type": "button", "value": 7, "action_ts": "1.1"}]},
    {"user": {}},
    {"channel": None},
]


async def test_clicks_that_slack_would_not_send_change_nothing_and_the_bot_lives_on(incident: Incident) -> None:
    run = await incident.plan("alice")
    who, where = incident.slack.person("bob"), incident.slack.channel("incident")
    pressed = {"action_id": "dr_approve", "type": "button", "value": f"{run}:plan:x", "action_ts": "1.1", "block_id": "b"}
    card, url = incident.card(run), "http://127.0.0.1:1/"
    body = payloads.block_actions(who, where, card, pressed, trigger_id="1.2", response_url=url)
    send = incident.slack.sockets.deliver
    await asyncio.gather(*(send("interactive", body | broken, accepts_response=False) for broken in BROKEN))
    await incident.quiet()
    assert "dr_approve" in incident.buttons(run)
    assert incident.effects() == []
    assert await incident.type("bob", "runs")
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_an_unknown_button_is_answered_with_the_names_of_the_known_ones(incident: Incident) -> None:
    run = await incident.plan("alice")
    message = incident.photo(run)
    message["blocks"][-2]["elements"][0]["action_id"] = "dr_destroy"
    said = await incident.stale_refused("bob", message, "dr_destroy")
    assert all(words in said for words in ("I have no button 'dr_destroy'", "dr_approve")), said
    assert said.endswith("Nothing was done.")


@pytest.mark.parametrize("callback_id", ["dr_confirm", "somebody_elses"])
async def test_a_form_that_is_not_ours_changes_nothing(incident: Incident, callback_id: str) -> None:
    run = await failed(incident)
    view = {"id": "V1", "type": "modal", "callback_id": callback_id, "private_metadata": "C0INCIDENT|forged", "state": {}}
    values = {"reason": {"reason": {"type": "plain_text_input", "value": "a good reason"}}}
    body = payloads.view_submission(incident.slack.person("bob"), view, values, trigger_id="1.3")
    await incident.slack.sockets.deliver("interactive", body)
    await incident.quiet()
    assert incident.title(run) == "Waiting for a person"
    assert incident.effects() == []
