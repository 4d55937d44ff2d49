"""Only what a run made is dropped or changed: the tag decides, protection is respected, and absence is proven."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.aws.drops import DropInstance
from actions.aws.instances import instances_with_tag
from actions.values import Result
from tests.world.action_examples import change_settings, drop_instance, restore_to_time
from tests.world.aws_world import WEST
from tests.world.fast_aws import PROD, TAG, Rig, fast_aws


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "drops.sqlite", tasks=False) as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


def changes(rig: Rig) -> list[str]:
    return [call["operation"] for call in rig.rehearsal.journal.calls(changing=True, source="bot")]


async def test_left_overs_are_found_by_their_tag(rig: Rig) -> None:
    rig.add_instance("shielda-verify-1")
    rig.add_instance("shielda-verify-2", tag="dr-run=earlier")
    rig.add_instance("billing", tag="owner=ann")
    found = await instances_with_tag(rig.world, "dr-run", WEST)
    assert [(one.name, one.tags["dr-run"]) for one in found] == [("shielda-verify-1", "test"), ("shielda-verify-2", "earlier")]


async def test_our_temporary_instance_is_dropped_and_its_absence_seen(rig: Rig) -> None:
    outcome = await rig.carry_out(await drop_instance(rig))
    assert outcome.result is Result.DONE
    assert "shielda-verify-old is gone: RDS has no database of this name" in outcome.says
    assert changes(rig) == ["DeleteDBInstance"]


async def test_an_instance_without_our_tag_is_never_deleted(rig: Rig) -> None:
    action = await drop_instance(rig)
    for name, tag in (("other", "dr-run=another"), ("none", "owner=ann"), (PROD, "")):
        if name != PROD:
            rig.add_instance(name, tag=tag)
        outcome = await rig.carry_out(replace(action, instance=name))
        assert outcome.result is Result.FAILED
        assert f"{name} does not carry the tag dr-run=test" in outcome.says
        assert "left alone" in outcome.says
    assert changes(rig) == []


async def test_an_instance_with_deletion_protection_is_not_deleted(rig: Rig) -> None:
    rig.add_instance("protected", DeletionProtection=True)
    outcome = await rig.carry_out(DropInstance(instance="protected", region=WEST, tag=TAG))
    assert outcome.result is Result.FAILED
    assert "protected has deletion protection" in outcome.says
    assert changes(rig) == []


async def test_an_instance_that_is_gone_already_is_done(rig: Rig) -> None:
    outcome = await rig.carry_out(DropInstance(instance="nobody", region=WEST, tag=TAG))
    assert outcome.result is Result.ALREADY_DONE
    assert "nobody is gone already" in outcome.says
    assert changes(rig) == []


async def test_an_instance_that_shows_itself_late_is_not_said_to_be_gone(rig: Rig) -> None:
    action = DropInstance(instance="late", region=WEST, tag=TAG)
    facts, _ = await rig.runner.observe(action)
    await rig.runner.store.record_intent("late", "1.1", 1, facts)
    rig.add_instance("late")  # a restore whose answer was lost
    outcome = await action.verify(rig.world, facts, {"found": True})
    assert outcome.result is Result.FAILED
    assert "late was not there and now is, available. Nothing was dropped. Retry." in outcome.says
    assert (await rig.carry_out(action, run="late", attempt=2)).result is Result.DONE
    assert changes(rig) == ["DeleteDBInstance"]


async def test_an_instance_that_is_still_being_created_is_waited_for(rig: Rig) -> None:
    action = await restore_to_time(rig)
    action = replace(action, settings={**action.settings, "DeletionProtection": False})
    facts, _ = await rig.runner.observe(action)
    await action.apply(rig.world, facts)
    outcome = await rig.carry_out(DropInstance(instance=action.instance, region=WEST, tag=TAG))
    assert outcome.result is Result.DONE, outcome.says
    assert changes(rig) == ["RestoreDBInstanceToPointInTime", "DeleteDBInstance"]


async def test_an_instance_that_somebody_else_is_deleting_is_only_watched(rig: Rig) -> None:
    action = await drop_instance(rig)
    await rig.rehearsal.call("rds", "delete_db_instance", DBInstanceIdentifier=action.instance, SkipFinalSnapshot=True)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.ALREADY_DONE, outcome.says
    assert changes(rig) == ["DeleteDBInstance"], "the other's request is the only one"


async def test_another_instance_of_a_dropped_one_s_name_is_left_alone(rig: Rig) -> None:
    action = await drop_instance(rig)
    facts, _ = await rig.runner.observe(action)
    await rig.runner.store.record_intent("reborn", "1.1", 1, facts)
    rig.add_instance(action.instance)
    outcome = await rig.carry_out(action, run="reborn")
    assert outcome.result is Result.UNKNOWN
    assert "there is another database of this name" in outcome.says
    assert changes(rig) == []


async def test_settings_are_changed_only_of_what_is_ours(rig: Rig) -> None:
    action = await change_settings(rig)
    outcome = await rig.carry_out(replace(action, instance=PROD))
    assert "does not carry the tag" in outcome.says
    rig.add_instance("busy").publish("modifying")
    assert "busy is modifying, and RDS changes only" in (await rig.carry_out(replace(action, instance="busy"))).says
    assert "has no database nobody" in (await rig.carry_out(replace(action, instance="nobody"))).says
    assert changes(rig) == []


async def test_settings_that_are_so_already_are_not_sent(rig: Rig) -> None:
    action = await change_settings(rig)
    assert (await rig.carry_out(action)).result is Result.DONE
    assert (await rig.carry_out(action)).result is Result.ALREADY_DONE
    assert changes(rig) == ["ModifyDBInstance"]


async def test_settings_that_take_a_while_are_followed_until_they_hold(rig: Rig) -> None:
    action = await change_settings(rig)
    outcome = await rig.carry_out(replace(action, settings={"DBInstanceClass": "db.r6g.xlarge", "MultiAZ": False}))
    assert outcome.result is Result.DONE, outcome.says
    made = rig.rds.registry.instance(WEST, action.instance)
    assert made.settings["DBInstanceClass"] == "db.r6g.xlarge"
    assert not made.pending
