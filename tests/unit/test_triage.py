"""What a triage makes of the plans of all scenarios: the deepest cause first, and nothing if nothing is broken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from actions.health import HealthAnswers
from actions.values import Finding, Level
from bot.slack.report_card import blocks_of, with_buttons
from commands.facts import UNREAD
from commands.plan import Plan
from commands.report import MEANING, Mark, Report
from commands.triage import LIKELIEST, Look, judge
from rehearsal.slack import blocks as slack

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def look(scenario: str, *, works: bool = False, error: str = "", **other: Any) -> Look:
    """What planning a scenario showed: something to do, unless it works or could not be planned."""
    facts: dict[str, Any] = {"scenario": scenario, "arguments": {}, "why": f"It needs {scenario}.", "target": "x", "basis": {}}
    facts |= {"stages": ((HealthAnswers(url="https://a"),),), "interrupts": "what works" if works else ""}
    plan = None if error else Plan(**(facts | other))
    return Look(scenario=scenario, arguments={}, plan=plan, error=error)


def levels(*looks: Look) -> dict[str, Mark]:
    return {line.object: line.level for line in judge(looks) if line.check != MEANING}


DATABASE, SERVICE, AGENTS, REGION = "database failover", "control-plane restart", "agents restart", "region failover"


def test_a_control_plane_whose_database_is_down_is_not_what_fits_best() -> None:
    made = list(judge([look(DATABASE), look(SERVICE), look(AGENTS)]))
    assert [(line.level, line.check) for line in made[:2]] == [(Mark.STOP, LIKELIEST), (Mark.WARN, "may follow from the first")]
    assert made[-1].says.startswith("Plan `/dr database failover` first.")


def test_only_what_is_broken_fits() -> None:
    found = levels(look(DATABASE, works=True), look(SERVICE), look(AGENTS, stages=()))
    assert found == {f"/dr {DATABASE}": Mark.OK, f"/dr {SERVICE}": Mark.STOP, f"/dr {AGENTS}": Mark.OK}


def test_a_region_is_not_lost_as_long_as_something_in_it_works() -> None:
    assert levels(look(REGION), look(DATABASE), look(SERVICE, works=True))[f"/dr {REGION}"] is Mark.OK
    assert levels(look(REGION), look(DATABASE), look(SERVICE))[f"/dr {REGION}"] is Mark.STOP


def test_what_could_not_be_planned_is_unknown_and_hides_nothing_else() -> None:
    made = list(judge([look(DATABASE, error="RDS did not answer."), look(SERVICE)]))
    assert (made[0].level, made[0].says) == (Mark.UNKNOWN, "RDS did not answer.")
    assert made[1].level is Mark.STOP
    quiet = list(judge([look(DATABASE, error="RDS did not answer."), look(SERVICE, works=True)]))
    assert (quiet[-1].level, "`/dr database failover`" in quiet[-1].says) == (Mark.UNKNOWN, True)


def test_a_symptom_that_could_not_be_read_is_no_symptom() -> None:
    made = list(judge([look(DATABASE, works=True), look(SERVICE, why=f"The health address {UNREAD}.")]))
    assert [line.level for line in made] == [Mark.OK, Mark.UNKNOWN, Mark.UNKNOWN]


def test_a_broken_database_fits_even_if_its_plan_could_not_be_approved() -> None:
    stop = Finding(level=Level.STOP, says="It is single-AZ.")
    made = list(judge([look(DATABASE, stages=(), findings=(stop,)), look(SERVICE, works=True)]))
    assert made[0].level is Mark.STOP
    assert "could not be approved: It is single-AZ." in made[0].says


def test_a_triage_has_a_button_for_each_plan_that_fits_and_slack_takes_it() -> None:
    report = Report(name="triage", at=NOW, findings=tuple(judge([look(DATABASE), look(SERVICE), look(AGENTS, stages=())])))
    text, blocks = blocks_of(with_buttons(report)[0])
    assert slack.problems(blocks) == []
    buttons = [e for block in blocks if block["type"] == "actions" for e in block["elements"]]
    assert [button["value"] for button in buttons] == ["plan:database failover", "plan:control-plane restart"]
    assert buttons[0]["action_id"] == "dr_plan"
    assert "*fits best*" in text
    assert json.dumps(blocks).count("fits best") == 1
