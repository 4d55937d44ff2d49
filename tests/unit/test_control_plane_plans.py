"""Which plan fits which facts of a control plane: the rules, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actions.aws.deployments import Own, Revision
from actions.aws.logs import LogLine
from actions.db.diagnosis import Diagnosis
from actions.values import Level
from commands import control_plane, database
from commands.control_plane.seen import DOWN
from commands.facts import Fact
from tests.unit.plan_facts import NOW, WORLD, crash, fact, health, idle, instance, looked, missing, rollout, seen, service

HOT = timedelta(minutes=10)
INTERNAL_ERROR = health(500, 500, 500)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
YOUNG = {"service": fact(service(age=2 * MINUTE))}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, ""),
        ({"health": INTERNAL_ERROR}, ""),
        ({"service": fact(service(age=HOT))}, ""),
        ({"service": fact(service(age=HOT)), "health": missing()}, ""),
        (
            {"service": fact(service(age=HOT)), "health": INTERNAL_ERROR},
            "deployed 10 min ago, and https://app.example/health answered 500 in 3 of 3 tries.",
        ),
        ({"service": fact(service(age=-MINUTE)), "health": INTERNAL_ERROR}, "deployed 0 min ago"),  # AWS's clock is ahead
        ({"service": fact(service(age=HOT)), "stopped": fact([crash()] * 3), "health": missing()}, "3 of its tasks have crashed"),
        ({"service": fact(service(age=HOT)), "stopped": fact([crash("s:6")] * 3), "health": missing()}, ""),
        ({"stopped": fact([crash()] * 3)}, ""),
        ({"service": fact(service(rollout="IN_PROGRESS", failed=2))}, "keep failing: 2 have failed"),
        ({"service": fact(service(rollout="FAILED", failed=3))}, "keep failing"),
        ({"service": fact(service(rollout="FAILED", failed=3)), "previous": fact(None)}, ""),
        ({"service": missing()}, ""),
    ],
)
def test_a_rollback_is_planned_if_the_newest_deployment_is_the_suspect(facts: dict[str, Any], reason: str) -> None:
    said = control_plane.rollback_reason(seen(**facts))
    assert reason in said
    assert bool(reason) == bool(said)


ROLLED_BACK = [rollout("s:7", 2 * MINUTE), rollout("s:8", 20 * MINUTE), rollout("s:7", 4 * DAY)]


def own(revision: str = "s:7", *, rolled_back: bool = True) -> Own:
    return Own(revision=revision, rolled_back=rolled_back, began=NOW - 3 * MINUTE, ended=NOW - MINUTE)


@pytest.mark.parametrize(
    "past",
    [
        {"history": fact(ROLLED_BACK)},
        {"history": fact(ROLLED_BACK[1:])},  # ECS rolled back by itself: its record is that of s:8
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:7", DAY)])},
        {"history": fact([rollout("s:7", 2 * MINUTE, "IN_PROGRESS"), rollout("s:8", 9 * MINUTE), rollout("s:7", 30 * MINUTE)])},
        {"history": missing(), "ours": fact([own()])},
        {"history": missing(), "ours": fact([own(rolled_back=False)])},
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:9", DAY)]), "ours": fact([own()])},
    ],
    ids=["rolled back", "ECS rolled back", "restarted", "served for a while", "our rollback", "our restart", "we chose it"],
)
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_what_served_before_or_was_deployed_by_this_bot_is_no_suspect(past: dict[str, Any], state: str) -> None:
    now = {"service": fact(service(age=2 * MINUTE, rollout=state, failed=3)), "health": health(502, 502, 502)}
    assert control_plane.rollback_reason(seen(**now, **past)) == ""
    assert control_plane.rollback_reason(seen(**now)) != ""


@pytest.mark.parametrize(
    "past",
    [
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:6", DAY)])},
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:7", 20 * MINUTE), rollout("s:6", DAY)])},
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:6", DAY), rollout("s:7", 2 * DAY, "ROLLBACK_SUCCESSFUL")])},
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:6", DAY)]), "ours": fact([own("s:6")])},
        {"history": fact([rollout("s:7", 2 * MINUTE), rollout("s:7", 5 * MINUTE)]), "ours": fact([own(rolled_back=False)])},
    ],
    ids=["new", "new and restarted", "was rolled back before", "we chose another", "we restarted what is new"],
)
def test_a_revision_that_is_new_stays_the_suspect(past: dict[str, Any]) -> None:
    assert control_plane.rollback_reason(seen(**YOUNG, **past, health=health(502, 502, 502)))


def test_restarting_a_revision_makes_it_no_younger() -> None:
    history = fact([rollout("s:7", 2 * MINUTE), rollout("s:7", 20 * MINUTE), rollout("s:6", DAY)])
    said = control_plane.rollback_reason(seen(**YOUNG, history=history, health=INTERNAL_ERROR))
    assert "s:7 was deployed 20 min ago" in said


@pytest.mark.parametrize(
    ("answers", "symptom"),
    [
        (health(502, 502, 502), True),
        (health(502, 503, 0), True),
        (health(502, 200, 502), True),
        (health(502, 200, 200), False),
        (health(200), False),
        (health(502, 504, 504), False),
        (health(0, 0, 0), False),
    ],
)
def test_one_passing_error_is_no_symptom(answers: Fact[Any], symptom: bool) -> None:
    assert bool(control_plane.rollback_reason(seen(**YOUNG, health=answers))) is symptom


def test_a_region_that_is_healthy_inside_needs_no_rollback() -> None:
    facts = {**YOUNG, "health": health(502, 502, 502)}
    assert control_plane.rollback_reason(seen(**facts))
    assert control_plane.rollback_reason(seen(**facts, region_health=health(200))) == ""


def test_rolling_back_what_served_before_warns() -> None:
    plan = control_plane.rollback_plan(WORLD, seen(**YOUNG, history=fact(ROLLED_BACK)), "A rollback was asked for.")
    assert any(f.level is Level.WARN and "s:7 is known to work" in f.says for f in plan.findings)


def line(age: timedelta, message: str = "ERROR: no such column") -> LogLine:
    return LogLine(id=str(age), at=NOW - age, stream="s", message=message)


def findings_on(**facts: Any) -> list[Any]:
    return list(control_plane.restart_plan(WORLD, seen(**facts), False, "").findings)


def test_log_lines_from_before_the_deployment_are_not_quoted_as_its_fault() -> None:
    lines = fact((line(5 * MINUTE, "ERROR of s:8"), line(MINUTE, "all is well")))
    (found,) = (f for f in findings_on(**YOUNG, lines=lines) if "log line" in f.says)
    assert found.says == "1 log line from before this deployment spoke of errors, too; they are not its doing."
    assert "s:8" not in found.evidence


def test_log_lines_since_the_deployment_began_are_its_evidence() -> None:
    lines = fact((line(5 * MINUTE, "ERROR of s:8"), line(MINUTE, "ERROR of s:7"), line(MINUTE / 2, "fine")))
    found = next(f for f in findings_on(**YOUNG, lines=lines) if f.evidence)
    assert found.says == "1 of 2 log lines since this deployment began at 10:28:00 UTC speaks of errors."
    assert found.evidence == "10:29:00 UTC ERROR of s:7"
    assert any("in the last 15 min" in f.says for f in findings_on(lines=lines))


def test_tasks_that_failed_before_the_deployment_are_told_apart() -> None:
    old = replace(crash("s:8"), reason="Essential container exited.", stopped_at=NOW - 5 * MINUTE)
    said = [f.says for f in findings_on(**YOUNG, stopped=fact([crash(), old]))]
    assert "Tasks of this deployment have failed: exit code 1 (exited)." in said
    assert "Tasks failed before this deployment: exit code 1 (Essential container exited.)." in said


# --- what a plan is called --------------------------------------------------------------------------------------


def test_a_plan_that_does_what_was_asked_is_called_by_what_it_does() -> None:
    plan = replace(control_plane.restart_plan(WORLD, seen(), False, ""), asked="control-plane restart")
    assert plan.heading == "Restart service s"
    assert plan.scenarios == ("control-plane restart",)
    assert plan.instead_of == ""


def test_a_plan_that_does_something_else_says_instead_of_what() -> None:
    back = replace(control_plane.rollback_plan(WORLD, seen(), "why"), asked="control-plane restart")
    assert back.heading == "Roll service s back to s:6 (instead of the requested control-plane restart)"
    assert back.scenarios == ("control-plane restart", "control-plane rollback")
    assert back.command == "/dr control-plane restart"
    ending = replace(database.plan_for(WORLD, looked("slots used up", idle=fact([idle(90)] * 12)), 60), asked="database failover")
    assert ending.heading == "End up to 20 idle sessions of report (instead of the requested database failover)"
    watching = replace(
        database.plan_for(WORLD, looked(instance=fact(instance(status="rebooting"))), 60), asked="database failover"
    )
    assert watching.heading == "Watch the failover of prod (instead of the requested database failover)"


def test_only_a_plan_that_changes_what_works_says_that_it_interrupts_it() -> None:
    assert control_plane.restart_plan(WORLD, seen(health=health(200)), False, "").interrupts == "a working control plane"
    assert control_plane.rollback_plan(WORLD, seen(health=health(200)), "why").interrupts == "a working control plane"
    assert control_plane.restart_plan(WORLD, seen(), False, "").interrupts == ""
    assert control_plane.rollback_plan(WORLD, seen(health=health(200), previous=fact(None)), "why").interrupts == ""
    assert database.plan_for(WORLD, looked("answers"), 60).interrupts == "a working database"
    for other in (
        looked("refused"),
        looked("slots used up", idle=fact([idle(90)])),
        looked(instance=fact(instance(status="rebooting"))),
    ):
        assert database.plan_for(WORLD, other, 60).interrupts == ""


def test_a_restart_offers_the_rollback_only_if_there_is_a_revision_for_it() -> None:
    assert control_plane.restart_plan(WORLD, seen(), False, "").fallback == "control-plane rollback"
    assert control_plane.restart_plan(WORLD, seen(previous=fact(None)), False, "").fallback == ""


def test_volatile_facts_do_not_change_the_digest_of_a_restart() -> None:
    one = control_plane.restart_plan(WORLD, seen(), False, "")
    two = control_plane.restart_plan(WORLD, seen(health=INTERNAL_ERROR, stopped=fact([crash()]), lines=missing()), False, "")
    assert one.digest == two.digest


def test_another_revision_changes_the_digest_of_a_restart() -> None:
    one = control_plane.restart_plan(WORLD, seen(), False, "")
    two = control_plane.restart_plan(WORLD, seen(service=fact(replace(service(), revision="s:8"))), False, "")
    assert one.digest != two.digest


@pytest.mark.parametrize("kind", DOWN)
def test_a_database_that_is_down_stops_a_restart_unless_anyway(kind: str) -> None:
    down = seen(database=fact(Diagnosis(kind=kind, says="The database is down.")))
    assert any("/dr database failover" in f.says for f in control_plane.restart_plan(WORLD, down, False, "").forbidden)
    assert not control_plane.restart_plan(WORLD, down, True, "").forbidden


def test_a_restart_while_health_is_good_warns() -> None:
    plan = control_plane.restart_plan(WORLD, seen(health=health(200)), False, "")
    assert any(f.level is Level.WARN and "Nothing seems to be down" in f.says for f in plan.findings)


def test_a_rollback_to_a_revision_without_its_image_is_forbidden() -> None:
    gone = Revision(name="s:6", found_by="task definitions", images=("image",), missing_images=("image",))
    assert "image" in control_plane.rollback_plan(WORLD, seen(previous=fact(gone)), "why").forbidden[0].says


def test_a_rollback_without_a_revision_is_forbidden_and_only_looks() -> None:
    plan = control_plane.rollback_plan(WORLD, seen(previous=fact(None)), "why")
    assert plan.forbidden
    assert not plan.actions()


def test_a_plan_comes_out_when_no_source_answers() -> None:
    sources = ("service", "history", "ours", "stopped", "previous", "lines", "health", "database")
    plan = control_plane.restart_plan(WORLD, seen(**{name: missing() for name in sources}), False, "")
    assert any("plan `/dr region failover`" in f.says for f in plan.forbidden)
