"""Snapshots, restores and their end against the rehearsal's RDS: what is refused, what is found again, what is named."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.aws.drops import ChangeSettings
from actions.aws.restores import RestoreSnapshot, SameSettings
from actions.aws.snapshots import find_snapshot, snapshots_of
from actions.values import Result
from tests.world.action_examples import create_snapshot, restore_snapshot, restore_to_time
from tests.world.fast_aws import PROD, TAG, Rig, fast_aws

WEST = "us-west-2"


@pytest.fixture(scope="module")
async def shared(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "restores.sqlite", tasks=False) as rig:
        yield rig


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    await shared.ready()
    return shared


def changes(rig: Rig) -> list[str]:
    return [call["operation"] for call in rig.rehearsal.journal.calls(changing=True, source="bot")]


# --- snapshots --------------------------------------------------------------------------------------------------


async def test_a_snapshot_is_taken_and_its_time_is_told(rig: Rig) -> None:
    outcome = await rig.carry_out(await create_snapshot(rig))
    assert outcome.result is Result.DONE
    assert "is available after" in outcome.says
    assert "It was taken at 20" in outcome.says
    assert rig.rds.registry.snapshot(WEST, "shielda-prod-before-restore").status == "available"


async def test_snapshots_are_listed_newest_first_and_without_others(rig: Rig) -> None:
    await rig.carry_out(await create_snapshot(rig))
    found = await snapshots_of(rig.world, PROD, WEST)
    assert [(one.kind, one.status) for one in found] == [("manual", "available"), ("automated", "available")]
    assert (await find_snapshot(rig.world, found[1].name, WEST)) == found[1]
    assert await find_snapshot(rig.world, "nothing", WEST) is None
    assert await snapshots_of(rig.world, "billing-prod", WEST) == []


async def test_our_own_snapshot_of_the_same_database_is_already_done(rig: Rig) -> None:
    action = await create_snapshot(rig)
    await rig.carry_out(action)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.ALREADY_DONE
    assert "was there already" in outcome.says
    assert changes(rig) == ["CreateDBSnapshot"]


async def test_a_snapshot_of_another_database_is_not_taken_for_ours(rig: Rig) -> None:
    action = await create_snapshot(rig)
    await rig.carry_out(action)
    rig.rds.registry.snapshot(WEST, action.snapshot).source = "billing-prod"
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert "isn't this plan's: its database is billing-prod and not shielda-prod. Plan again. Nothing was done" in outcome.says
    assert changes(rig) == ["CreateDBSnapshot"]


async def test_a_snapshot_of_a_former_database_of_the_name_is_not_ours(rig: Rig) -> None:
    action = await create_snapshot(rig)
    await rig.carry_out(action)
    rig.rds.registry.snapshot(WEST, action.snapshot).resource_id = "db-ANOTHER"
    assert "its resource id is db-ANOTHER" in (await rig.carry_out(action)).says


async def test_a_name_that_is_taken_between_look_and_send_is_looked_at(rig: Rig) -> None:
    action = await create_snapshot(rig)
    facts, _ = await rig.runner.observe(action)
    await rig.carry_out(action)
    applied = await rig.runner._send(action, facts)
    assert applied.outcome is None, "it is ours, so it is done"
    assert "DBSnapshotAlreadyExists" in applied.says
    assert "Reading back shows that it happened" in applied.says
    rig.rds.registry.snapshot(WEST, action.snapshot).source = "billing-prod"
    applied = await rig.runner._send(action, facts)
    assert applied.outcome
    assert applied.outcome.result is Result.FAILED
    assert "Nothing changed: the snapshot shielda-prod-before-restore isn't this plan's" in applied.outcome.says
    assert rig.effects("CreateDBSnapshot") == 1


async def test_no_snapshot_is_asked_of_a_database_that_is_not_available(rig: Rig) -> None:
    rig.rds.stick("modifying")
    outcome = await rig.carry_out(await create_snapshot(rig))
    assert outcome.result is Result.FAILED
    assert "shielda-prod is modifying, and RDS takes snapshots only of an available one" in outcome.says
    outcome = await rig.carry_out(replace(await create_snapshot(rig), instance="nobody"))
    assert "RDS in us-west-2 has no database nobody" in outcome.says
    assert changes(rig) == []


# --- restores ---------------------------------------------------------------------------------------------------


async def test_a_restore_carries_over_every_setting_and_the_run_s_tag(rig: Rig) -> None:
    action = await restore_to_time(rig)
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.DONE
    assert "not as it was asked for" not in outcome.says
    made = rig.rds.registry.instance(WEST, action.instance)
    tags = {tag["Key"]: tag["Value"] for tag in made.tags}
    assert tags == {
        "Environment": "production",
        "Service": "shielda",
        "ManagedBy": "terraform",
        "dr-run": "test",
        "dr-source": PROD,
        "dr-time": action.at,
    }
    late = {"PerformanceInsightsEnabled", "MonitoringInterval"}  # of which no restore takes a word
    production = rig.rds.production.settings
    assert {name for name in production if made.settings.get(name) != production[name]} == late


async def test_what_a_restore_left_out_is_set_afterwards_and_then_all_is_the_same(rig: Rig) -> None:
    action = await restore_to_time(rig)
    await rig.carry_out(action)
    check = SameSettings(source=PROD, instance=action.instance, region=WEST)
    assert (await check.look(rig.world)).says == (
        f"{action.instance} is not set up as {PROD} is: Performance Insights: off, not on; "
        "seconds between enhanced monitoring: 0, not 60."
    )
    settings = {"EnablePerformanceInsights": True, "MonitoringInterval": 60}
    outcome = await rig.carry_out(ChangeSettings(instance=action.instance, region=WEST, tag=TAG, settings=settings))
    assert outcome.result is Result.DONE, outcome.says
    assert (await check.look(rig.world)).says == f"{action.instance} is set up as {PROD} is."


async def test_a_restore_beyond_the_restorable_time_is_not_asked_for(rig: Rig) -> None:
    outcome = await rig.carry_out(replace(await restore_to_time(rig), at="2099-01-01T00:00:00+00:00"))
    assert outcome.result is Result.FAILED
    assert "and 2099-01-01 00:00:00 UTC is later. Retry soon. Nothing was done" in outcome.says
    outcome = await rig.carry_out(replace(await restore_to_time(rig), source="nobody"))
    assert "has no database nobody to restore from" in outcome.says
    assert changes(rig) == []


async def test_a_restore_from_before_retention_is_refused_by_rds(rig: Rig) -> None:
    outcome = await rig.carry_out(replace(await restore_to_time(rig), at="2020-01-01T00:00:00+00:00"))
    assert outcome.result is Result.FAILED
    assert "RDS refused RestoreDBInstanceToPointInTime: InvalidRestoreFault" in outcome.says
    assert "Nothing changed" in outcome.says


async def test_an_instance_of_the_name_without_our_tag_is_not_taken_for_ours(rig: Rig) -> None:
    action = await restore_to_time(rig)
    rig.add_instance(action.instance, tag="dr-run=another")
    outcome = await rig.carry_out(action)
    assert outcome.result is Result.FAILED
    assert "its dr-run is another and not test" in outcome.says
    assert changes(rig) == []


async def test_an_instance_restored_to_another_time_is_not_ours(rig: Rig) -> None:
    action = await restore_to_time(rig)
    await rig.carry_out(action)
    outcome = await rig.carry_out(replace(action, at="2026-01-01T00:00:00+00:00"))
    assert outcome.result is Result.FAILED
    assert "its dr-time is" in outcome.says
    assert changes(rig) == ["RestoreDBInstanceToPointInTime"]


async def test_a_restore_that_ends_incompatible_fails_at_once(rig: Rig) -> None:
    rig.rds.restore_faults.incompatible = True
    outcome = await rig.carry_out(await restore_to_time(rig))
    assert outcome.result is Result.FAILED
    assert "is incompatible-restore and will not become available. Drop it and plan again" in outcome.says


async def test_an_instance_that_vanishes_while_it_is_followed_is_told(rig: Rig) -> None:
    action = await restore_to_time(rig)
    facts, _ = await rig.runner.observe(action)
    outcome = await action.verify(rig.world, facts, {})
    assert outcome.result is Result.FAILED
    assert "has vanished: somebody deleted it" in outcome.says


async def test_settings_that_rds_forgot_are_told_with_the_restore(rig: Rig) -> None:
    rig.rds.restore_faults.other_settings = True
    outcome = await rig.carry_out(await restore_to_time(rig))
    assert outcome.result is Result.DONE
    assert "It is not as it was asked for: Multi-AZ: off, not on; subnet group: default, not shielda-private" in outcome.says


async def test_a_restore_says_how_far_it_is(rig: Rig) -> None:
    action, said = await restore_to_time(rig), list[str]()
    facts, _ = await rig.runner.observe(action)
    await action.apply(rig.world, facts)
    await action.verify(rig.world.followed(said.append), facts, {})
    assert [re.sub(r"\d+", "9", one) for one in said[:1]] == ["it is creating after 9 s."]


async def test_a_snapshot_that_is_not_available_is_not_restored(rig: Rig) -> None:
    action = await restore_snapshot(rig)
    assert isinstance(action, RestoreSnapshot)
    assert "has no snapshot nothing" in (await rig.carry_out(replace(action, snapshot="nothing"))).says
    rig.rds.registry.snapshot(WEST, action.snapshot).status = "creating"
    outcome = await rig.carry_out(action)
    rig.rds.registry.snapshot(WEST, action.snapshot).status = "available"
    assert "is creating; only an available one can be restored" in outcome.says
    assert changes(rig) == []


# --- are the settings the same? ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"MultiAZ": False}, "Multi-AZ: off, not on"),
        ({"DBInstanceClass": "db.t4g.medium"}, "class: db.t4g.medium, not db.r6g.large"),
        ({"DeletionProtection": False}, "deletion protection: off, not on"),
        ({"EnabledCloudwatchLogsExports": []}, "log exports: none, not postgresql, upgrade"),
        ({"IAMDatabaseAuthenticationEnabled": True}, "IAM authentication: on, not off"),
        ({"Iops": 3000}, "IOPS: 3000, not none"),
        ({"EngineVersion": "18.5"}, "version: 18.5, not 18.6"),
        ({"BackupRetentionPeriod": 1}, "days that backups are kept: 1, not 35"),
        ({"DBParameterGroups": [{"DBParameterGroupName": "default.postgres18"}]},
         "parameter group: default.postgres18, not shielda-postgres"),
        ({"VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-0fe11ce0000000002", "Status": "active"}]},
         "security groups: sg-0fe11ce0000000002, not sg-0d15ea5edb0000001"),
    ],
)  # fmt: skip
async def test_each_setting_that_differs_is_named(rig: Rig, changed: dict[str, object], says: str) -> None:
    alike = {"MonitoringInterval": 60, "DeletionProtection": True}
    twin = rig.add_instance("twin", **{**alike, **changed})
    twin.tags = list(rig.rds.production.tags)
    outcome = await SameSettings(source=PROD, instance="twin", region=WEST).look(rig.world)
    assert outcome.says == f"twin is not set up as {PROD} is: {says}."
    assert outcome.result is Result.FAILED


async def test_missing_tags_are_named_and_more_tags_are_fine(rig: Rig) -> None:
    twin = rig.add_instance("twin", MonitoringInterval=60, DeletionProtection=True)
    outcome = await SameSettings(source=PROD, instance="twin", region=WEST).look(rig.world)
    assert "tag Environment: missing, not production" in outcome.says
    twin.tags = [*rig.rds.production.tags, {"Key": "more", "Value": "x"}]
    assert (await SameSettings(source=PROD, instance="twin", region=WEST).look(rig.world)).result is Result.DONE


async def test_what_differs_on_purpose_is_told_as_planned(rig: Rig) -> None:
    twin = rig.add_instance("twin", MonitoringInterval=60)
    twin.tags = list(rig.rds.production.tags)
    check = SameSettings(source=PROD, instance="twin", region=WEST, apart_from=("DeletionProtection",))
    assert (await check.look(rig.world)).says == "twin is set up as shielda-prod is, apart from deletion protection as planned."


async def test_settings_that_wait_for_a_reboot_are_not_the_same_yet(rig: Rig) -> None:
    pending = [{"DBParameterGroupName": "shielda-postgres", "ParameterApplyStatus": "pending-reboot"}]
    twin = rig.add_instance("twin", MonitoringInterval=60, DeletionProtection=True, DBParameterGroups=pending)
    twin.tags = list(rig.rds.production.tags)
    outcome = await SameSettings(source=PROD, instance="twin", region=WEST).look(rig.world)
    assert outcome.result is Result.FAILED
    assert "shielda-postgres is pending-reboot" in outcome.says


async def test_settings_of_a_database_that_is_gone_are_not_compared(rig: Rig) -> None:
    outcome = await SameSettings(source=PROD, instance="nobody", region=WEST).look(rig.world)
    assert outcome.says == "The settings can't be compared: RDS in us-west-2 has no database nobody."
