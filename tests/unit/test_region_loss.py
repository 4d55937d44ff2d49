"""What is lost in a region's failover, what the plan needs of the dead region, and what is approved."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actions.db.heartbeat import Beat
from actions.db.replica import ReplayedAll
from actions.db.rhythm import Rhythm
from actions.step import Action, Hold
from actions.terraform.steps import AgreeToPlan, ApplyPlan
from actions.values import Level
from commands.plan import changes
from commands.region.loss import loss_of, round_up
from commands.region.rehearsed import as_if_gone, judge
from commands.region.seen import _twice
from commands.region.stability import Need, dead_needs, needs
from tests.unit.region_facts import (
    DEAD,
    NOW,
    SITE,
    WEST,
    WORLD,
    ago,
    fact,
    of,
    plan,
    position,
    rhythm,
    seen,
)

# --- the loss -------------------------------------------------------------------------------------------------------


def test_the_loss_is_from_the_replica_s_last_commit_to_the_first_heartbeat_that_failed() -> None:
    loss = loss_of(position(), rhythm())
    assert loss
    assert (loss.seconds, loss.rows, loss.silent_since) == (3, 120, ago(27))


def test_without_heartbeats_the_figure_is_coarse_and_stays_the_same_for_a_while() -> None:
    first, later = (loss_of(position(now=NOW + timedelta(seconds=s)), None) for s in (0, 200))
    assert first
    assert later
    assert first.seconds == later.seconds == 300
    assert (first.rows, first.silent_since) == (None, None)


def test_a_replica_that_has_all_loses_a_second_at_most() -> None:
    loss = loss_of(position(replayed_at=ago(26.5)), rhythm())
    assert loss
    assert loss.figure == "up to 1 s (about 0 rows)"


def test_a_heartbeat_that_failed_before_the_replica_s_last_commit_is_no_silence() -> None:
    loss = loss_of(position(replayed_at=ago(20)), rhythm(failing=27))
    assert loss
    assert (loss.silent_since, loss.seconds) == (None, 300)
    assert "failed although the primary took commits after it, so the figure counts until now" in loss.evidence


@pytest.mark.parametrize(("seconds", "rounded"), [(0, 1), (2.1, 3), (10, 10), (11, 11), (61, 90), (601, 900)])
def test_a_figure_is_rounded_up(seconds: float, rounded: int) -> None:
    assert round_up(seconds) == rounded


def test_a_loss_that_grew_needs_a_new_approval_and_the_same_one_does_not() -> None:
    grown = seen(position=fact(position(replayed_at=ago(34))))
    assert changes(plan(), plan()) == ()
    assert any("at most 7 s of commits may be lost" in change for change in changes(plan(), plan(grown)))
    (check,) = of(plan(), ReplayedAll)
    assert (check.at_most, check.silent_since) == (3, ago(27).isoformat())


def test_a_rhythm_comes_back_from_its_json_and_knows_its_failure() -> None:
    beat = Beat(at=NOW, flushed=1, rows=2)
    began = Rhythm().beaten(beat, NOW - timedelta(seconds=1))
    missed = began.missed(NOW + timedelta(seconds=4)).missed(NOW + timedelta(seconds=9))
    assert missed.failing_since == NOW + timedelta(seconds=5), "the first failure counts, by the primary's clock"
    assert Rhythm.from_json(missed.to_json()) == missed
    assert missed.beaten(beat, NOW).failing_since is None


# --- static stability -----------------------------------------------------------------------------------------------


def test_the_ungraceful_plan_needs_nothing_of_the_dead_region() -> None:
    assert list(dead_needs(plan(), SITE, [WEST])) == []
    needed = {need.region for _, step in plan().steps() for need in needs(step, SITE)}
    assert needed == {"us-east-1"}


def test_a_plan_that_needs_the_dead_region_is_told_by_step_and_plane() -> None:
    found = [finding.says for finding in dead_needs(plan(seen(alive=True)), SITE, [WEST])]
    assert "Step 3.1 (Fence prod: no more writes) needs the database in us-west-2 (data plane), which doesn't answer." in found
    assert any(says.startswith("Step 2.1 (Stop service web) needs ecs in us-west-2 (control plane)") for says in found)


@pytest.mark.parametrize("service", ["rds", "postgresql", "http", "terraform", "route53"])
def test_each_service_of_the_dr_region_is_needed_by_some_step(service: str) -> None:
    assert list(dead_needs(plan(), SITE, [Need(region="us-east-1", service=service)]))
    assert not list(dead_needs(plan(), SITE, [Need(region="us-west-2", service=service)]))


def test_a_lost_region_is_judged_while_all_is_well() -> None:
    (well,) = judge(WORLD, as_if_gone(seen(alive=True)))
    assert (well.level, well.says) == (
        Level.OK,
        "If us-west-2 were gone, `/dr region failover` would need nothing of it, only us-east-1.",
    )
    wrong = judge(WORLD, as_if_gone(seen(alive=True, replica=DEAD)))
    assert wrong[0].says.startswith("If us-west-2 were gone: RDS in us-east-1 could not be read")


def test_every_step_of_every_region_plan_says_what_it_needs() -> None:
    for found in (plan(), plan(seen(alive=True))):
        for _, step in found.steps():
            assert needs(step, SITE) or step.permissions[0].startswith(("dns:", "http:")), step.kind


def test_what_people_approve_is_what_is_applied() -> None:
    agree, apply = (next(of(plan(), kind)) for kind in (AgreeToPlan, ApplyPlan))
    assert isinstance(agree, Hold)
    assert isinstance(apply, Action)
    assert agree.item == apply.item
    assert agree.stack.plan_file == apply.stack.plan_file


async def test_a_connection_that_hangs_does_not_make_a_living_primary_a_lost_one() -> None:
    tries: list[int] = []

    async def ask() -> str:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(60)
        return "alive"

    assert await _twice(ask) == "alive"
    assert len(tries) == 2
    assert await _twice(ask) == "alive"
    assert len(tries) == 3, "an answer in time needs no second question"
