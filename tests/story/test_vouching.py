"""If we can't tell whether a change happened, a person who knows can vouch for it; what it should lead to is still proven."""

from __future__ import annotations

from tests.story.conftest import Incident, until

ONCE = [("UpdateService", 1)]
REASON = "The console shows the deployment."


async def doubtful(incident: Incident) -> str:
    """A run whose first change lost its answer while ECS could not be read: we can't tell whether it happened."""
    faults = incident.world.aws_faults
    run = await incident.plan("alice", timeout=60)
    slow = faults.put("slow", operation="UpdateService", seconds=0.5)
    faults.put("after_drop", operation="UpdateService")
    await incident.click("bob", run, "dr_approve")
    await until(lambda: slow.times == 0)
    faults.put("access_denied", operation="DescribeServices", times=None)
    await incident.waiting(run)
    return run


async def vouch(incident: Incident, run: str, person: str = "carol") -> None:
    await incident.click(person, run, "dr_happened")
    await incident.fill_in(person, reason=REASON)


async def test_it_happened_is_offered_only_for_a_change_in_doubt(incident: Incident) -> None:
    run = await doubtful(incident)
    assert incident.buttons(run) == ["dr_retry", "dr_skip", "dr_happened", "dr_fallback", "dr_abort"]
    says = (await incident.story(run))["timeline"][-1]["text"]
    assert "We can't tell whether step 1.1 happened. Waiting for your decision." in says
    assert "It happened means that you vouch for the change" in says


async def test_what_a_person_vouches_for_is_not_done_again_but_proven(incident: Incident) -> None:
    run = await doubtful(incident)
    incident.world.aws_faults.clear()
    await vouch(incident, run)
    assert await incident.ended(run) == "Done"
    lines = incident.thread(run)
    assert "<@U0CAROL> decided: it happened, because: The console shows the deployment." in lines
    assert any(
        line.startswith("Step 1.1 done: <@U0CAROL> says that it happened: The console shows the deployment.") for line in lines
    )
    assert incident.effects() == ONCE


async def test_a_vouched_change_whose_goal_is_not_seen_asks_again(incident: Incident) -> None:
    run = await doubtful(incident)
    await vouch(incident, run)
    await until(lambda: incident.buttons(run) == ["dr_fallback", "dr_retry", "dr_skip", "dr_abort"], 60)
    assert any("Step 1.1 failed: <@U0CAROL> says that it happened" in line for line in incident.thread(run))
    incident.world.aws_faults.clear()
    await incident.click("bob", run, "dr_retry")
    assert await incident.ended(run) == "Done"
    assert any("Step 1.1 already done: An earlier try had worked" in line for line in incident.thread(run))
    assert incident.effects() == ONCE


async def test_only_an_approver_vouches_and_only_with_a_reason(incident: Incident) -> None:
    run = await doubtful(incident)
    assert "You're not an approver" in await incident.refused("dave", run, "dr_happened")
    assert incident.slack.views("dave") == []
    await incident.click("carol", run, "dr_happened")
    answer = await incident.fill_in("carol", reason="    ")
    assert answer["errors"] == {"reason": "A reason of at least three characters is needed. Nothing was done."}
    assert incident.title(run) == "Waiting for a person"
