"""The number of tasks is set and followed: stopped means that no process is left, and what others set is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.aws.desired_count import SetDesiredCount
from actions.values import Result
from tests.world.action_examples import SERVICE
from tests.world.aws_world import until
from tests.world.fast_aws import Rig, fast_aws

STOP = SetDesiredCount(**SERVICE, count=0)


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "counts.sqlite") as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


async def test_a_service_is_stopped_and_started_again(rig: Rig) -> None:
    scheduler = rig.rehearsal.ecs.scheduler
    before = scheduler.desired
    outcome = await rig.carry_out(STOP)
    assert outcome.result is Result.DONE, outcome.says
    assert "No control-plane task runs, seen after" in outcome.says
    assert [task for task in scheduler.tasks if task.last != "STOPPED"] == []
    outcome = await rig.carry_out(SetDesiredCount(**SERVICE, count=before))
    assert outcome.result is Result.DONE, outcome.says
    assert sum(task.last == "RUNNING" for task in scheduler.tasks) == before
    assert rig.effects("UpdateService") == 2


async def test_a_count_that_is_set_already_is_not_sent(rig: Rig) -> None:
    outcome = await rig.carry_out(SetDesiredCount(**SERVICE, count=rig.rehearsal.ecs.scheduler.desired))
    assert outcome.result is Result.ALREADY_DONE
    assert rig.effects("UpdateService") == 0


async def test_a_task_that_is_still_stopping_is_not_stopped(rig: Rig) -> None:
    facts, _ = await rig.runner.observe(STOP)
    receipt = await STOP.apply(rig.world, facts)
    tasks = rig.rehearsal.ecs.scheduler.tasks

    async def all_stopped() -> bool:
        return all(task.last == "STOPPED" for task in tasks)

    await until(all_stopped)
    tasks[-1].last = "DEPROVISIONING"  # ECS counts it as running no longer
    verified = asyncio.create_task(STOP.verify(rig.world, facts, receipt))
    await asyncio.sleep(0.2)
    assert not verified.done()
    tasks[-1].last = "STOPPED"
    assert (await verified).result is Result.DONE


async def test_a_count_that_others_set_back_is_told(rig: Rig) -> None:
    facts, _ = await rig.runner.observe(STOP)
    outcome = await STOP.verify(rig.world, facts, {})
    assert outcome.result is Result.FAILED
    assert "another person or auto scaling set it. Stop that, then retry." in outcome.says


async def test_a_lost_answer_and_another_s_count_leave_it_to_a_person(rig: Rig) -> None:
    facts, _ = await rig.runner.observe(STOP)
    rig.rehearsal.faults.put("drop", operation="UpdateService")
    rig.rehearsal.ecs.scheduler.desired = 1 if facts["desired"] != 1 else 3
    applied = await rig.runner._send(STOP, facts)
    rig.rehearsal.ecs.scheduler.desired = facts["desired"]
    assert applied.outcome
    assert applied.outcome.result is Result.UNKNOWN
    assert "somebody else set it" in applied.outcome.says


async def test_a_service_that_is_not_there_is_not_scaled(rig: Rig) -> None:
    outcome = await rig.carry_out(replace(STOP, service="nothing"))
    assert outcome.result is Result.FAILED
    assert "shielda/nothing is MISSING in us-west-2: it can't be scaled" in outcome.says
    assert rig.effects("UpdateService") == 0
