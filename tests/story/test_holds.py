"""A Hold: evidence in the thread, a question on the card, and an approver's Yes or No, once, through crashes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.waiting import until
from tests.story.held_world import HOLD, HeldIncident, HeldWorld, held_incident, held_world

ROWS = "; ".join(f"table_{n:03} has {n * 17} rows here and {n * 17} there" for n in range(200))
ONCE = [("UpdateService", 1)]


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    async with held_world(work_dirs / "holds", cache) as world:
        yield world


@pytest.fixture
async def incident(world: HeldWorld) -> AsyncIterator[HeldIncident]:
    async with held_incident(world) as incident:
        yield incident


def evidence_of(incident: HeldIncident, run: str) -> str:
    """All the evidence in the thread, as people read it."""
    lines = incident.thread(run)
    first = next(number for number, line in enumerate(lines) if line.startswith("*Evidence for step 2.1*"))
    return "\n".join(lines[first:])


async def test_a_hold_shows_its_evidence_whole_and_asks(incident: HeldIncident) -> None:
    incident.control(rows=ROWS)
    run = await incident.plan("alice", HOLD, timeout=60)
    assert "2.1 Stop here and ask: Is the file good enough?" in incident.says(run)
    await incident.click("bob", run, "dr_approve")
    await incident.asks(run)
    assert incident.title(run) == "Waiting for a person"
    await until(lambda: incident.buttons(run) == ["dr_hold_yes", "dr_hold_no"])
    said = evidence_of(incident, run)
    assert "The file is there." in said
    assert ROWS in re.sub(r"`\n *`", "", said)
    asks = (await incident.story(run))["timeline"][-1]["text"]
    assert asks.startswith("Step 2.1 asks: Is the file good enough? The evidence is in the thread: 2 findings")
    assert "(1 to be weighed, 1 for it)" in asks
    assert incident.effects() == []


async def test_after_a_yes_the_run_goes_on(incident: HeldIncident) -> None:
    run = await incident.held()
    await until(lambda: "dr_hold_yes" in incident.buttons(run))
    await incident.click("bob", run, "dr_hold_yes")  # who approved the plan may answer
    assert await incident.ended(run, 60) == "Done"
    lines = incident.thread(run)
    assert "Step 2.1 done: <@U0BOB> answered Yes." in lines
    assert incident.effects() == ONCE


async def test_a_no_takes_a_reason_and_ends_the_run_with_what_stands(incident: HeldIncident) -> None:
    run = await incident.held()
    await incident.says_no(run)
    assert await incident.ended(run, 60) == "Aborted"
    lines = incident.thread(run)
    assert "Step 2.1 declined: <@U0CAROL> answered No. Reason: Rows are missing." in lines
    assert any("What was done before stays done (steps 1.1 and 1.2). No further step begins." in line for line in lines)
    assert incident.effects() == []


async def test_who_may_not_approve_answers_nothing(incident: HeldIncident) -> None:
    requesters = 'requesters = ["U0ALICE", "U0BOB", "U0CAROL"]'
    approvers = 'approvers = ["U0ALICE", "U0BOB", "U0CAROL", "U0GINA"]'
    only_bob = f'{requesters}\napprovers = ["U0BOB", "U0CAROL"]'
    async with incident.settings(f"{requesters}\n{approvers}", only_bob):
        run = await incident.held()
        await until(lambda: "dr_hold_yes" in incident.buttons(run))
        for person, button in (("alice", "dr_hold_yes"), ("alice", "dr_hold_no"), ("dave", "dr_hold_yes")):
            assert "not an approver of `/dr test hold`, so you can't decide" in await incident.refused(person, run, button)
        assert incident.title(run) == "Waiting for a person"
        await incident.click("carol", run, "dr_hold_yes")
        assert await incident.ended(run, 60) == "Done"
    assert incident.effects() == ONCE


async def test_a_second_click_is_refused_and_changes_nothing(incident: HeldIncident) -> None:
    run = await incident.held()
    await until(lambda: "dr_hold_yes" in incident.buttons(run))
    shown = incident.photo(run)
    await incident.click("bob", run, "dr_hold_yes")
    said = await incident.stale_refused("carol", shown, "dr_hold_yes")
    assert "<@U0BOB> answered it at" in said
    assert ": yes." in said
    assert await incident.ended(run, 60) == "Done"
    assert incident.effects() == ONCE


async def test_evidence_that_speaks_against_it_leaves_only_no(incident: HeldIncident) -> None:
    incident.control(evidence="stop")
    run = await incident.held()
    await incident.quiet()
    assert incident.buttons(run) == ["dr_hold_no"]
    assert "Yes is not offered, because: The file is damaged." in incident.says(run)
    shown = incident.photo(run)
    button = next(b for b in shown["blocks"] if b["type"] == "actions")["elements"][0]
    button["action_id"] = "dr_hold_yes"  # as nobody's screen shows it
    assert "Yes is not an answer to this question; it takes No." in await incident.stale_refused("bob", shown, "dr_hold_yes")


async def test_evidence_that_cannot_be_read_is_gathered_again(incident: HeldIncident) -> None:
    incident.control(evidence="unread")
    run = await incident.held()
    await incident.quiet()
    assert incident.buttons(run) == ["dr_retry", "dr_hold_no"]
    assert "The evidence could not be gathered: The disk did not answer." in evidence_of(incident, run)
    incident.control()
    await incident.click("bob", run, "dr_retry")
    await until(lambda: "dr_hold_yes" in incident.buttons(run), 30)
    await incident.click("bob", run, "dr_hold_yes")
    assert await incident.ended(run, 60) == "Done"


async def test_a_killed_bot_asks_no_second_question(incident: HeldIncident) -> None:
    run = await incident.held()
    await until(lambda: "dr_hold_yes" in incident.buttons(run))
    await incident.quiet()
    lines, shown = incident.thread(run), incident.photo(run)
    await incident.revive()
    await incident.quiet()
    assert incident.thread(run) == lines
    assert incident.done == ["make", "evidence"]
    await incident.stale_click("carol", shown, "dr_hold_yes")
    assert await incident.ended(run, 60) == "Done"
    assert incident.done.count("evidence") == 1
    assert incident.effects() == ONCE


async def test_a_stop_ends_a_run_that_waits_in_a_hold(incident: HeldIncident) -> None:
    run = await incident.held()
    await incident.type("alice", f"stop {run}")
    assert await incident.ended(run, 60) == "Aborted"
    assert incident.effects() == []
