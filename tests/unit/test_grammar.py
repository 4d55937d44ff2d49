"""The words after /dr: they make a request, or one sentence that says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commands
from commands.report import REPORTS
from commands.scenario import SCENARIOS, VERBS, BadCommand, Request, help_text, parse

assert commands.database  # importing the scenarios registers them

likely = st.sampled_from(
    [*SCENARIOS, *REPORTS, *VERBS, "anyway=yes", "anyway=no", "idle_for=30", "idle_for=x", "=", "'", '"', "database"]
)
texts = st.one_of(st.text(), st.lists(likely, max_size=4).map(" ".join))


@given(texts)
def test_any_text_is_a_request_or_a_sentence(text: str) -> None:
    answer = answered(text)
    if isinstance(answer, str):
        assert answer[-1] in ".`"
    else:
        assert answer.scenario or answer.report or answer.words in VERBS


def answered(text: str) -> Request | str:
    try:
        return parse(text)
    except BadCommand as error:
        return str(error)


def test_a_scenario_with_arguments() -> None:
    request = parse("database failover idle_for=30")
    assert request.scenario is SCENARIOS["database failover"]
    assert request.scenario.parse(request.arguments) == {"idle_for": 30}


def test_help_is_asked_for_by_its_word_and_nothing_asks_for_a_triage() -> None:
    assert (parse("help").words, parse("").words) == ("help", "triage")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("database failovr", "After `database` comes one of: failover"),
        ("contrl-plane restart", "Did you mean `control-plane restart`?"),
        ("database failover idle_four=3", "Did you mean `idle_for`?"),
        ("database failover idle_for=soon", "a whole number is expected"),
        ("control-plane restart anyway=perhaps", "yes or no is expected"),
        ("control-plane restart anyway=yes anyway=no", "given twice"),
        ("control-plane restart anyway=", "name=value"),
        ("show", "takes one run id"),
        ("database 'failover", "Close the quotation mark"),
        ("target", "Did you mean `targets`?"),
        ("targets now", "`/dr targets` takes nothing after it, and it got 'now'."),
        ("targets since=monday", "/dr targets has no argument 'since'. Usage: `/dr targets [database=TEXT]`"),
        ("targets databse=primary", "Did you mean `database`?"),
        ("backup", "After `backup` comes one of: verify, drop, status"),
        ("backup statsu", "After `backup` comes one of: verify, drop, status"),
    ],
)
def test_a_bad_command_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(BadCommand) as error:
        parse(text)
    assert says in str(error.value)


@pytest.mark.parametrize("words", ["targets", "backup status", "backup  status", "targets database=replica"])
def test_a_report_is_asked_for_by_its_words(words: str) -> None:
    request = parse(words)
    assert request.report is REPORTS[" ".join(words.split(" database")[0].split())]
    assert request.scenario is None


def test_help_lists_every_report_with_its_first_docstring_line() -> None:
    for report in REPORTS.values():
        assert report.summary.endswith(".")
        assert f"`{report.usage}`: {report.summary}" in help_text()


def test_help_lists_every_scenario_with_its_first_docstring_line() -> None:
    for scenario in SCENARIOS.values():
        assert scenario.summary.endswith(".")
        assert f"`{scenario.usage}`: {scenario.summary}" in help_text()
