"""The report of any run is Markdown and a picture; neither breaks on what commands and servers say."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from bot.slack.look import Look
from bot.slack.names import mentioned, named_in
from bot.slack.run_picture import picture
from bot.slack.run_report import markdown, people_in
from bot.state.story import Line, Outage, Run, StepState, Story
from tests.unit.test_cards import looks, stories
from tests.unit.test_plan_cards import offered, plan_with

PNG = b"\x89PNG"
NOW = 1_764_000_000.0


def told() -> Story:
    """A run with an outage of 84 seconds, and a step that failed and then was done."""
    run = Run(
        id="abcdefgh", target="x", state="done", says="Every step is done.", began=NOW, ended=NOW + 90, stop_by="", question=None
    )
    step = StepState(step="1.1", attempt=2, state="done", says="It is | done.", began=NOW + 5, ended=NOW + 61)
    lines = (
        Line(at=NOW, mark="begin", text="<@U0BOB> approved plan abcdefgh."),
        Line(at=NOW + 30, mark="ask", text="<@U0CAROL> decided: retry."),
    )
    story = replace(offered(plan_with(loss_seconds=0.0), requested_at=NOW - 60), run=run, steps=(step,), timeline=lines)
    return replace(story, outage=Outage(service="web", began=NOW - 20, ended=NOW + 64))


def test_a_report_names_people_and_says_outage_loss_steps_and_every_line() -> None:
    text = markdown(told(), Look(), [], {"U0BOB": "bob", "U0ALICE": "alice"})
    for words in (
        "@bob approved plan abcdefgh.",
        "@U0CAROL decided: retry.",  # whose name Slack did not say
        "| Outage | 1:24 (web); the target is 30 min (RTO) |",
        "| Data loss | 0 s by the plan; the target is 5 min (RPO) |",
        "done: It is \\| done. | 56 s |",
        "    aws ecs update-service",
    ):
        assert words in text


def test_everybody_whom_a_report_mentions_is_asked_about() -> None:
    assert people_in(told(), Look(), []) == {"U0ALICE", "U0BOB", "U0CAROL"}


def test_names_take_the_place_of_mentions_and_of_nothing_else() -> None:
    assert mentioned("<@U0BOB> and <\u200b@U0EVIL>") == {"U0BOB"}
    assert named_in("<@U0BOB> and <\u200b@U0EVIL>", {"U0BOB": "bob", "U0EVIL": "eve"}) == "@bob and <@U0EVIL>"


def test_a_picture_is_a_png_and_the_library_is_not_loaded_before() -> None:
    assert picture(told(), 30).startswith(PNG)
    open_run = replace(told(), outage=Outage(service="$x^{", began=time.time() - 50, ended=None))
    assert picture(open_run, 0.5).startswith(PNG)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=8, deadline=None)
@given(stories(), looks())
def test_any_story_has_a_report(story: Story, look: Look) -> None:
    assert story.offer.id in markdown(story, look, [], {})
