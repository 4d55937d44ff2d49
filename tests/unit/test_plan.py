"""The plan's digest binds what is done and relied on, and nothing volatile; a stored plan comes back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commands
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.rds import FailOver, FailoverFinished
from actions.base import Step, UnknownStep, ok, stop, warn
from actions.db.health import ConnectionsFree, DatabaseWrites, PrimaryServes
from actions.db.sessions import EndIdleSessions
from actions.health import HealthAnswers
from commands.plan import Plan, changes

assert commands.control_plane  # importing the scenarios registers their steps

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
numbers = st.integers(min_value=0, max_value=10_000)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(ForceNewDeployment, cluster=words, service=words, region=words),
    st.builds(RollBack, cluster=words, service=words, region=words, task_definition=words),
    st.builds(FailOver, instance=words, region=words),
    st.builds(FailoverFinished, instance=words, region=words),
    st.builds(
        EndIdleSessions,
        applications=st.lists(words, max_size=3).map(tuple),
        idle_for_seconds=numbers,
        at_most=numbers,
    ),
    st.builds(HealthAnswers, url=words, passes=numbers, interval=numbers, expected_status=numbers),
    st.builds(ConnectionsFree, at_least_percent=numbers),
    st.builds(PrimaryServes, connections=numbers),
    st.just(DatabaseWrites()),
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
    basis=basis,
    findings=st.lists(findings, max_size=2).map(tuple),
    cost=st.lists(words, max_size=2).map(tuple),
    fallback=words,
)

PLAN = Plan(
    scenario="control-plane restart",
    arguments={},
    why="Health answers 504.",
    target="service shielda/control-plane",
    stages=((ForceNewDeployment(cluster="shielda", service="control-plane", region="us-west-2"),), (DatabaseWrites(),)),
    basis={"task_definition": "control-plane:7"},
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


@settings(max_examples=50)
@given(plans, plans)
def test_plans_with_anything_bound_that_differs_have_other_digests(one: Plan, two: Plan) -> None:
    bound = [(p.scenario, p.arguments, p.target, p.stages, p.basis, p.fallback) for p in (one, two)]
    assert (one.digest == two.digest) == (_exact(bound[0]) == _exact(bound[1]))


def _exact(value: object) -> str:
    """Equality as JSON has it: 1 and true are different things."""
    return repr(value) if not isinstance(value, dict) else repr(sorted(value.items()))


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
        {"fallback": ""},
    ],
)
def test_each_bound_part_changes_the_digest_and_is_told(change: dict[str, Any]) -> None:
    other = replace(PLAN, **change)
    assert other.digest != PLAN.digest
    assert changes(PLAN, other)


def test_a_changed_fact_is_told_with_both_values() -> None:
    other = replace(PLAN, basis={"task_definition": "control-plane:8"})
    assert changes(PLAN, other) == ("Task definition was control-plane:7, is now control-plane:8.",)


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
