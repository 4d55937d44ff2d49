"""Whatever a story holds, its card is one that Slack takes, and says what people must know."""

from __future__ import annotations

import html
import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.base import Finding, Level
from actions.health import HealthAnswers
from bot import cards
from bot.blocks import code
from bot.choices import CHOICES, Choice, Question
from bot.mrkdwn import escape
from bot.plan_card import lay_out_plan
from bot.run_card import STATES
from bot.story import ENDS, WHOLE, Line, Offer, Run, StepState, Story
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
        unread=draw(st.booleans()),
    )
    run = draw(runs()) if status == "approved" else None
    states = tuple(draw(step_states(step)) for step, _ in plan.steps() if run and draw(st.booleans()))
    lines = tuple(draw(st.lists(st.builds(Line, at=moments, mark=st.sampled_from(sorted(cards.MARKS)), text=long), max_size=4)))
    return Story(offer=offer, run=run, steps=states, timeline=lines)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    state = draw(st.sampled_from([*ENDS, "approved", "running", "waiting", "cleaning up"]))
    choices = draw(st.lists(st.sampled_from(sorted(CHOICES)), min_size=1, max_size=5, unique=True).map(tuple))
    question = Question(run_id="abcdefgh", name="stage1-1", nonce="n" * 16, choices=choices, steps=("1.1",))
    return Run(
        id="abcdefgh",
        target=draw(long),
        state=state,
        says=draw(long),
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
        step=step, attempt=1, state=state, says=draw(long), began=draw(moments), ended=draw(moments), progress=draw(long)[:300]
    )


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


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(stories())
def test_every_text_of_a_plan_is_whole_in_its_message_or_in_its_thread(story: Story) -> None:
    plan, offer = story.offer.plan, replace(story.offer, status="offered")
    message = read(cards.render(replace(story, offer=offer, run=None), 30, 1)[1])
    thread = "".join(part.partition("\n")[2] for part in map(slack_reads, lay_out_plan(plan, offer.changes).replies))
    steps = [text for _, step in plan.steps() for text in (step.title, step.command())]
    texts = [plan.why, *(f.says for f in plan.findings), *plan.cost, *offer.changes, *steps, plan.heading]
    for text in [*texts, *(" ".join(f.evidence.split()) for f in plan.findings)]:
        meant = visible(html.unescape(escape(text)))
        assert meant in visible(message) or meant in visible(thread)


def slack_reads(text: str) -> str:
    """A reply of the thread as people see it."""
    sent = cards.reply(WHOLE, text)
    assert len(sent) <= 3000
    assert "(cut short)" not in sent.removesuffix(text)
    return html.unescape(sent)


def read(blocks: list[dict[str, Any]]) -> str:
    """All the text of a card, as people see it."""
    plain = [b["text"]["text"] for b in blocks if b["type"] == "header"]
    return html.unescape("\n".join([*plain, *marked_up(blocks)]))


def visible(text: str) -> str:
    """The characters that can be seen, but for what fences code and what stands in for no character at all."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u200b\ufffd`]", "", text)


def plan_with(command: str = "", **other: Any) -> Plan:
    step = ForceNewDeployment(cluster=command or "shielda", service="control-plane", region="us-west-2")
    target = "service shielda/control-plane"
    facts = {"scenario": "control-plane restart", "arguments": {}, "why": "It hangs.", "target": target, "basis": {}}
    return Plan(**(facts | {"stages": ((step,),), "title": "Restart service control-plane"} | other))


def offered(plan: Plan, **other: Any) -> Story:
    """The plan as Alice asked for it a moment ago."""
    now = time.time()
    facts = {"id": "abcdefgh", "plan": plan, "digest": plan.digest, "nonce": "n", "requested_by": "U0ALICE", "status": "offered"}
    times = {"requested_at": now, "expires": now + 60, "closed_by": "", "changes": (), "channel": "C0", "approved_by": ()}
    return Story(offer=Offer(**(facts | times | other)), run=None, steps=(), timeline=())


def test_a_command_of_two_thousand_characters_is_whole_in_the_message() -> None:
    plan = plan_with("x" * 2000)
    assert "x" * 2000 in read(cards.render(offered(plan), 30, 1)[1])
    assert lay_out_plan(plan).replies == ()


def test_a_command_that_is_too_long_for_the_message_is_whole_in_the_thread() -> None:
    plan = plan_with("x" * 9000)
    message, replies = read(cards.render(offered(plan), 30, 1)[1]), lay_out_plan(plan).replies
    assert "(whole in the thread)" in message
    assert "x" * 100 not in message
    assert replies[0].startswith("*Command of step 1.1* (1 of 4)\n")
    assert sum(reply.count("x") for reply in replies) == 9000 + sum("x" in reply.partition("\n")[0] for reply in replies)


def test_a_plan_that_is_not_all_in_its_thread_has_no_approve_button() -> None:
    said = json.dumps(cards.render(offered(plan_with("x" * 9000), unread=True), 30, 1)[1])
    assert "dr_approve" not in said
    assert "The Approve button appears when it's there." in said


def approve_button(plan: Plan) -> dict[str, Any]:
    row = next(b for b in cards.render(offered(plan), 30, 1)[1] if b["type"] == "actions")
    return next(e for e in row["elements"] if e["action_id"] == "dr_approve")


def test_a_plan_that_interrupts_what_works_says_so_in_its_button() -> None:
    button = approve_button(plan_with(interrupts="a working database"))
    assert button["text"]["text"] == "Approve: interrupt a working database"
    assert button["style"] == button["confirm"]["style"] == "danger"
    assert button["confirm"]["title"]["text"] == "Interrupt a working database?"
    usual = approve_button(plan_with())
    assert (usual["text"]["text"], usual["style"]) == ("Approve", "primary")


def test_the_question_behind_the_button_counts_in_words_and_cuts_no_sentence() -> None:
    said = approve_button(plan_with(cost=("All connections are cut.", "x" * 300)))["confirm"]["text"]["text"]
    expected = "Restart service control-plane: 1 change on service shielda/control-plane. All connections are cut."
    assert said == expected
    assert approve_button(plan_with(target="y" * 300))["confirm"]["text"]["text"] == "1 change, as the plan says."


def test_titles_say_what_is_done_and_instead_of_what() -> None:
    plan = plan_with(title="End up to 50 idle sessions", asked="database failover", scenario="database failover", substitute=True)
    story = offered(plan)
    run = Run(id="abcdefgh", target="x", state="done", says="", began=0, ended=1, stop_by="", question=None)
    heading = "End up to 50 idle sessions (instead of the requested database failover)"
    for state, text in (
        (story, cards.render(story, 30, 1)),
        (replace(story, run=run), cards.render(replace(story, run=run), 30, 1)),
    ):
        assert heading in text[0]
        assert heading in text[1][0]["text"]["text"]
        assert heading in cards.story_text(state)
    assert heading in cards.runs_text([replace(story, run=run)])


@pytest.mark.parametrize("text", ["a_b _c_ *d*", "`x` and ``y`` and ```z```", "<!channel>", "`"])
def test_evidence_and_commands_are_shown_as_they_are(text: str) -> None:
    shown = code(text)
    fence = re.match("`+", shown)
    assert fence
    inside = shown[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in inside
    assert inside.replace("\u200b", "") == text


def test_the_newest_lines_of_a_long_timeline_are_shown() -> None:
    lines = tuple(Line(at=0.0, mark="ok", text=f"Line {number}: {'x' * 300}") for number in range(30))
    said = cards.story_text(replace(offered(plan_with()), timeline=lines))
    assert "Line 29" in said
    assert "Line 0:" not in said
    assert "earlier lines are in the thread" in said


def test_a_card_names_commands_findings_and_who_asked() -> None:
    plan = plan_with(findings=(Finding(level=Level.WARN, says="A task has crashed.", evidence="exit code 1"),))
    said = json.dumps(cards.render(offered(plan), 30, 1)[1])
    for words in ("aws ecs update-service", "A task has crashed.", "exit code 1", "<@U0ALICE>", plan.digest[:12]):
        assert words in said
