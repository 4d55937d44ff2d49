"""The message of a plan and the card of a run, one by one: what stands in it, in which order, and what is never cut."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from actions.aws.ecs import ForceNewDeployment
from actions.values import Finding, Level
from bot.choices import Question
from bot.engine.approved import name_steps
from bot.slack import cards
from bot.slack.blocks import code
from bot.slack.look import Look, Usual
from bot.slack.plan_card import evidence, lay_out_plan
from bot.slack.question_card import question_message
from bot.state.story import Line, Offer, Outage, Run, StepState, Story
from commands.plan import Plan
from tests.unit.card_texts import marked_up, read


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


def failed_story(steps: tuple[str, ...]) -> Story:
    """A run that asks about these steps, which failed."""
    question = Question(run_id="abcdefgh", name="stage1-1", nonce="n", choices=("retry", "abort"), steps=steps)
    says = f"{name_steps([*steps]).capitalize()} failed. {question.asks('')}"
    run = Run(id="abcdefgh", target="x", state="waiting", says=says, began=0, ended=None, stop_by="", question=question)
    why = "ECS refused UpdateService (AccessDenied)."
    states = tuple(StepState(step=step, attempt=1, state="failed", says=why, began=0, ended=1) for step in steps)
    return replace(offered(plan_with()), run=run, steps=states)


@pytest.mark.parametrize(("steps", "said"), [(1, 1), (3, 3), (5, 4)])  # of five, three have their line, and one line lists all
def test_a_question_says_once_which_step_failed_and_why(steps: int, said: int) -> None:
    names = tuple(f"1.{number}" for number in range(1, steps + 1))
    story = failed_story(names)
    assert story.run is not None
    _, blocks = question_message(story, story.run, "stage1-1", None, Look())
    text = "".join(marked_up(blocks))
    assert text.count("failed") == said, text
    assert "Step 1.1 failed: ECS refused UpdateService (AccessDenied)." in text
    assert "Waiting for your decision. Retry looks again" in text
    assert all(name in text for name in names)
