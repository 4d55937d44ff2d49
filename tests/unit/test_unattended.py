"""What may go on without people: which plans need them, when a schedule is due, and what is missing when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.drops import DropInstance
from actions.aws.ecs import ForceNewDeployment
from actions.aws.restores import RestoreSnapshot
from actions.aws.secrets import MoveStage
from actions.db.restored import Recovered
from actions.db.take_over import TakeOver
from actions.health import HealthAnswers
from actions.site import DatabaseRef
from actions.step import Action, Step
from bot import actors
from bot.cron import how_often, is_cron, last_due, next_due
from bot.engine.offers import already_on_offer
from bot.engine.watch import Verified, missing
from bot.slack import cards
from bot.slack.look import Look
from commands.plan import Plan
from tests import catalogue
from tests.unit.test_plan_cards import offered

assert catalogue  # importing it registers every step
PRODUCTION = {"prod", "replica"}
COPY = DatabaseRef(name="primary", instance="verify-1", region="us-west-2", dsn_env="DATABASE_URL")
PROD = DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="DATABASE_URL")
WEST: dict[str, Any] = {"region": "us-west-2"}
MONDAYS = "0 4 * * 1"
DUE = datetime(2026, 11, 23, 4, tzinfo=UTC)
LONG_AGO = DUE - timedelta(days=99)


def plan(*steps: Step, cleanup: tuple[Step, ...] = ()) -> Plan:
    stages, last = tuple((step,) for step in steps), ((cleanup,) if cleanup else ())
    return Plan(scenario="s", arguments={}, why="w", target="t", stages=stages, cleanup=last, basis={})


def restored(instance: str = "verify-1") -> RestoreSnapshot:
    return RestoreSnapshot(instance=instance, snapshot="s", settings={}, tags={}, tag="dr-verify=1", **WEST)


def dropped(instance: str = "verify-1") -> DropInstance:
    return DropInstance(instance=instance, tag="dr-verify=1", **WEST)


def test_a_plan_that_only_makes_and_drops_a_copy_needs_nobody() -> None:
    assert plan(restored(), Recovered(database=COPY), cleanup=(dropped(),)).needs_people(PRODUCTION) == ""


def test_a_verification_of_backups_needs_nobody() -> None:
    from tests.unit.test_verify import plan as verification

    assert verification().needs_people(PRODUCTION) == ""
    assert verification().actions()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (ForceNewDeployment(cluster="c", service="web", **WEST), "Step 2.1 changes production: Restart service web."),
        (MoveStage(secret_id="s", version="v", current="c", **WEST), "Step 2.1 changes production: "),
        (dropped("prod"), "Step 2.1 changes production: Drop temporary database prod."),
        (TakeOver(database=COPY, replaces=PROD, at="2026-01-15T10:30:00Z"), "Step 2.1 asks an approver: Shall verify-1"),
    ],
)
def test_a_step_that_touches_production_or_asks_needs_people(step: Step, why: str) -> None:
    assert plan(HealthAnswers(url="http://x/"), step).needs_people(PRODUCTION).startswith(why)


def test_a_clean_up_counts_as_well() -> None:
    assert plan(restored(), cleanup=(dropped("replica"),)).needs_people(PRODUCTION).startswith("Step 2.1 changes production")


def test_only_actions_that_a_runs_own_mark_guards_spare_production() -> None:
    sparing = [step for step in Step.registry.values() if issubclass(step, Action) and not step.touches_production]
    assert sparing
    for step in sparing:
        assert step.kind.startswith("test.") or "tag" in step.__dataclass_fields__, step.kind


def test_a_weekly_schedule_is_due_on_its_day_and_called_weekly() -> None:
    assert last_due(MONDAYS, DUE) == DUE
    assert last_due(MONDAYS, DUE + timedelta(days=6, hours=23)) == DUE
    assert last_due(MONDAYS, DUE - timedelta(seconds=1)) == DUE - timedelta(days=7)
    assert next_due(MONDAYS, DUE) == DUE + timedelta(days=7)
    assert [how_often(cron, DUE) for cron in (MONDAYS, "0 4 * * *", "0 4 * * 1,3")] == ["weekly", "daily", ""]
    assert not any(map(is_cron, ("", "weekly", "0 4 * *", "61 4 * * 1")))


def found(*runs: tuple[float, str], hours: float, since: datetime = LONG_AGO) -> str:
    """What is missing so many hours after it was due, with runs that began some hours after that."""
    known = [Verified(id=f"run{n}", began=DUE + timedelta(hours=at), state=state) for n, (at, state) in enumerate(runs)]
    return missing(MONDAYS, since, DUE + timedelta(hours=hours), known)


def test_a_verification_that_did_not_begin_is_missing_after_an_hour() -> None:
    assert found(hours=0.9) == ""
    assert found(hours=1.1) == "The verification of backups that was due at 2026-11-23 04:00 UTC did not begin."
    assert found(hours=1.1, since=DUE + timedelta(minutes=1)) == ""


def test_one_by_hand_counts_and_one_that_hangs_is_missing() -> None:
    assert found((3, "done"), hours=100) == ""
    assert found((0, "running"), hours=5) == ""
    assert found((0, "running"), hours=7).endswith("has not ended yet: run run0.")
    assert found((0, "failed"), (2, "done"), hours=7) == ""
    assert found((0, "failed"), hours=7) == ""  # it has an alert of its own


def test_a_plan_that_no_person_asked_for_may_be_approved_by_any_approver() -> None:
    story = offered(plan(restored()))
    asked = replace(story, offer=replace(story.offer, requested_by="schedule:weekly"))
    said = json.dumps(cards.render(asked, Look())[1])
    assert "*A person must approve*" in said
    assert "asked for by the weekly schedule" in said
    assert already_on_offer(asked.offer, "U0BOB").startswith("The weekly schedule asked for the same plan")


def test_actors_are_named_in_words_and_people_are_mentioned() -> None:
    assert actors.mention("U0ALICE") == "<@U0ALICE>"
    assert actors.mention("terminal:ops@box") == "the terminal (ops@box)"
    assert (actors.named("schedule:weekly"), actors.named("schedule:")) == ("the weekly schedule", "the schedule")
    assert len(actors.this_terminal()) <= actors.LONGEST
