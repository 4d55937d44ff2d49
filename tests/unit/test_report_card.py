"""A report as people read it: what is wrong first, nothing cut unseen, and JSON of exactly the promised keys."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from actions.world import World
from bot.slack.mrkdwn import CUT, escape
from bot.slack.report_card import IN_NEXT, report_text, report_texts
from commands.memory import Memory
from commands.report import SOURCE, Line, Mark, Report, ReportKind, line
from tests.unit.plan_facts import WORLD

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
MOST, USUAL = 40_000, 4000  # characters of a message's text: where Slack cuts it, and what Slack recommends
texts = st.builds(lambda text, times: text * times, st.text("abc <&>_*`xyz.", min_size=1, max_size=9), st.integers(1, 400))
found = st.builds(
    Line, level=st.sampled_from(Mark), check=st.just("retention"), object=st.just("prod"), says=texts, evidence=texts
)


def report(*lines: Line) -> Report:
    return Report(name="targets", at=NOW, findings=lines)


def squeezed(text: str) -> str:
    return "".join(html.unescape(text).replace("\u200b", "").replace("`", "").split())


@settings(max_examples=25)
@given(st.lists(found, max_size=8))
def test_no_sentence_is_cut_without_being_whole_in_another_message(lines: list[Line]) -> None:
    first, *others = report_texts(report(*lines))
    assert all(len(escape(told)) <= MOST for told in (first, *others))
    assert CUT not in "".join([first, *others])
    assert (IN_NEXT in first) == bool(others)
    told = squeezed("".join([first, *(other.partition("\n")[2] for other in others)]))
    for one in lines:
        assert squeezed(one.says) in told
        assert squeezed(one.evidence) in told


def test_a_report_of_usual_length_has_the_length_that_slack_recommends() -> None:
    first, *others = report_texts(report(*[line(Mark.MET, "retention", "prod", "Words. " * 30, "Source. " * 30)] * 12))
    assert len(escape(first)) <= USUAL
    assert others


def test_a_short_report_is_one_message_that_counts_what_it_found() -> None:
    (told,) = report_texts(report(line(Mark.MISSED, "standby", "prod", "None."), line(Mark.MET, "retention", "prod", "35 days.")))
    head, missed, met = told.splitlines()
    assert head == "*`/dr targets`* at 10:30:00 UTC: 1 missed, 1 met. Nothing was changed."
    assert (missed, met) == (":x: *standby* (`prod`): None.", ":white_check_mark: *retention* (`prod`): 35 days.")


def test_the_terminal_gets_a_line_each_with_its_source() -> None:
    text = report_text(report(line(Mark.UNKNOWN, "RTO", "recoveries", "None yet.", "The record.")))
    assert text.splitlines() == [
        "/dr targets at 2026-01-15 10:30:00 UTC: 1 unknown.",
        "unknown  RTO (recoveries): None yet. [The record.]",
    ]


def test_json_has_exactly_the_promised_keys() -> None:
    assert report(line(Mark.MET, "retention", "prod", "35 days.", "DescribeDBInstances.")).to_json() == {
        "report": "targets",
        "at": "2026-01-15T10:30:00+00:00",
        "findings": [
            {
                "level": "met",
                "check": "retention",
                "object": "prod",
                "says": "35 days.",
                "evidence": "DescribeDBInstances.",
            }
        ],
    }


async def test_silent_sources_come_first_and_then_what_is_wrong() -> None:
    async def look(_world: World, _memory: Memory | None, **_: str) -> Iterable[Line]:
        marks = (Mark.MET, Mark.UNKNOWN, Mark.MISSED)
        return [*(line(mark, "retention", "prod", "Said.") for mark in marks), line(Mark.UNKNOWN, SOURCE, "RDS", "Silent.")]

    made = await ReportKind(name="targets", function=look).make(WORLD, None)  # type: ignore[arg-type]
    assert [(one.check == SOURCE, one.level) for one in made.findings] == [
        (True, "unknown"),
        (False, "missed"),
        (False, "unknown"),
        (False, "met"),
    ]
    assert not made.good
