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
from bot.end_card import end_blocks
from bot.layout import Piece
from bot.look import Look, Usual
from bot.mrkdwn import escape, inert
from bot.plan_card import evidence, lay_out_plan
from bot.question_card import question_message
from bot.run_card import STATES
from bot.story import ENDS, WHOLE, Line, Offer, Outage, Run, StepState, Story
from commands.plan import Plan
from rehearsal.slack import blocks as slack

MOST_CHARACTERS = 10_000
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


def accepted(blocks: list[dict[str, Any]]) -> None:
    assert slack.problems(blocks) == []
    assert len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False)) <= MOST_CHARACTERS
    assert not slack.too_long(blocks)


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


def mentioned(part: Any) -> list[str]:
    """The people and groups whom rich text mentions."""
    if isinstance(part, list):
        return [one for each in part for one in mentioned(each)]
    if not isinstance(part, dict):
        return []
    return [str(part[key]) for key in ("user_id", "usergroup_id") if key in part] + [
        one for each in part.values() for one in mentioned(each)
    ]


def marked_up(part: Any) -> list[str]:
    """Every text that Slack reads as mrkdwn."""
    if isinstance(part, list):
        return [text for each in part for text in marked_up(each)]
    if not isinstance(part, dict):
        return []
    own = [part["text"]] if part.get("type") == "mrkdwn" else []
    return own + [text for each in part.values() for text in marked_up(each)]


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


def slack_reads(text: str) -> str:
    """A reply of the thread as people see it."""
    blocks = cards.reply_blocks(text)
    accepted(blocks)
    sent = "".join(marked_up(blocks)) if blocks else cards.reply(WHOLE, text)
    assert len(blocks) or len(sent) <= 3000
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
    assert "x" * 2000 in read(cards.render(offered(plan), Look())[1])
    assert lay_out_plan(plan).replies == ()


def test_a_command_that_is_too_long_for_the_message_is_whole_in_the_thread() -> None:
    plan = plan_with("x" * 9000)
    message, replies = read(cards.render(offered(plan), Look())[1]), lay_out_plan(plan).replies
    assert "(whole in the thread)" in message
    assert "x" * 100 not in message
    assert replies[0].startswith("*Command of step 1.1* (1 of 4)\n")
    assert sum(reply.count("x") for reply in replies) == 9000
    assert len(replies) == 2


def test_a_plan_that_is_not_all_in_its_thread_has_no_approve_button() -> None:
    said = json.dumps(cards.render(offered(plan_with("x" * 9000), unread=True), Look())[1])
    assert "dr_approve" not in said
    assert "The Approve button appears when it's there." in said


def approve_button(plan: Plan) -> dict[str, Any]:
    row = next(b for b in cards.render(offered(plan), Look())[1] if b["type"] == "actions")
    return next(e for e in row["elements"] if e["action_id"] == "dr_approve")


def test_a_plan_that_interrupts_what_works_says_so_in_its_button() -> None:
    button = approve_button(plan_with(interrupts="a working database"))
    assert button["text"]["text"] == "Approve: interrupt a working database"
    assert button["style"] == button["confirm"]["style"] == "danger"
    assert button["confirm"]["title"]["text"] == "Interrupt a working database?"
    usual = approve_button(plan_with())
    assert (usual["text"]["text"], usual["style"]) == ("Approve: restart service control-plane", "primary")


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
        (story, cards.render(story, Look())),
        (replace(story, run=run), cards.render(replace(story, run=run), Look())),
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
    said = json.dumps(cards.render(offered(plan), Look())[1])
    for words in ("aws ecs update-service", "A task has crashed.", "<@U0ALICE>", plan.digest[:12]):
        assert words in said
    assert "exit code 1" in "".join(evidence(plan))


def test_a_plan_says_first_who_can_approve_it_and_calls_them_by_name() -> None:
    look = Look(approvers=("U0ALICE", "U0BOB", "S0DBA"))
    _, blocks = cards.render(offered(plan_with()), look)
    assert blocks[0]["text"]["text"] == "🔴 Approval needed: Restart service control-plane"
    assert blocks[1]["text"]["text"].startswith(
        ":raised_hand: *<@U0BOB> or <!subteam^S0DBA> (not <@U0ALICE>, who asked) must approve* by "
    )


def test_a_plan_that_cannot_be_approved_says_why_first() -> None:
    plan = plan_with(findings=(Finding(level=Level.STOP, says="No standby is there."),), fallback="database restore time=latest")
    _, blocks = cards.render(offered(plan), Look(approvers=("U0BOB",)))
    assert blocks[0]["text"]["text"].startswith("⛔ Can't be approved: ")
    assert blocks[1]["text"]["text"] == "*No standby is there.*"
    assert "`/dr database restore time=latest` may help instead" in json.dumps(blocks)
    assert "<@U0BOB>" not in json.dumps(blocks)


def test_only_five_warnings_stand_in_the_message_and_the_others_must_be_read_too() -> None:
    plan = plan_with(findings=tuple(Finding(level=Level.WARN, says=f"Warning number {n}.") for n in range(7)))
    said, replies = json.dumps(cards.render(offered(plan), Look())[1]), lay_out_plan(plan).replies
    assert [f"Warning number {n}." in said for n in range(7)] == [True] * 5 + [False] * 2
    assert "2 more warnings are in the thread" in said
    assert "Warning number 5." in replies[0]
    assert "Warning number 6." in replies[0]


def test_a_run_says_how_long_the_service_has_been_down_against_the_target() -> None:
    now = time.time()
    run = Run(id="abcdefgh", target="x", state="running", says="", began=now, ended=None, stop_by="", question=None)
    down = replace(offered(plan_with(loss_seconds=400.0)), run=run, outage=Outage(service="web", began=now - 1900, ended=None))
    said = json.dumps(cards.render(down, Look())[1])
    assert "STILL DOWN, 31:40 of 30 min (RTO), since the first failed health check at " in said
    assert said.count("over the target") == 2
    assert "Up to 6 min 40 s of 5 min (RPO)" in said
    well = replace(down, outage=Outage(service="web", began=now - 100, ended=now - 16))
    assert "1:24 of 30 min (RTO)" in json.dumps(cards.render(well, Look())[1])


def test_a_run_says_until_when_the_other_way_would_still_meet_the_target() -> None:
    now = time.time()
    run = Run(id="abcdefgh", target="x", state="running", says="", began=now, ended=None, stop_by="", question=None)
    down = replace(offered(plan_with(fallback="control-plane rollback")), run=run)
    down = replace(down, outage=Outage(service="web", began=now - 60, ended=None))
    assert "Safe to switch to `/dr control-plane rollback` until" in json.dumps(
        cards.render(down, Look(usual=Usual(fallback=90)))[1]
    )
    late = json.dumps(cards.render(down, Look(usual=Usual(fallback=1800)))[1])
    assert "usually takes 30 min: too long for the RTO now" in late
