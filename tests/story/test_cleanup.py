"""A clean-up follows every end of a run, also after a crash, and leaves nothing behind without saying so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.waiting import until
from tests.story.held_world import HOLD, HeldIncident, HeldWorld, held_incident, held_world

CLEAN = "The clean-up is done and proven (step 4.1)."


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    async with held_world(work_dirs / "cleanup", cache) as world:
        yield world


@pytest.fixture
async def incident(world: HeldWorld) -> AsyncIterator[HeldIncident]:
    async with held_incident(world) as incident:
        yield incident


async def go_on(incident: HeldIncident, run: str) -> None:
    """Answer Yes."""
    await until(lambda: "dr_hold_yes" in incident.buttons(run), 30)
    await incident.click("bob", run, "dr_hold_yes")


async def approved(incident: HeldIncident) -> str:
    run = await incident.plan("alice", HOLD, timeout=60)
    await incident.click("bob", run, "dr_approve")
    return run


async def test_the_plan_says_what_is_done_at_the_end_and_it_is_done(incident: HeldIncident) -> None:
    run = await incident.plan("alice", HOLD, timeout=60)
    before, _, after = incident.says(run).partition("At the end, whatever happens")
    assert "*3.1 Restart service control-plane*" in before
    assert "*4.1 Drop the temporary file*" in after
    await incident.click("bob", run, "dr_approve")
    await go_on(incident, run)
    assert await incident.ended(run, 60) == "Done"
    assert incident.done == ["make", "evidence", "drop"]
    assert CLEAN in incident.says(run)
    assert incident.thread(run)[-1] == f"{CLEAN} The run is over: done."
    assert any("Every step is done and proven" in line and "Now the clean-up" in line for line in incident.thread(run))


async def test_a_no_is_followed_by_the_cleanup(incident: HeldIncident) -> None:
    run = await incident.held()
    await incident.says_no(run)
    assert await incident.ended(run, 60) == "Aborted"
    assert incident.done == ["make", "evidence", "drop"]
    assert incident.effects() == []


@pytest.mark.parametrize(("button", "end"), [("dr_abort", "Aborted"), ("dr_fallback", "Failed")])
async def test_a_failed_run_is_followed_by_the_cleanup(incident: HeldIncident, button: str, end: str) -> None:
    incident.world.aws_faults.put("access_denied", operation="UpdateService", times=None)
    run = await incident.held()
    await go_on(incident, run)
    await incident.waiting(run)
    await incident.click("carol", run, button)
    assert await incident.ended(run, 60) == end
    assert incident.done == ["make", "evidence", "drop"]
    assert CLEAN in incident.says(run)


async def test_a_stopped_run_is_followed_by_the_cleanup(incident: HeldIncident) -> None:
    incident.control(make="slow")
    run = await approved(incident)
    await until(lambda: "trying" in incident.done, 30)
    await incident.type("alice", f"stop {run}")
    assert await incident.ended(run, 60) == "Stopped"
    assert incident.done == ["trying", "make", "drop"]


async def test_if_nothing_is_left_to_drop_it_is_already_done(incident: HeldIncident) -> None:
    incident.control(make="refused")
    run = await approved(incident)
    await incident.waiting(run)
    await incident.click("carol", run, "dr_abort")
    assert await incident.ended(run, 60) == "Aborted"
    assert "Step 4.1 already done: There is no temporary file." in incident.thread(run)
    assert incident.done == []


async def test_a_cleanup_that_fails_waits_for_a_person_and_cannot_be_stopped(incident: HeldIncident) -> None:
    incident.control(drop="refused")
    run = await incident.held()
    await incident.says_no(run)
    await incident.waiting(run)
    assert incident.buttons(run) == ["dr_retry", "dr_skip"]
    async with incident.told("alice", 2) as sentences:
        await incident.type("alice", f"stop {run}")
    assert (
        sentences[-1] == f"Run {run} has ended (aborted) and is cleaning up, which follows every end. There is nothing to stop."
    )
    await incident.revive()
    assert incident.buttons(run) == ["dr_retry", "dr_skip"]
    incident.control()
    await incident.click("bob", run, "dr_retry")
    assert await incident.ended(run, 60) == "Aborted"
    assert incident.done == ["make", "evidence", "drop"]


async def test_what_a_person_skips_of_a_cleanup_is_said_to_be_left_behind(incident: HeldIncident) -> None:
    incident.control(drop="refused")
    run = await incident.held()
    await incident.says_no(run)
    await incident.waiting(run)
    await incident.click("bob", run, "dr_skip")
    await incident.fill_in("bob", reason="It is dropped by hand.")
    assert await incident.ended(run, 60) == "Aborted"
    assert "Left behind: a person skipped step 4.1 of the clean-up." in incident.says(run)


@pytest.mark.parametrize(("control", "seen"), [("slow", "trying"), ("slow answer", "drop")])
async def test_a_bot_killed_in_a_cleanup_cleans_up_exactly_once(incident: HeldIncident, control: str, seen: str) -> None:
    incident.control(drop=control)
    run = await incident.held()
    await incident.says_no(run)
    await until(lambda: seen in incident.done, 30)
    await incident.world.kill_bot()
    incident.control()
    await incident.revive()
    assert await incident.ended(run, 60) == "Aborted"
    assert incident.done.count("drop") == 1
    assert not (incident.world.work_dir / "temporary").exists()
    assert CLEAN in incident.says(run)
