"""Whatever a story holds, its card is one that Slack takes, and says what people must know."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.base import Finding, Level
from actions.health import HealthAnswers
from bot import cards
from bot.store import ENDS, Line, Offer, Run, StepState, Story
from commands.plan import Plan
from rehearsal.slack import blocks as slack

MOST_CHARACTERS = 10_000
short = st.text(min_size=1, max_size=20)
foreign = st.just("<!channel> read <https://evil.example|this> & <class 'ValueError'>")
long = (
    foreign
    | st.text(max_size=60)
    | st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=9), st.integers(1, 700))
)
people = st.sampled_from(["U0ALICE", "U0BOB", "U0CAROL"])
moments = st.floats(min_value=1_736_937_000, max_value=1_900_000_000)
restarts = st.builds(ForceNewDeployment, cluster=long, service=long, region=short)
rollbacks = st.builds(RollBack, cluster=short, service=long, region=short, task_definition=long)
checks = st.builds(HealthAnswers, url=long.map(lambda text: f"https://{text}"))
findings = st.builds(Finding, level=st.sampled_from(Level), says=long, evidence=long)
plans = st.builds(
    Plan,
    scenario=st.sampled_from(["control-plane restart", "database failover"]),
    arguments=st.dictionaries(short, short, max_size=3),
    why=long,
    target=long,
    stages=st.lists(st.lists(restarts | rollbacks | checks, min_size=1, max_size=5).map(tuple), max_size=6).map(tuple),
    basis=st.just({}),
    findings=st.lists(findings, max_size=8).map(tuple),
    cost=st.lists(long, max_size=4).map(tuple),
    fallback=st.sampled_from(["", "control-plane rollback"]),
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A plan and what became of it, with texts of any length."""
    plan = draw(plans)
    status = draw(st.sampled_from(["offered", "approved", "rejected", "superseded", "expired"]))
    offer = Offer(
        id="abcdefgh",
        plan=plan,
        digest="0" * 64,
        nonce="n" * 16,
        requested_by=draw(people),
        requested_at=draw(moments),
        expires=draw(moments),
        status=status,
        closed_by=draw(st.sampled_from(["", "U0BOB"])),
        changes=tuple(draw(st.lists(long, max_size=4))),
        channel="C0INCIDENT",
        approved_by=tuple(draw(st.lists(people, max_size=5))),
    )
    run = draw(runs()) if status == "approved" else None
    states = tuple(draw(step_states(step)) for step, _ in plan.steps() if run and draw(st.booleans()))
    lines = tuple(draw(st.lists(st.builds(Line, at=moments, mark=st.sampled_from(sorted(cards.MARKS)), text=long), max_size=4)))
    return Story(offer=offer, run=run, steps=states, timeline=lines)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    state = draw(st.sampled_from([*ENDS, "approved", "running", "waiting"]))
    question = {
        "id": "abcdefgh/stage1-1",
        "name": "stage1-1",
        "nonce": "n" * 16,
        "choices": ["retry", "skip", "fallback", "abort"],
    }
    return Run(
        id="abcdefgh",
        target=draw(long),
        state=state,
        says=draw(long),
        began=draw(moments),
        ended=draw(moments) if state in ENDS else None,
        stop_by=draw(st.sampled_from(["", "U0BOB"])),
        question=question if state == "waiting" else None,
    )


@st.composite
def step_states(draw: st.DrawFn, step: str) -> StepState:
    state = draw(st.sampled_from([s for s in cards.STATES if s]))
    return StepState(step=step, attempt=1, state=state, says=draw(long), began=draw(moments), ended=draw(moments))


def accepted(blocks: list[dict[str, Any]]) -> None:
    assert slack.problems(blocks) == []
    assert len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False)) <= MOST_CHARACTERS
    assert not slack.too_long(blocks)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(stories(), st.integers(1, 5))
def test_the_card_of_any_story_is_within_slacks_limits_and_keeps_its_id(story: Story, needed: int) -> None:
    text, blocks = cards.render(story, 30, needed)
    assert 0 < len(text) <= 3000
    accepted(blocks)
    assert "`abcdefgh`" in json.dumps(blocks)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(stories())
def test_what_comes_from_elsewhere_calls_no_channel_and_hides_no_link(story: Story) -> None:
    text, blocks = cards.render(story, 30, 1)
    replies = [cards.reply(line.mark, line.text) for line in story.timeline]
    for said in (text, cards.story_text(story), cards.runs_text([story]), *replies, *marked_up(blocks)):
        for markup in re.findall(r"<[^<>]*>", said):
            assert re.match(r"<(@U0[A-Z]+|!date\^\d+\^.*)>$", markup)


def marked_up(part: Any) -> list[str]:
    """Every text that Slack reads as mrkdwn."""
    if isinstance(part, list):
        return [text for each in part for text in marked_up(each)]
    if not isinstance(part, dict):
        return []
    own = [part["text"]] if part.get("type") == "mrkdwn" else []
    return own + [text for each in part.values() for text in marked_up(each)]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(stories())
def test_buttons_are_there_exactly_while_they_can_be_pressed(story: Story) -> None:
    _, blocks = cards.render(story, 30, 1)
    buttons = {e["action_id"] for block in blocks if block["type"] == "actions" for e in block["elements"]}
    if story.run is None:
        open_ = story.offer.status == "offered" and not story.offer.plan.forbidden
        assert buttons == ({"dr_approve", "dr_reject"} if open_ else set())
    elif story.run.over:
        assert buttons == set()
    elif story.run.question:
        assert buttons == {"dr_retry", "dr_skip", "dr_fallback", "dr_abort"}
    else:
        assert buttons == (set() if story.run.stop_by else {"dr_stop"})


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30, deadline=None)
@given(st.lists(stories(), max_size=20))
def test_texts_for_people_are_never_too_long(several: list[Story]) -> None:
    assert len(cards.runs_text(several)) <= 3500
    for story in several[:2]:
        assert len(cards.story_text(story)) <= 3500


@given(st.sampled_from(sorted(cards.MARKS)), long)
def test_a_line_of_the_thread_is_never_too_long(mark: str, text: str) -> None:
    assert 0 < len(cards.reply(mark, text)) <= 3000


@given(st.text(max_size=300))
def test_the_form_for_a_reason_is_one_that_slack_takes(value: str) -> None:
    assert slack.view_problems(cards.reason_form(value, "C0INCIDENT")) == []


def test_a_card_names_commands_findings_and_who_asked() -> None:
    plan = Plan(
        scenario="control-plane restart",
        arguments={},
        why="Health does not answer.",
        target="service shielda/control-plane",
        stages=((ForceNewDeployment(cluster="shielda", service="control-plane", region="us-west-2"),),),
        basis={},
        findings=(Finding(level=Level.WARN, says="A task has crashed.", evidence="exit code 1"),),
    )
    now = time.time()
    offer = Offer(
        id="abcdefgh",
        plan=plan,
        digest=plan.digest,
        nonce="n",
        requested_by="U0ALICE",
        requested_at=now,
        expires=now + 60,
        status="offered",
        closed_by="",
        changes=(),
        channel="C0",
        approved_by=(),
    )
    said = json.dumps(cards.render(Story(offer=offer, run=None, steps=(), timeline=()), 30, 1)[1])
    for words in ("aws ecs update-service", "A task has crashed.", "exit code 1", "<@U0ALICE>", plan.digest[:12]):
        assert words in said
