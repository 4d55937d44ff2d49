"""The life of instances by boto3: snapshots, changes, fences, names, tags and the end."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from tests.world.rds_account import NETWORK, PROD, WEST, Account
from tests.world.sql import query


async def test_a_deletion_needs_a_legal_state_and_a_word_about_the_final_snapshot(account: Account) -> None:
    delete = "delete_db_instance"
    skip: dict[str, Any] = {"SkipFinalSnapshot": True}
    assert await account.refused(delete, DBInstanceIdentifier=PROD, **skip) == "InvalidParameterCombination"  # protected
    assert await account.refused(delete, DBInstanceIdentifier="nobody", **skip) == "DBInstanceNotFound"
    view = await account.restore("shielda-temporary", **NETWORK)
    assert await account.refused(delete, DBInstanceIdentifier="shielda-temporary") == "InvalidParameterCombination"
    both = {**skip, "FinalDBSnapshotIdentifier": "last-words"}
    assert await account.refused(delete, DBInstanceIdentifier="shielda-temporary", **both) == "InvalidParameterCombination"
    await account.gone("shielda-temporary", FinalDBSnapshotIdentifier="last-words")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await query(account.dsn(view), "SELECT 1")
    snapshot = (await account.call("describe_db_snapshots", DBSnapshotIdentifier="last-words"))["DBSnapshots"][0]
    assert (snapshot["Status"], snapshot["DBInstanceIdentifier"]) == ("available", "shielda-temporary")
    assert await account.refused("describe_db_instances", DBInstanceIdentifier="shielda-temporary") == "DBInstanceNotFound"
    assert not account.database.backups.copies


async def test_changes_take_effect_at_once_or_wait_as_rds_says(account: Account) -> None:
    name = "shielda-changed"
    modify = {"DBInstanceIdentifier": name}
    view = await account.restore(name, **NETWORK)
    dsn = await account.recovered(view)
    answer = await account.call("modify_db_instance", **modify, DeletionProtection=True, MultiAZ=True, BackupRetentionPeriod=7)
    changed = answer["DBInstance"]
    assert (changed["DeletionProtection"], changed["BackupRetentionPeriod"], changed["MultiAZ"]) == (True, 7, False)
    assert changed["PendingModifiedValues"] == {"MultiAZ": True}
    answer = await account.call("modify_db_instance", **modify, DBInstanceClass="db.r6g.xlarge", ApplyImmediately=True)
    assert answer["DBInstance"]["DBInstanceStatus"] == "available"  # AWS needs a moment to begin.
    await account.available(name, "modifying")
    view = await account.available(name)
    assert (view["DBInstanceClass"], view["MultiAZ"], view["PendingModifiedValues"]) == ("db.r6g.xlarge", True, {})
    answer = await account.call("modify_db_instance", **modify, DBParameterGroupName="shielda-postgres")
    assert answer["DBInstance"]["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    await account.call("reboot_db_instance", **modify)
    view = await account.available(name)
    assert view["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    assert await query(dsn, "SELECT 1") == [(1,)]
    assert await account.refused("modify_db_instance", **modify, AllocatedStorage=20) == "InvalidParameterCombination"


async def test_a_closed_security_group_fences_an_instance(account: Account) -> None:
    view = await account.restore("shielda-fence", **NETWORK)
    fence = ["sg-0fe11ce0000000002"]
    answer = await account.call("modify_db_instance", DBInstanceIdentifier="shielda-fence", VpcSecurityGroupIds=fence)
    assert answer["DBInstance"]["VpcSecurityGroups"] == [{"VpcSecurityGroupId": fence[0], "Status": "adding"}]
    await account.rds.settled()
    assert (await account.described("shielda-fence"))["VpcSecurityGroups"][0]["Status"] == "active"
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await query(conninfo.make_conninfo(account.dsn(view), connect_timeout=2), "SELECT 1")


async def test_a_renamed_instance_is_the_same_one(account: Account) -> None:
    view = await account.restore("shielda-old-name", **NETWORK)
    await account.recovered(view)
    new = {"NewDBInstanceIdentifier": "shielda-new-name", "ApplyImmediately": True}
    await account.call("modify_db_instance", DBInstanceIdentifier="shielda-old-name", **new)
    await account.rds.settled()
    renamed = await account.described("shielda-new-name")
    assert renamed["DbiResourceId"] == view["DbiResourceId"]
    assert renamed["Endpoint"] == view["Endpoint"]
    assert await account.refused("describe_db_instances", DBInstanceIdentifier="shielda-old-name") == "DBInstanceNotFound"


async def test_tags_are_added_changed_and_taken_away(account: Account) -> None:
    arn = (await account.restore("shielda-tagged"))["DBInstanceArn"]
    await account.call("add_tags_to_resource", ResourceName=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    await account.call("add_tags_to_resource", ResourceName=arn, Tags=[{"Key": "a", "Value": "3"}])
    await account.call("remove_tags_from_resource", ResourceName=arn, TagKeys=["b"])
    assert (await account.call("list_tags_for_resource", ResourceName=arn))["TagList"] == [{"Key": "a", "Value": "3"}]


async def test_lists_are_filtered_and_paged(account: Account) -> None:
    for number in range(45):
        account.rds._snapshots.begin(f"many-{number:02}", account.rds.production, [])
    seen: list[str] = []
    page: dict[str, Any] = {}
    while True:
        answer = await account.call("describe_db_snapshots", SnapshotType="manual", MaxRecords=20, **page)
        seen += [one["DBSnapshotIdentifier"] for one in answer["DBSnapshots"]]
        if "Marker" not in answer:
            break
        page = {"Marker": answer["Marker"]}
    assert [name for name in seen if name.startswith("many-")] == [f"many-{number:02}" for number in range(45)]
    for number in range(45):
        del account.rds.registry.snapshots[WEST, f"many-{number:02}"]
    by = [{"Name": "db-instance-id", "Values": ["nobody"]}]
    assert (await account.call("describe_db_instances", Filters=by))["DBInstances"] == []
    assert (
        await account.refused("describe_db_instances", Filters=[{"Name": "colour", "Values": ["red"]}]) == "InvalidParameterValue"
    )
    assert await account.refused("describe_db_instances", MaxRecords=5) == "InvalidParameterValue"


async def test_production_can_be_deleted_once_nobody_protects_it(work_dirs: Path, cache: Path) -> None:
    async with (
        Processes(work_dirs / "other.json") as processes,
        ServerPair(processes, work_dirs / "other", cache=cache) as database,
    ):
        account = Account(database, speed=6000)
        handlers = account.rds.handlers
        handlers["ModifyDBInstance"](WEST, {"DBInstanceIdentifier": PROD, "DeletionProtection": False})
        handlers["DeleteDBInstance"](WEST, {"DBInstanceIdentifier": PROD, "SkipFinalSnapshot": True})
        await account.rds.settled()
        assert handlers["DescribeDBInstances"](WEST, {}) == {"DBInstances": []}
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await query(database.dsn("shielda"), "SELECT 1")
        await account.rds.close()
