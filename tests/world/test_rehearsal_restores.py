"""Restores by boto3: what RDS refuses, what a restore forgets; and the data is really restored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from rehearsal.postgres.damage import DAMAGE
from tests.world.rds_account import CARRIED, NETWORK, PROD, WEST, Account, committed
from tests.world.sql import query


async def test_a_restore_with_everything_named_is_like_its_source(account: Account) -> None:
    await committed(account, 900_001)
    moment = await committed(account, 900_002)
    await committed(account, 900_003)
    view = await account.restore("shielda-prod-restored", moment, **CARRIED)
    source = await account.described(PROD)
    own = {"DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId", "InstanceCreateTime", "AvailabilityZone", "TagList"}
    own |= {"SecondaryAvailabilityZone", "Endpoint", "LatestRestorableTime", "MonitoringInterval", "PerformanceInsightsEnabled"}
    assert {name: view.get(name) for name in source if name not in own} == {n: source[n] for n in source if n not in own}
    assert view["TagList"] == CARRIED["Tags"]
    dsn = await account.recovered(view)
    assert await query(dsn, "SELECT id FROM records WHERE id BETWEEN 900001 AND 900003 ORDER BY id") == [(900001,), (900002,)]
    events = await account.call("describe_events", SourceIdentifier="shielda-prod-restored", SourceType="db-instance")
    assert "Restored from DB instance shielda-prod to shielda-prod-restored" in [e["Message"] for e in events["Events"]]


async def test_a_bare_restore_forgets_what_aws_forgets_and_nobody_reaches_it(account: Account) -> None:
    view = await account.restore("shielda-bare")
    assert view["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    assert view["VpcSecurityGroups"] == [{"VpcSecurityGroupId": "sg-0def0000000000004", "Status": "active"}]
    assert view["DBParameterGroups"][0]["DBParameterGroupName"].startswith("default.postgres")
    assert (view["MultiAZ"], view["DeletionProtection"], view["MonitoringInterval"]) == (False, False, 0)
    assert not view.get("EnabledCloudwatchLogsExports")
    assert not view["TagList"]
    assert view["BackupRetentionPeriod"] == 35
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await query(conninfo.make_conninfo(account.dsn(view), connect_timeout=2), "SELECT 1")


async def test_an_instance_restored_by_id_has_no_endpoint_while_it_is_created(account: Account) -> None:
    source = (await account.described(PROD))["DbiResourceId"]
    names = {"SourceDbiResourceId": source, "TargetDBInstanceIdentifier": "shielda-new"}
    answer = await account.call("restore_db_instance_to_point_in_time", **names, UseLatestRestorableTime=True, **NETWORK)
    assert answer["DBInstance"]["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in answer["DBInstance"]
    assert await account.refused("delete_db_instance", DBInstanceIdentifier="shielda-new", SkipFinalSnapshot=True) == (
        "InvalidDBInstanceState"
    )
    view = await account.available("shielda-new")
    assert view["InstanceCreateTime"] > datetime.now(UTC) - timedelta(minutes=1)
    assert view["DbiResourceId"] == answer["DBInstance"]["DbiResourceId"]
    assert "LatestRestorableTime" not in view


async def test_available_is_not_recovered(account: Account) -> None:
    account.rds.restore_faults.slow = True  # 0.25 s and more
    view = await account.restore("shielda-slow", **NETWORK)
    assert await query(account.dsn(view), "SELECT pg_is_in_recovery(), count(*) FROM organizations") == [(True, 40)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await query(account.dsn(view), "INSERT INTO records (id, body) VALUES (900099, 'too early')")
    dsn = await account.recovered(view)
    await query(dsn, "INSERT INTO records (id, body) VALUES (900099, 'in time')")


async def test_restores_that_rds_refuses_are_refused(account: Account) -> None:
    restore = "restore_db_instance_to_point_in_time"
    source = {"SourceDBInstanceIdentifier": PROD}
    target = {**source, "TargetDBInstanceIdentifier": "shielda-x"}
    latest: dict[str, Any] = {"UseLatestRestorableTime": True}
    now = datetime.now(UTC)
    for code, params in (
        ("InvalidParameterCombination", {**target}),
        ("InvalidParameterCombination", {**target, **latest, "RestoreTime": now}),
        ("InvalidParameterCombination", {"TargetDBInstanceIdentifier": "shielda-x", **latest}),
        ("InvalidParameterValue", {**target, "RestoreTime": now + timedelta(hours=1)}),
        ("InvalidRestoreFault", {**target, "RestoreTime": now - timedelta(days=20)}),
        ("DBInstanceNotFound", {**target, **latest, "SourceDBInstanceIdentifier": "nobody"}),
        ("DBInstanceAlreadyExists", {**source, **latest, "TargetDBInstanceIdentifier": "Shielda-Prod"}),
        ("InvalidParameterValue", {**source, **latest, "TargetDBInstanceIdentifier": "1-bad--name"}),
        ("DBSubnetGroupNotFoundFault", {**target, **latest, "DBSubnetGroupName": "nowhere"}),
        ("DBParameterGroupNotFound", {**target, **latest, "DBParameterGroupName": "nothing"}),
        ("InvalidParameterValue", {**target, **latest, **NETWORK, "VpcSecurityGroupIds": ["sg-unknown"]}),
        ("InvalidParameterCombination", {**target, **latest, "VpcSecurityGroupIds": NETWORK["VpcSecurityGroupIds"]}),
        ("InvalidParameterCombination", {**target, **latest, "MultiAZ": True, "AvailabilityZone": "us-west-2a"}),
        ("InvalidParameterValue", {**target, **latest, "Domain": "d-1234567890"}),
        ("InvalidParameterValue", {**target, **latest, "Tags": [{"Key": "aws:mine", "Value": "x"}]}),
    ):
        assert (code, params) == (await account.refused(restore, **params), params)
    assert [one.name for one in account.rds.registry.of(WEST)] == [PROD]


async def test_the_restore_window_is_told_and_moves_on(account: Account) -> None:
    await account.database.ship()
    first = await account.described(PROD)
    await account.database.ship()
    later = await account.described(PROD)
    assert later["LatestRestorableTime"] > first["LatestRestorableTime"]
    backups = await account.call("describe_db_instance_automated_backups", DBInstanceIdentifier=PROD)
    window = backups["DBInstanceAutomatedBackups"][0]["RestoreWindow"]
    assert window["EarliestTime"] < first["LatestRestorableTime"] <= window["LatestTime"]
    assert await account.refused("describe_db_instance_automated_backups", DBInstanceIdentifier="nobody") == (
        "DBInstanceAutomatedBackupNotFound"
    )


async def test_a_manual_snapshot_restores_as_it_was_taken(account: Account) -> None:
    await committed(account, 900_011)
    names = {"DBSnapshotIdentifier": "before-the-change", "DBInstanceIdentifier": PROD}
    answer = await account.call("create_db_snapshot", **names, Tags=[{"Key": "dr:run", "Value": "abcd2345"}])
    assert answer["DBSnapshot"]["Status"] == "creating"
    assert (await account.described(PROD))["DBInstanceStatus"] == "backing-up"
    assert await account.refused("create_db_snapshot", **names) == "DBSnapshotAlreadyExists"
    assert await account.refused("reboot_db_instance", DBInstanceIdentifier=PROD) == "InvalidDBInstanceState"
    await account.available(PROD)
    await committed(account, 900_012)
    snapshot = (await account.call("describe_db_snapshots", DBSnapshotIdentifier="before-the-change"))["DBSnapshots"][0]
    assert (snapshot["Status"], snapshot["SnapshotType"], snapshot["PercentProgress"]) == ("available", "manual", 100)
    assert {tag["Key"] for tag in snapshot["TagList"]} == {"Environment", "Service", "ManagedBy", "dr:run"}
    restored = {"DBInstanceIdentifier": "shielda-from-snapshot", "DBSnapshotIdentifier": "before-the-change"}
    await account.call("restore_db_instance_from_db_snapshot", **restored, **NETWORK)
    view = await account.available("shielda-from-snapshot")
    dsn = await account.recovered(view)
    assert await query(dsn, "SELECT id FROM records WHERE id IN (900011, 900012)") == [(900011,)]
    assert {tag["Key"] for tag in view["TagList"]} == {"Environment", "Service", "ManagedBy"}
    await account.call("delete_db_snapshot", DBSnapshotIdentifier="before-the-change")
    assert await account.refused("delete_db_snapshot", DBSnapshotIdentifier="before-the-change") == "DBSnapshotNotFound"


async def test_the_automated_snapshot_of_the_start_can_be_restored_and_not_deleted(account: Account) -> None:
    found = (await account.call("describe_db_snapshots", DBInstanceIdentifier=PROD, SnapshotType="automated"))["DBSnapshots"]
    name = found[0]["DBSnapshotIdentifier"]
    assert name.startswith("rds:shielda-prod-")
    assert await account.refused("delete_db_snapshot", DBSnapshotIdentifier=name) == "InvalidParameterValue"
    names = {"DBInstanceIdentifier": "shielda-verify", "DBSnapshotIdentifier": name}
    await account.call("restore_db_instance_from_db_snapshot", **names, **NETWORK, Tags=[{"Key": "dr:run", "Value": "x"}])
    view = await account.available("shielda-verify")
    assert view["TagList"] == [{"Key": "dr:run", "Value": "x"}]
    dsn = await account.recovered(view)
    assert await query(dsn, "SELECT count(*), max(id) FROM records") == [(4000, -1)]
    await account.rds.take_automated_snapshot()
    found = (await account.call("describe_db_snapshots", DBInstanceIdentifier=PROD, SnapshotType="automated"))["DBSnapshots"]
    assert len(found) == 2


async def test_an_incompatible_restore_has_no_endpoint_and_can_only_be_deleted(account: Account) -> None:
    account.rds.restore_faults.incompatible = True
    names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": "shielda-broken"}
    await account.call("restore_db_instance_to_point_in_time", **names, UseLatestRestorableTime=True, **NETWORK)
    view = await account.available("shielda-broken", "incompatible-restore")
    assert "Endpoint" not in view
    final = {"FinalDBSnapshotIdentifier": "no"}
    assert await account.refused("delete_db_instance", DBInstanceIdentifier="shielda-broken", **final) == "InvalidDBInstanceState"
    await account.gone("shielda-broken")


async def test_a_restore_may_come_back_with_other_settings_than_asked(account: Account) -> None:
    account.rds.restore_faults.other_settings = True
    view = await account.restore("shielda-other", **CARRIED)
    assert view["VpcSecurityGroups"][0]["VpcSecurityGroupId"] != NETWORK["VpcSecurityGroupIds"][0]
    assert view["MultiAZ"] is False


@pytest.mark.parametrize("kind", sorted(DAMAGE))
async def test_planted_damage_is_found_by_the_check_made_for_it(account: Account, kind: str) -> None:
    account.rds.restore_faults.damage = DAMAGE[kind]
    dsn = account.dsn(await account.restore("shielda-damaged", **NETWORK), "dr_bot")
    checks = {
        "heap-page": "SELECT count(body) FROM records",
        "index-entry": "SELECT bt_index_check('users_email_unique', true)",
        "orphans": "SELECT 1 / (1 - least(1, count(*))) FROM users u WHERE NOT EXISTS "
        "(SELECT FROM organizations o WHERE o.id = u.organization_id)",
    }
    for other, check in checks.items():
        if other == kind:
            with pytest.raises(psycopg.Error):
                await query(dsn, check)
        else:
            await query(dsn, check)
