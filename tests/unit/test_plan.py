"""The plan's digest binds what is done and relied on, and nothing volatile; a stored plan comes back as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commands
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.rds import FailOver, FailoverFinished
from actions.db.health import ConnectionsFree, DatabaseWrites, PrimaryServes
from actions.db.sessions import EndIdleSessions
from actions.errors import UnknownStep
from actions.health import HealthAnswers
from actions.site import DatabaseRef
from actions.step import Hold, Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from commands.plan import Plan, changes

assert commands.control_plane  # importing the scenarios registers their steps

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
references = st.builds(DatabaseRef, name=words, instance=words, region=words, dsn_env=words)
numbers = st.integers(min_value=0, max_value=10_000)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(ForceNewDeployment, cluster=words, service=words, region=words),
    st.builds(RollBack, cluster=words, service=words, region=words, task_definition=words),
    st.builds(FailOver, database=references),
    st.builds(FailoverFinished, database=references),
    st.builds(
        EndIdleSessions,
        database=references,
        applications=st.lists(words, max_size=3).map(tuple),
        idle_for_seconds=numbers,
        at_most=numbers,
    ),
    st.builds(HealthAnswers, url=words, passes=numbers, interval=numbers, expected_status=numbers),
    st.builds(ConnectionsFree, database=references, at_least_percent=numbers),
    st.builds(PrimaryServes, database=references, connections=numbers),
    st.builds(DatabaseWrites, database=references),
)
findings = st.builds(lambda make, says, why: make(says, why), st.sampled_from([ok, warn, stop]), words, words)
basis = st.dictionaries(words, st.none() | st.booleans() | numbers | words, max_size=3)
plans = st.builds(
    Plan,
    scenario=words,
    arguments=st.dictionaries(words, words, max_size=2),
    why=words,
    target=words,
    stages=st.lists(st.lists(steps, min_size=1, max_size=2).map(tuple), max_size=3).map(tuple),
    cleanup=st.lists(st.lists(steps, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
    basis=basis,
    identity=st.dictionaries(words, words, max_size=2),
    findings=st.lists(findings, max_size=2).map(tuple),
    cost=st.lists(words, max_size=2).map(tuple),
    fallback=words,
)

PLAN = Plan(
    scenario="control-plane restart",
    arguments={},
    why="Health answers 504.",
    target="service shielda/control-plane",
    stages=(
        (ForceNewDeployment(cluster="shielda", service="control-plane", region="us-west-2"),),
        (DatabaseWrites(database=DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="DATABASE_URL")),),
    ),
    basis={"task_definition": "control-plane:7"},
    identity={"ARN": "arn:1"},
    findings=(ok("1 of 1 tasks run."),),
    fallback="control-plane rollback",
)


@settings(max_examples=30)
@given(plans)
def test_a_stored_plan_comes_back_with_its_digest(plan: Plan) -> None:
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.digest == plan.digest == plan.to_json()["digest"]
    assert again == plan


@settings(max_examples=30)
@given(plans, words, st.lists(findings, max_size=2), st.integers(1, 1000))
def test_volatile_evidence_does_not_change_the_digest(plan: Plan, why: str, found: list[Any], minutes: int) -> None:
    later = datetime.now(UTC) + timedelta(minutes=minutes)
    other = replace(plan, why=why, findings=tuple(found), cost=(why,), made_at=later, expires=later)
    assert other.digest == plan.digest
    assert changes(plan, other) == ()


@settings(max_examples=100)
@given(plans, plans, st.sampled_from(["scenario", "arguments", "target", "stages", "cleanup", "basis", "identity", "fallback"]))
def test_a_plan_that_differs_in_one_bound_field_has_another_digest(plan: Plan, donor: Plan, name: str) -> None:
    other = replace(plan, **{name: getattr(donor, name)})
    assert (other.digest == plan.digest) == (_exact(getattr(other, name)) == _exact(getattr(plan, name)))


def _exact(value: Any) -> str:
    """Equality as JSON has it: 1 and true are different things, and a mapping has no order."""
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


@pytest.mark.parametrize(
    "change",
    [
        {"scenario": "control-plane rollback"},
        {"arguments": {"anyway": "yes"}},
        {"target": "service shielda/other"},
        {"stages": PLAN.stages[:1]},
        {"stages": PLAN.stages[::-1]},
        {"stages": ((*PLAN.stages[0], *PLAN.stages[1]),)},
        {"basis": {"task_definition": "control-plane:8"}},
        {"identity": {"ARN": "arn:2"}},
        {"fallback": ""},
        {"cleanup": PLAN.stages[1:]},
    ],
)
def test_each_bound_part_changes_the_digest_and_is_told(change: dict[str, Any]) -> None:
    other = replace(PLAN, **change)
    assert other.digest != PLAN.digest
    assert changes(PLAN, other)


def test_a_changed_fact_is_told_with_both_values() -> None:
    other = replace(PLAN, basis={"task_definition": "control-plane:8"})
    assert changes(PLAN, other) == ("Task definition was control-plane:7, is now control-plane:8.",)


def test_another_identity_is_told_as_another_thing() -> None:
    other = replace(PLAN, identity={"ARN": "arn:2"})
    assert changes(PLAN, other) == ("ARN was arn:1, is now arn:2: it is a different one.",)


def test_an_identity_that_can_not_be_read_any_more_is_a_change() -> None:
    assert changes(PLAN, replace(PLAN, identity={"ARN": ""})) == ("ARN was arn:1, and can't be read any more.",)


def test_an_identity_that_is_known_only_now_is_no_change() -> None:
    other = replace(PLAN, identity={"ARN": "arn:1", "system_identifier": "7"})
    assert changes(PLAN, other) == ()


def test_a_stored_plan_with_an_unknown_step_is_refused_with_a_sentence() -> None:
    stored = PLAN.to_json()
    stored["stages"][0][0]["step"] = "ecs.levitate"
    with pytest.raises(UnknownStep, match=r"ecs\.levitate"):
        Plan.from_json(stored)


def test_a_stop_finding_forbids_the_plan() -> None:
    assert not PLAN.forbidden
    assert replace(PLAN, findings=(stop("No standby."),)).forbidden[0].says == "No standby."


def test_steps_are_numbered_by_stage_and_place() -> None:
    assert [step_id for step_id, _ in PLAN.steps()] == ["1.1", "2.1"]


@dataclass(frozen=True, kw_only=True)
class Judge(Hold):
    """A Hold that is registered nowhere."""

    kind: ClassVar[str] = "judge"
    question: ClassVar[str] = "Is it good enough?"

    async def evidence(self, world: World) -> tuple[Finding, ...]:
        return ()


Judge.__abstractmethods__ = frozenset()  # what a plan does not look at is not declared


def test_a_hold_is_shown_as_a_step_and_is_alone_in_its_stage() -> None:
    hold = Judge()
    assert hold.title == "Stop here and ask: Is it good enough?"
    assert list(replace(PLAN, stages=((hold,),)).steps()) == [("1.1", hold)]
    for wrong in ({"stages": ((hold, *PLAN.stages[0]),)}, {"cleanup": ((hold,),)}):
        with pytest.raises(ValueError, match="Hold"):
            replace(PLAN, **wrong)


def test_the_steps_of_a_cleanup_are_numbered_on_and_known_as_such() -> None:
    plan = replace(PLAN, cleanup=(PLAN.stages[1],))
    assert [(step, plan.is_cleanup(step)) for step, _ in plan.steps()] == [("1.1", False), ("2.1", False), ("3.1", True)]
    assert [[step["id"] for step in stage] for stage in plan.to_json()["cleanup"]] == [["3.1"]]


def test_a_plan_that_was_stored_before_there_were_cleanups_is_the_same_plan() -> None:
    stored = PLAN.to_json()
    del stored["cleanup"]
    assert Plan.from_json(stored) == PLAN
    assert "cleanup" not in PLAN._bound()
