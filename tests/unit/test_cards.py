"""Whatever a story holds, its card is one that Slack takes, and says what people must know."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.health import HealthAnswers
from actions.values import Finding, Level
from bot.choices import CHOICES, Choice, Question
from bot.slack import cards
from bot.slack.end_card import end_blocks
from bot.slack.layout import Piece
from bot.slack.look import Look, Usual
from bot.slack.mrkdwn import escape, inert
from bot.slack.plan_card import evidence, lay_out_plan
from bot.slack.question_card import question_message
from bot.slack.run_card import STATES
from bot.state.story import ENDS, WHOLE, Line, Offer, Outage, Run, StepState, Story
from commands.plan import Plan
from rehearsal.slack import blocks as slack
from tests.unit.card_texts import accepted, marked_up, mentioned, read, slack_reads, visible

short = st.text(min_size=1, max_size=20)
foreign = st.just("<!channel> <@U0EVIL> <!subteam^S0EVIL> *read* ``` <https://evil.example|this> & <class 'ValueError'>")
long = (
    foreign
    | st.text(max_size=60)
    | st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=9), st.integers(1, 700))
)
recorded = long.map(inert)  # what comes from elsewhere is recorded without its mentions
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
    cleanup=st.lists(st.tuples(checks), max_size=1).map(tuple),
    basis=st.just({}),
    findings=st.lists(findings, max_size=8).map(tuple),
    cost=st.lists(long, max_size=4).map(tuple),
    fallback=st.sampled_from(["", "control-plane rollback"]),
    title=long,
    asked=st.sampled_from(["", "control-plane restart", "database failover"]),
    interrupts=st.sampled_from(["", "a working database"]),
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A plan and what became of it, with texts of any length and up to 500 steps."""
    plan = draw(plans)
    plan = replace(plan, stages=plan.stages * draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 8, 8, 60])))
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
        unread=draw(st.booleans()),
    )
    run = draw(runs()) if status == "approved" else None
    states = tuple(draw(step_states(step)) for step, _ in plan.steps() if run and draw(st.booleans()))
    lines = tuple(
        draw(st.lists(st.builds(Line, at=moments, mark=st.sampled_from(sorted(cards.MARKS)), text=recorded), max_size=4))
    )
    outage = draw(st.none() | st.builds(Outage, service=long, began=moments, ended=st.none() | moments))
    return Story(offer=offer, run=run, steps=states, timeline=lines, outage=outage)


@st.composite
def looks(draw: st.DrawFn) -> Look:
    usual = Usual(runs=3, whole=84.0, fallback=draw(st.none() | st.just(60.0)), steps={"health.answers": 4.0})
    approvers = draw(st.lists(st.sampled_from(["U0ALICE", "U0BOB", "S0DBA"]), unique=True).map(tuple))
    return Look(
        needed=draw(st.integers(1, 5)),
        usual=draw(st.just(Usual()) | st.just(usual)),
        approvers=approvers,
        simple=draw(st.booleans()),
    )


@st.composite
def runs(draw: st.DrawFn) -> Run:
    state = draw(st.sampled_from([*ENDS, "approved", "running", "waiting", "cleaning up"]))
    choices = draw(st.lists(st.sampled_from(sorted(CHOICES)), min_size=1, max_size=5, unique=True).map(tuple))
    best = draw(st.sampled_from(["", *choices]))
    question = Question(run_id="abcdefgh", name="stage1-1", nonce="n" * 16, choices=choices, steps=("1.1",), recommended=best)
    return Run(
        id="abcdefgh",
        target=draw(long),
        state=state,
        says=draw(recorded),
        began=draw(moments),
        ended=draw(moments) if state in ENDS else None,
        stop_by=draw(st.sampled_from(["", "U0BOB"])),
        question=question if state == "waiting" else None,
        main_end={"state": "failed", "says": "It ended.", "mark": "bad"} if state == "cleaning up" else None,
    )


@st.composite
def step_states(draw: st.DrawFn, step: str) -> StepState:
    state = draw(st.sampled_from([s for s in STATES if s]))
    return StepState(
        step=step,
        attempt=1,
        state=state,
        says=draw(recorded),
        began=draw(moments),
        ended=draw(moments),
        progress=draw(long)[:300],
    )


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25, deadline=None)
@given(stories(), looks())
def test_the_card_of_any_story_is_within_slacks_limits_and_keeps_its_id(story: Story, look: Look) -> None:
    for text, blocks in surfaces(story, look):
        assert 0 < len(text) <= 3000
        accepted(blocks)
        assert "`abcdefgh`" in json.dumps(blocks)
        assert "(cut short)" not in "".join(blocks_of_steps(blocks))


def surfaces(story: Story, look: Look) -> list[tuple[str, list[dict[str, Any]]]]:
    """All messages that a story is told with."""
    made = [cards.render(story, look)]
    if story.run:
        answer = {"person": "U0BOB", "choice": "skip", "reason": "Because <!here>.", "at": 1_736_937_000.0}
        made += [question_message(story, story.run, name, answer, look) for name in ("stage1-1", "stage2-1")]
        made.append((f"`{story.run.id}`", end_blocks(story, story.run, "It ended.", look)))
    return made


def blocks_of_steps(blocks: list[dict[str, Any]]) -> list[str]:
    """The sections of a card that hold steps and their commands."""
    return [b["text"]["text"] for b in blocks if b["type"] == "section" and "text" in b and "`aws " in b["text"]["text"]]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25, deadline=None)
@given(stories(), looks())
def test_what_comes_from_elsewhere_calls_nobody_and_hides_no_link(story: Story, look: Look) -> None:
    replies = [*lay_out_plan(story.offer.plan, story.offer.changes).replies, *evidence(story.offer.plan)]
    shown = [cards.story_text(story), cards.runs_text([story]), *(cards.reply(WHOLE, reply) for reply in replies)]
    for text, blocks in [*surfaces(story, look), *(("", cards.reply_blocks(reply)) for reply in replies)]:
        shown += [text, *marked_up(blocks)]
        assert "U0EVIL" not in mentioned(blocks)
    for said in shown:
        for markup in re.findall(r"<[^<>]*>", said):
            assert re.match(r"<(@U0(ALICE|BOB|CAROL)|!subteam\^S0DBA|!date\^\d+\^.*)>$", markup)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25, deadline=None)
@given(stories())
def test_buttons_are_there_exactly_while_they_can_be_pressed(story: Story) -> None:
    _, blocks = cards.render(story, Look())
    buttons = {e["action_id"] for block in blocks if block["type"] == "actions" for e in block["elements"]}
    if story.run is None:
        open_ = story.offer.status == "offered" and not story.offer.plan.forbidden
        assert buttons == ({"dr_reject", *(() if story.offer.unread else ("dr_approve",))} if open_ else set())
    elif story.run.over:
        assert buttons == set()
    elif story.run.question:
        wanted = set(story.run.question.choices) - ({"hold_yes"} if story.offer.unread else set())
        assert buttons == {f"dr_{choice}" for choice in wanted}
    else:
        assert buttons == (set() if story.run.stop_by or story.run.main_end else {"dr_stop"})


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30, deadline=None)
@given(st.lists(stories(), max_size=20))
def test_texts_for_people_are_never_too_long(several: list[Story]) -> None:
    assert len(cards.runs_text(several)) <= 3500
    for story in several[:2]:
        assert len(cards.story_text(story)) <= 3500


@given(st.sampled_from(sorted(cards.MARKS)), long)
def test_a_line_of_the_thread_is_never_too_long(mark: str, text: str) -> None:
    assert 0 < len(cards.reply(mark, text)) <= 3000


@given(st.text(max_size=300), st.sampled_from([choice for choice in CHOICES.values() if choice.form]))
def test_the_form_for_a_reason_is_one_that_slack_takes(value: str, choice: Choice) -> None:
    assert slack.view_problems(cards.reason_form(choice, value, "C0INCIDENT")) == []


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=25, deadline=None)
@given(stories())
def test_every_text_of_a_plan_is_whole_in_its_message_or_in_its_thread(story: Story) -> None:
    plan, offer = story.offer.plan, replace(story.offer, status="offered")
    message = read(cards.render(replace(story, offer=offer, run=None), Look())[1])
    thread = "".join(map(slack_reads, [*lay_out_plan(plan, offer.changes).replies, *evidence(plan)]))
    steps = [(text, code) for _, step in plan.steps() for text, code in ((step.title, False), (step.command(), True))]
    texts = [plan.why, *(f.says for f in plan.findings), *plan.cost, *offer.changes, plan.heading]
    seen, below = visible(message), visible(thread)
    for text, is_code in [
        *((text, False) for text in texts),
        *steps,
        *((" ".join(f.evidence.split()), True) for f in plan.findings),
    ]:
        parts = [visible(html.unescape(escape(part))) for part in Piece(name="", text=text, is_code=is_code).parts()]
        assert "".join(parts) in seen or all(part in below for part in parts)
