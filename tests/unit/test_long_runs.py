"""The card of a long run: what matters is whole on it, and what is done is one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from actions.aws.ecs import ForceNewDeployment
from bot.slack import cards
from bot.slack.look import Look
from bot.state.story import Offer, Run, StepState, Story
from commands.plan import Plan
from rehearsal.slack import blocks as slack


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("done", [0, 1, 17, 24])
def test_a_long_runs_card_has_the_step_under_way_whole(done: int, simple: bool) -> None:
    story = long_run(25, done)
    _, blocks = cards.render(story, Look(simple=simple))
    said = json.dumps(blocks, ensure_ascii=False)
    assert slack.problems(blocks) == []
    assert not slack.too_long(blocks)
    assert "(cut short)" not in said
    _, step = list(story.offer.plan.steps())[done]
    assert f"{done + 1}.1 {step.title}" in said
    assert step.command() in said
    if done > 10:
        assert f"*Steps 1.1 to {done - 2}.1 of 25 are done.*" in said
    if done < 20:
        assert f"{25 - done - 3} more steps follow." in said


def test_a_step_that_failed_stays_on_the_card_of_a_long_run() -> None:
    story = long_run(25, 17)
    failed = replace(story.steps[1], state="skipped", says="Bob skipped it.")
    story = replace(story, steps=(story.steps[0], failed, *story.steps[2:]))
    said = json.dumps(cards.render(story, Look())[1], ensure_ascii=False)
    assert "Bob skipped it." in said
    assert "*14 other steps of 25 are done.*" in said


def long_run(steps: int, done: int) -> Story:
    """A run of so many steps, of which these are done and the next is under way."""
    names = [f"control-plane-of-a-customer-with-a-long-name-{number}" for number in range(steps)]
    plan = Plan(
        scenario="control-plane restart",
        arguments={},
        why="Everything hangs.",
        target="service shielda/control-plane",
        stages=tuple((ForceNewDeployment(cluster="shielda", service=name, region="us-west-2"),) for name in names),
        basis={},
    )
    offer = Offer(
        id="abcdefgh",
        plan=plan,
        digest="0" * 64,
        nonce="n" * 16,
        requested_by="U0ALICE",
        requested_at=1_736_937_000,
        expires=1_736_938_000,
        status="approved",
        closed_by="",
        changes=(),
        channel="C0INCIDENT",
        approved_by=("U0BOB",),
    )
    run = Run(
        id=offer.id, target=plan.target, state="running", says="", began=1_736_937_100, ended=None, stop_by="", question=None
    )
    ended = "Deployment ecs-svc/7271534953972905853 of control-plane:7 is complete with 1 running after 338 s."
    states = [
        StepState(step=f"{n + 1}.1", attempt=1, state="done", says=ended, began=1_736_937_200, ended=1_736_937_300)
        for n in range(done)
    ]
    under_way = StepState(step=f"{done + 1}.1", attempt=1, state="started", says="", began=1_736_937_300, ended=None)
    return Story(offer=offer, run=run, steps=(*states, under_way), timeline=())
