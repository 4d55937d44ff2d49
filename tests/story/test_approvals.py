"""Who may approve what, and when: told through Slack, to a bot that is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import html
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.story.conftest import RESTART, Incident, until
from tests.story.strange import strange_input_is_answered

SERVICE = "service shielda/control-plane"
ONCE = [("UpdateService", 1)]


@pytest.fixture
def carol_has_left(incident: Incident) -> Iterator[None]:
    """Carol is deactivated in Slack; the list of approvers still has her."""
    carol = incident.slack.people["U0CAROL"]
    yield
    incident.slack.people["U0CAROL"] = carol


def nothing_was_done(incident: Incident, run: str) -> bool:
    """No effect, no run, and the plan still stands."""
    return incident.effects() == [] and "dr_approve" in incident.buttons(run)


# One approval ---------------------------------------------------------------------------------------------------------


async def test_an_approved_plan_is_carried_out_once_and_its_card_is_pinned(incident: Incident) -> None:
    run = await incident.approved("alice", "bob")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert incident.card(run)["pinned"]
    assert "<@U0ALICE>" in incident.says(run)
    assert "<@U0BOB>" in incident.says(run)
    assert incident.buttons(run) == []


async def test_what_a_log_line_says_is_shown_as_it_is_and_wakes_nobody(incident: Incident) -> None:
    line = "ERROR <!channel> see <https://evil.example|the runbook>, it is a <class 'ValueError'>"
    for _ in range(3):  # the plan shows the three newest, which may be a restarted task's own
        incident.world.logs.put("us-west-2", "/ecs/shielda-control-plane", "control-plane/1", line)
    run = await incident.plan("alice")
    ts, evidence = incident.card(run)["ts"], html.escape(line.replace("<!", "<\u200b!"), quote=False)
    thread = await until(lambda: [m["text"] for m in incident.slack.messages("incident", ts)[1:]], 10)
    assert "<!channel>" not in incident.says(run) + "".join(thread)
    assert evidence in "".join(thread)


async def test_ten_clicks_at_once_are_one_approval_and_the_others_are_answered(incident: Incident) -> None:
    run = await incident.plan("alice")
    async with incident.told("bob", 9) as sentences:
        await asyncio.gather(*(incident.click("bob", run, "dr_approve") for _ in range(10)))
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    for sentence in sentences:
        assert "approved already by <@U0BOB> at " in sentence
        assert sentence.count("UTC") == 1
    assert sum("approved plan" in line for line in incident.thread(run)) == 1


async def test_two_people_who_approve_at_once_begin_one_run(incident: Incident) -> None:
    run = await incident.plan("alice")
    await asyncio.gather(*(incident.click(person, run, "dr_approve") for person in ("bob", "carol")))
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_an_envelope_delivered_twice_is_one_command(incident: Incident) -> None:
    before = set(incident.ids())
    incident.slack.faults.duplicate_next_envelope()
    run = await incident.plan("alice")
    await incident.quiet()
    assert set(incident.ids()) - before == {run}


async def test_an_envelope_delivered_twice_is_one_approval_and_no_refusal(incident: Incident) -> None:
    run = await incident.plan("alice")
    told = len(incident.slack.ephemerals("bob"))
    incident.slack.faults.duplicate_next_envelope()
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    assert len(incident.slack.ephemerals("bob")) == told


async def test_if_two_approvals_are_needed_one_does_not_start_the_run(incident: Incident) -> None:
    async with incident.settings("expiry_minutes = 15.0", "approvals = 2"):
        run = await incident.plan("alice")
        await incident.click("bob", run, "dr_approve")
        await until(lambda: "Approved so far by <@U0BOB>" in incident.says(run))
        assert "needs another person's approval" in await incident.refused("bob", run, "dr_approve")
        assert nothing_was_done(incident, run)
        await incident.click("carol", run, "dr_approve")
        assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


# Refused, with a sentence ---------------------------------------------------------------------------------------------


async def test_who_asked_for_a_plan_may_not_approve_it(incident: Incident) -> None:
    run = await incident.plan("alice")
    said = await incident.refused("alice", run, "dr_approve")
    assert said == "You asked for this plan yourself, so you can't approve it. Ask <@U0BOB> or <@U0CAROL>."
    assert nothing_was_done(incident, run)


@pytest.mark.parametrize("action", ["dr_approve", "dr_reject"])
async def test_a_person_who_is_on_no_list_may_neither_approve_nor_reject(incident: Incident, action: str) -> None:
    run = await incident.plan("alice")
    said = await incident.refused("dave", run, action)
    assert said.startswith("You're not an approver" if action == "dr_approve" else "You can't reject a plan")
    assert said.endswith("<@U0BOB> or <@U0CAROL>."), said  # not Gina, who is a guest
    assert nothing_was_done(incident, run)


async def test_a_person_who_is_on_no_list_gets_no_plan(incident: Incident) -> None:
    before = incident.ids()
    async with incident.told("dave", 2) as sentences:  # the command's own answer, and the refusal
        await incident.type("dave", RESTART)
    assert "You can't ask for `/dr control-plane restart`. Ask <@U0ALICE>, <@U0BOB>" in sentences[-1]
    assert incident.ids() == before


async def test_a_guest_may_not_approve_even_if_she_is_on_the_list(incident: Incident) -> None:
    assert "U0GINA" in incident.world.config.read_text()
    run = await incident.plan("alice")
    assert "<@U0BOB> or <@U0CAROL> (not <@U0ALICE>, who asked) must approve" in incident.says(run)
    assert "U0GINA" not in incident.says(run), "a card called somebody whom the bot refuses"
    assert "<@U0GINA> is a guest in Slack" in await incident.refused("gina", run, "dr_approve")
    assert nothing_was_done(incident, run)


@pytest.mark.usefixtures("carol_has_left")
async def test_a_deactivated_person_may_not_approve_even_a_moment_after_she_could(incident: Incident) -> None:
    run = await incident.plan("carol")  # Slack has just told the bot that she is a member
    await incident.click("carol", run, "dr_reject")
    await until(lambda: "rejected" in incident.says(run))
    incident.slack.people["U0CAROL"] = replace(incident.slack.people["U0CAROL"], deleted=True)
    run = await incident.plan("alice")
    assert "<@U0CAROL> is deactivated in Slack" in await incident.refused("carol", run, "dr_approve")
    assert nothing_was_done(incident, run)


async def test_if_slack_does_not_say_who_a_person_is_nothing_is_approved(incident: Incident) -> None:
    run = await incident.plan("alice")
    incident.slack.faults.rate_limit("users.info", times=3)
    said = await incident.refused("bob", run, "dr_approve")
    assert "Slack did not say" in said
    assert nothing_was_done(incident, run)


async def test_an_expired_plan_may_not_be_approved(incident: Incident) -> None:
    async with incident.settings("expiry_minutes = 15.0", "expiry_minutes = 0.02"):
        run = await incident.plan("alice")
        await asyncio.sleep(1.5)
        said = await incident.refused("bob", run, "dr_approve")
    assert f"Plan {run} expired at " in said
    assert "nothing was done" in said
    assert incident.effects() == []


async def test_a_rejected_plan_may_not_be_approved(incident: Incident) -> None:
    run = await incident.plan("alice")
    shown = incident.photo(run)
    await incident.click("bob", run, "dr_reject")
    await until(lambda: "rejected" in incident.says(run))
    assert incident.buttons(run) == []
    assert f"Plan {run} was rejected by <@U0BOB>" in await incident.stale_refused("carol", shown, "dr_approve")
    assert incident.effects() == []


async def test_a_forged_button_is_refused(incident: Incident) -> None:
    run = await incident.plan("alice")
    for value in (f"{run}:plan:forged", "aaaaaaaa:plan:forged", "nonsense", ":::", f"{run}:plan", "x" * 2000):
        assert "Nothing was done" in await incident.refused("bob", run, "dr_approve", value)
    assert nothing_was_done(incident, run)


async def test_one_plans_nonce_does_not_approve_another_plan(incident: Incident) -> None:
    first, second = await incident.plan("alice"), await incident.plan("bob", "control-plane rollback")
    nonce = incident.says(second).split(f"{second}:plan:")[1].split('"')[0]
    said = await incident.refused("carol", first, "dr_approve", f"{first}:plan:{nonce}")
    assert "I don't know the plan of this button" in said
    assert nothing_was_done(incident, first)


# The world has changed ------------------------------------------------------------------------------------------------


async def test_a_plan_whose_world_has_changed_is_not_carried_out_but_made_again(incident: Incident) -> None:
    run = await incident.plan("alice")
    shown, known = incident.photo(run), set(incident.ids())
    await incident.deploy(6)
    await incident.click("bob", run, "dr_approve")
    assert await incident.ended(run) == "Not started"
    assert incident.effects() == []
    says = "Task definition was control-plane:7, is now control-plane:6."
    assert says in incident.says(run)
    again = await incident.new_plan(known)
    assert says in incident.says(again)
    old = await incident.stale_refused("carol", shown, "dr_approve")
    assert "no longer holds" in old
    assert "things have changed" in old
    assert "Nothing was done" in old
    assert incident.effects() == []
    await incident.click("bob", again, "dr_approve")
    assert await incident.ended(again) == "Done"
    assert incident.effects() == ONCE
    assert incident.world.ecs.scheduler.primary.revision.number == 6


async def test_a_run_that_did_not_begin_before_the_bot_was_away_for_long_needs_a_new_approval(incident: Incident) -> None:
    run = await incident.plan("alice")
    known = set(incident.ids())
    incident.world.aws_faults.put("slow", operation="DescribeServices", seconds=3.0)
    await incident.click("bob", run, "dr_approve")
    await until(lambda: any("approved plan" in line for line in incident.thread(run)))
    await incident.world.kill_bot()
    incident.world.aws_faults.clear()
    with contextlib.closing(sqlite3.connect(incident.world.work_dir / "state.sqlite")) as state, state:  # hours go by
        state.execute("UPDATE dr_plans SET expires = expires - 4 * 3600 WHERE id = ?", [run])
    await incident.world.start_bot()
    assert await incident.ended(run) == "Not started"
    assert "the approval is too old" in incident.thread(run)[-1]
    assert incident.effects() == []
    again = await incident.new_plan(known)
    await incident.click("bob", again, "dr_approve")
    assert await incident.ended(again) == "Done"
    assert incident.effects() == ONCE


async def test_a_change_that_was_not_sent_before_the_bot_was_away_for_long_needs_a_person(incident: Incident) -> None:
    run = await hours_after_a_crash_in_the_change(incident, "hang")
    await incident.waiting(run)
    assert any("Step 1.1 failed" in line and "been away since" in line for line in incident.thread(run))
    assert incident.effects() == []
    await incident.click("bob", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE


async def test_a_change_that_was_sent_before_the_bot_was_away_for_long_is_followed_to_its_end(incident: Incident) -> None:
    run = await hours_after_a_crash_in_the_change(incident, "slow")
    assert await incident.ended(run) == "Done"
    assert any("Step 1.1 already done: An earlier try had worked" in line for line in incident.thread(run))
    assert incident.effects() == ONCE


async def hours_after_a_crash_in_the_change(incident: Incident, fault: str) -> str:
    """A run whose bot was killed while AWS had its request, and is back four hours later; "slow" requests have their effect."""
    run = await incident.plan("alice")
    rule = incident.world.aws_faults.put(fault, operation="UpdateService", seconds=1.0)
    await incident.click("bob", run, "dr_approve")
    await until(lambda: rule.times == 0)
    await incident.world.kill_bot()
    await asyncio.sleep(1.0 if fault == "slow" else 0)
    with contextlib.closing(sqlite3.connect(incident.world.work_dir / "state.sqlite")) as state, state:
        state.execute("UPDATE dr_steps SET attempt_began = attempt_began - 4 * 3600 WHERE run_id = ? AND step = '1.1'", [run])
    await incident.world.start_bot()
    return run


# One run per target ---------------------------------------------------------------------------------------------------


async def test_while_a_run_holds_its_target_no_other_run_is_planned_or_approved_for_it(incident: Incident) -> None:
    earlier = await incident.plan("carol", "control-plane rollback")
    shown = incident.photo(earlier)
    run = await incident.plan("alice")
    incident.world.aws_faults.put("slow", operation="UpdateService", seconds=1.5)
    await incident.click("bob", run, "dr_approve")
    await until(lambda: "dr_approve" not in incident.buttons(run))

    held = f"Run {run} has been working on {SERVICE} since "
    at_approval = await incident.stale_refused("alice", shown, "dr_approve")
    assert f"Plan {earlier} no longer holds" in at_approval
    assert held in at_approval
    assert "UTC, approved by <@U0BOB>" in at_approval

    async with incident.told("carol", 2) as sentences:
        await incident.type("carol", "control-plane rollback")
    assert held in sentences[-1]
    assert f"/dr stop {run}" in sentences[-1]

    assert await incident.ended(run) == "Done"
    assert incident.effects() == ONCE
    following = await incident.approved("carol", "alice")
    assert await incident.ended(following) == "Done"


async def test_a_plan_that_waited_while_another_run_changed_its_target_is_asked_for_again(incident: Incident) -> None:
    earlier = await incident.plan("carol", "control-plane rollback")
    shown = incident.photo(earlier)
    run = await incident.approved("alice", "bob")
    assert await incident.ended(run) == "Done"
    assert incident.buttons(earlier) == []
    said = await incident.stale_refused("alice", shown, "dr_approve")
    assert "ask again with `/dr control-plane rollback`" in said
    await incident.quiet()
    assert incident.effects() == ONCE


# What nobody can type -------------------------------------------------------------------------------------------------


async def test_what_nobody_can_type_is_answered_with_one_sentence(incident: Incident) -> None:
    await strange_input_is_answered(incident)
