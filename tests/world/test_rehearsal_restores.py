"""Restores by boto3: what RDS refuses, what a restore forgets, how instances live and end; the data is really restored."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg import conninfo

from rehearsal.aws.clock import Clock
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.rds.api import Rds
from rehearsal.machines.processes import Processes
from rehearsal.postgres.damage import DAMAGE
from rehearsal.postgres.pair import ServerPair

PROD, WEST = "shielda-prod", "us-west-2"
NETWORK = {"DBSubnetGroupName": "shielda-private", "VpcSecurityGroupIds": ["sg-0d15ea5edb0000001"]}
CARRIED = {
    **NETWORK,
    "DBParameterGroupName": "shielda-postgres",
    "MultiAZ": True,
    "DeletionProtection": True,
    "CopyTagsToSnapshot": True,
    "EnableCloudwatchLogsExports": ["postgresql", "upgrade"],
    "MaxAllocatedStorage": 500,
    "Tags": [{"Key": "dr:run", "Value": "abcd2345"}],
}
KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}


class Account:
    """RDS over real sockets with the database behind it, at a high speed."""

    def __init__(self, database: ServerPair, speed: float) -> None:
        self.database = database
        self.clock = Clock(speed)
        self.journal = Journal()
        self.rds = Rds(database, self.clock)
        self.front = Front(regions={WEST: 0, "us-east-1": 0}, clock=self.clock, journal=self.journal, faults=Faults())
        self.front.add("rds", self.rds.handlers)
        self.client: Any = None

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.client, method), **params)
        return answer

    async def refused(self, method: str, **params: Any) -> str:
        with pytest.raises(ClientError) as error:
            await self.call(method, **params)
        return str(error.value.response["Error"]["Code"])

    async def described(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("describe_db_instances", DBInstanceIdentifier=name))["DBInstances"][0]
        return found

    async def available(self, name: str, status: str = "available", seconds: float = 30) -> dict[str, Any]:
        ends = time.monotonic() + seconds
        while (view := await self.described(name))["DBInstanceStatus"] != status:
            assert time.monotonic() < ends, view["DBInstanceStatus"]
            await asyncio.sleep(0.05)
        return view

    async def restore(self, name: str, moment: datetime | None = None, **more: Any) -> dict[str, Any]:
        """A restore to the moment, or to the latest one, which is available at the end."""
        when: dict[str, Any] = {"RestoreTime": moment} if moment else {"UseLatestRestorableTime": True}
        names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": name}
        if moment:
            await self.database.backups.archive.covers(moment)
        await self.call("restore_db_instance_to_point_in_time", **names, **when, **more)
        return await self.available(name)

    async def gone(self, name: str, **how: Any) -> None:
        await self.call("delete_db_instance", DBInstanceIdentifier=name, **(how or {"SkipFinalSnapshot": True}))
        ends = time.monotonic() + 20
        while name in [one["DBInstanceIdentifier"] for one in (await self.call("describe_db_instances"))["DBInstances"]]:
            assert time.monotonic() < ends
            await asyncio.sleep(0.05)

    def dsn(self, view: dict[str, Any], role: str = "shielda") -> str:
        endpoint = view["Endpoint"]
        return conninfo.make_conninfo(
            host=endpoint["Address"], port=endpoint["Port"], user=role, password=self.database.password(role), dbname="shielda"
        )

    async def recovered(self, view: dict[str, Any], seconds: float = 20) -> str:
        dsn, ends = self.dsn(view), time.monotonic() + seconds
        while await run(dsn, "SELECT pg_is_in_recovery()") == [(True,)]:
            assert time.monotonic() < ends
            await asyncio.sleep(0.02)
        return dsn


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rehearsal-test-"))
    path.chmod(0o755)  # The account of the servers must get in.
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
async def world(room: Path) -> AsyncIterator[Account]:
    async with (
        Processes(room / "processes.json") as processes,
        ServerPair(processes, room / "world", cache=room / "cache", ship_every=0.25) as database,
    ):
        account = Account(database, speed=2400)
        endpoint = (await account.front.start())[WEST]
        config = Config(retries={"total_max_attempts": 1}, read_timeout=20)
        account.client = boto3.client("rds", region_name=WEST, endpoint_url=endpoint, config=config, **KEYS)
        yield account
        account.client.close()
        await account.rds.close()
        await account.front.close()  # raises if an answer did not fit AWS's shapes


@pytest.fixture
async def account(world: Account) -> AsyncIterator[Account]:
    """The one account of these tests; every instance a test made is gone afterwards."""
    yield world
    world.rds.heal()
    for one in list(world.rds.registry.instances.values()):
        if one.name != PROD:
            await one.settled()
            one.settings["DeletionProtection"] = False
            await world.gone(one.name)


async def run(dsn: str, query: str, arguments: list[Any] | None = None) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=3) as connection:
        cursor = await connection.execute(query, arguments)
        return await cursor.fetchall() if cursor.description else []


async def committed(account: Account, number: int) -> datetime:
    """A record of this number, and the moment of its commit."""
    await run(account.database.dsn("shielda"), "INSERT INTO records (id, body) VALUES (%s, 'a mark')", [number])
    found = await run(
        account.database.dsn("postgres"), "SELECT pg_xact_commit_timestamp(xmin) FROM records WHERE id = %s", [number]
    )
    moment: datetime = found[0][0]
    return moment


async def test_a_restore_with_everything_named_is_like_its_source(account: Account) -> None:
    await committed(account, 1)
    moment = await committed(account, 2)
    await committed(account, 3)
    view = await account.restore("shielda-prod-restored", moment, **CARRIED)
    source = await account.described(PROD)
    own = {"DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId", "InstanceCreateTime", "AvailabilityZone", "TagList"}
    own |= {"SecondaryAvailabilityZone", "Endpoint", "LatestRestorableTime", "MonitoringInterval", "PerformanceInsightsEnabled"}
    assert {name: view.get(name) for name in source if name not in own} == {n: source[n] for n in source if n not in own}
    assert view["TagList"] == CARRIED["Tags"]
    dsn = await account.recovered(view)
    assert await run(dsn, "SELECT id FROM records WHERE id BETWEEN 1 AND 3 ORDER BY id") == [(1,), (2,)]
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
        await run(conninfo.make_conninfo(account.dsn(view), connect_timeout=2), "SELECT 1")


async def test_an_instance_has_no_endpoint_while_it_is_created(account: Account) -> None:
    names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": "shielda-new"}
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
    assert await run(account.dsn(view), "SELECT pg_is_in_recovery(), count(*) FROM organizations") == [(True, 40)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await run(account.dsn(view), "INSERT INTO records (id, body) VALUES (99, 'too early')")
    dsn = await account.recovered(view)
    await run(dsn, "INSERT INTO records (id, body) VALUES (99, 'in time')")


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
    first = await account.described(PROD)
    await asyncio.sleep(0.6)
    later = await account.described(PROD)
    assert later["LatestRestorableTime"] > first["LatestRestorableTime"]
    backups = await account.call("describe_db_instance_automated_backups", DBInstanceIdentifier=PROD)
    window = backups["DBInstanceAutomatedBackups"][0]["RestoreWindow"]
    assert window["EarliestTime"] < first["LatestRestorableTime"] <= window["LatestTime"]
    assert await account.refused("describe_db_instance_automated_backups", DBInstanceIdentifier="nobody") == (
        "DBInstanceAutomatedBackupNotFound"
    )


async def test_the_source_may_be_named_by_its_resource_id(account: Account) -> None:
    source = (await account.described(PROD))["DbiResourceId"]
    names = {"SourceDbiResourceId": source, "TargetDBInstanceIdentifier": "shielda-by-id"}
    await account.call("restore_db_instance_to_point_in_time", **names, UseLatestRestorableTime=True, **NETWORK)
    await account.recovered(await account.available("shielda-by-id"))


async def test_a_manual_snapshot_restores_as_it_was_taken(account: Account) -> None:
    await committed(account, 11)
    names = {"DBSnapshotIdentifier": "before-the-change", "DBInstanceIdentifier": PROD}
    answer = await account.call("create_db_snapshot", **names, Tags=[{"Key": "dr:run", "Value": "abcd2345"}])
    assert answer["DBSnapshot"]["Status"] == "creating"
    assert (await account.described(PROD))["DBInstanceStatus"] == "backing-up"
    assert await account.refused("create_db_snapshot", **names) == "DBSnapshotAlreadyExists"
    assert await account.refused("reboot_db_instance", DBInstanceIdentifier=PROD) == "InvalidDBInstanceState"
    await account.available(PROD)
    await committed(account, 12)
    snapshot = (await account.call("describe_db_snapshots", DBSnapshotIdentifier="before-the-change"))["DBSnapshots"][0]
    assert (snapshot["Status"], snapshot["SnapshotType"], snapshot["PercentProgress"]) == ("available", "manual", 100)
    assert {tag["Key"] for tag in snapshot["TagList"]} == {"Environment", "Service", "ManagedBy", "dr:run"}
    restored = {"DBInstanceIdentifier": "shielda-from-snapshot", "DBSnapshotIdentifier": "before-the-change"}
    await account.call("restore_db_instance_from_db_snapshot", **restored, **NETWORK)
    view = await account.available("shielda-from-snapshot")
    dsn = await account.recovered(view)
    assert await run(dsn, "SELECT id FROM records WHERE id IN (11, 12)") == [(11,)]
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
    assert await run(dsn, "SELECT count(*), max(id) FROM records") == [(4000, -1)]
    await account.rds.take_automated_snapshot()
    found = (await account.call("describe_db_snapshots", DBInstanceIdentifier=PROD, SnapshotType="automated"))["DBSnapshots"]
    assert len(found) == 2


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
        await run(account.dsn(view), "SELECT 1")
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
    assert await run(dsn, "SELECT 1") == [(1,)]
    assert await account.refused("modify_db_instance", **modify, AllocatedStorage=20) == "InvalidParameterCombination"


async def test_a_closed_security_group_fences_an_instance(account: Account) -> None:
    view = await account.restore("shielda-fence", **NETWORK)
    fence = ["sg-0fe11ce0000000002"]
    answer = await account.call("modify_db_instance", DBInstanceIdentifier="shielda-fence", VpcSecurityGroupIds=fence)
    assert answer["DBInstance"]["VpcSecurityGroups"] == [{"VpcSecurityGroupId": fence[0], "Status": "adding"}]
    await account.rds.settled()
    assert (await account.described("shielda-fence"))["VpcSecurityGroups"][0]["Status"] == "active"
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        await run(conninfo.make_conninfo(account.dsn(view), connect_timeout=2), "SELECT 1")


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
                await run(dsn, check)
        else:
            await run(dsn, check)


async def test_production_can_be_deleted_once_nobody_protects_it(room: Path) -> None:
    async with (
        Processes(room / "other.json") as processes,
        ServerPair(processes, room / "other", cache=room / "cache") as database,
    ):
        account = Account(database, speed=6000)
        handlers = account.rds.handlers
        handlers["ModifyDBInstance"](WEST, {"DBInstanceIdentifier": PROD, "DeletionProtection": False})
        handlers["DeleteDBInstance"](WEST, {"DBInstanceIdentifier": PROD, "SkipFinalSnapshot": True})
        await account.rds.settled()
        assert handlers["DescribeDBInstances"](WEST, {}) == {"DBInstances": []}
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await run(database.dsn("shielda"), "SELECT 1")
        await account.rds.close()
