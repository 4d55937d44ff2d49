"""The read replica in the second region: it really streams, over a link that can fail, and its promotion is for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from rehearsal.aws.rds.behind import Following
from rehearsal.waiting import until
from tests.world.rds_account import EAST, NETWORK, PROD, WEST, Account, committed
from tests.world.sql import query

REPLICA = "shielda-replica-us-east-1"
PROMOTE: dict[str, Any] = {"region": EAST, "DBInstanceIdentifier": REPLICA}
ARN = f"arn:aws:rds:{WEST}:123456789012:db:{PROD}"
EAST_KEY = "arn:aws:kms:us-east-1:123456789012:key/5e7a1dab-0000-4000-8000-000000000001"
CREATE: dict[str, Any] = {"region": EAST, "DBInstanceIdentifier": "second", "SourceDBInstanceIdentifier": ARN, **NETWORK}
NUMBERS = iter(range(600_000, 699_999))


@pytest.fixture
async def replica(account: Account) -> AsyncIterator[Following]:
    """Production's replica, streaming."""
    instance = await account.rds.open_replica()
    assert isinstance(instance.behind, Following)
    yield instance.behind
    account.rds.replica = None


async def written(account: Account) -> int:
    """A record that production has committed."""
    number = next(NUMBERS)
    await committed(account, number)
    return number


async def has(account: Account, view: dict[str, Any], number: int) -> bool:
    return bool(await query(account.dsn(view), "SELECT 1 FROM records WHERE id = %s", [number]))


async def arrives(account: Account, view: dict[str, Any], number: int) -> None:
    await until(lambda: has(account, view, number), 10, f"record {number} on the replica")


async def test_a_replica_streams_refuses_writes_and_both_sides_name_it(account: Account, replica: Following) -> None:
    view = await account.described(REPLICA, EAST)
    assert view["ReadReplicaSourceDBInstanceIdentifier"] == ARN
    assert view["StatusInfos"] == [{"StatusType": "read replication", "Normal": True, "Status": "replicating"}]
    assert (await account.described(PROD))["ReadReplicaDBInstanceIdentifiers"] == [view["DBInstanceArn"]]
    await arrives(account, view, await written(account))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await query(account.dsn(view), "INSERT INTO records (id, body) VALUES (1, '')")


async def test_a_replica_goes_on_after_a_failover_of_its_source(account: Account, replica: Following) -> None:
    await account.database.failover()
    await arrives(account, await account.described(REPLICA, EAST), await written(account))


async def test_a_promotion_is_for_good_and_backups_begin(account: Account, replica: Following) -> None:
    view = await account.described(REPLICA, EAST)
    before = await written(account)
    await arrives(account, view, before)
    answer = await account.call("promote_read_replica", **PROMOTE, BackupRetentionPeriod=35)
    assert answer["DBInstance"]["DBInstanceStatus"] == "modifying"
    assert answer["DBInstance"]["ReadReplicaSourceDBInstanceIdentifier"] == ARN
    assert await account.refused("promote_read_replica", **PROMOTE) == "InvalidDBInstanceState"
    view = await account.available(REPLICA, region=EAST)
    assert "ReadReplicaSourceDBInstanceIdentifier" not in view
    assert view["BackupRetentionPeriod"] == 35
    assert (await account.described(PROD))["ReadReplicaDBInstanceIdentifiers"] == []
    await query(account.dsn(view), "INSERT INTO records (id, body) VALUES (%s, 'after')", [-before])
    assert await has(account, view, before)
    assert not await query(account.dsn(await account.described(PROD)), "SELECT 1 FROM records WHERE id = %s", [-before])
    assert await account.refused("promote_read_replica", **PROMOTE) == "InvalidDBInstanceState"
    await account.rds.settled()
    (snapshot,) = (await account.call("describe_db_snapshots", EAST))["DBSnapshots"]
    assert (snapshot["SnapshotType"], snapshot["Status"]) == ("automated", "available")


async def test_what_was_not_sent_when_the_link_was_cut_is_lost(account: Account, replica: Following) -> None:
    view = await account.described(REPLICA, EAST)
    sent = await written(account)
    await arrives(account, view, sent)
    await replica.replica.link.vanish()
    lost = await written(account)
    assert (await account.described(REPLICA, EAST))["StatusInfos"][0]["Status"] == "error"
    await account.call("promote_read_replica", **PROMOTE)
    view = await account.available(REPLICA, region=EAST)
    assert (await has(account, view, sent), await has(account, view, lost)) == (True, False)


async def test_a_link_that_comes_back_brings_what_was_missing(account: Account, replica: Following) -> None:
    view = await account.described(REPLICA, EAST)
    await replica.replica.link.vanish()
    late = await written(account)
    await asyncio.sleep(0.3)
    assert not await has(account, view, late)
    await replica.replica.link.vanish(False)
    await arrives(account, view, late)


async def test_a_slow_link_is_late_by_as_much(account: Account, replica: Following) -> None:
    view = await account.described(REPLICA, EAST)
    replica.replica.link.slow(1.0)
    late = await written(account)
    await asyncio.sleep(0.3)
    assert not await has(account, view, late)
    await arrives(account, view, late)


async def test_a_replica_that_is_being_backed_up_is_not_promoted(account: Account, replica: Following) -> None:
    account.rds.back_up_replica()
    assert await account.refused("promote_read_replica", **PROMOTE) == "InvalidDBInstanceState"
    await account.available(REPLICA, region=EAST)
    await account.call("promote_read_replica", **PROMOTE, BackupRetentionPeriod=0)
    await account.rds.settled()
    assert (await account.described(REPLICA, EAST))["BackupRetentionPeriod"] == 0


@pytest.mark.parametrize(
    ("name", "more", "code"),
    [
        (PROD, {}, "InvalidDBInstanceState"),
        ("nobody", {}, "DBInstanceNotFound"),
        (PROD, {"BackupRetentionPeriod": 99}, "InvalidDBInstanceState"),
    ],
)
async def test_only_a_replica_can_be_promoted(account: Account, name: str, more: dict[str, Any], code: str) -> None:
    assert await account.refused("promote_read_replica", DBInstanceIdentifier=name, **more) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SourceDBInstanceIdentifier": PROD}, "DBInstanceNotFound"),  # from another region only by its ARN
        ({}, "InvalidParameterCombination"),  # no key
        ({"KmsKeyId": EAST_KEY.replace(EAST, WEST)}, "KMSKeyNotAccessibleFault"),
        ({"KmsKeyId": EAST_KEY}, "InvalidParameterValue"),  # not signed in the source's region
        ({"KmsKeyId": EAST_KEY, "SourceRegion": WEST, "DBInstanceIdentifier": "no--name"}, "InvalidParameterValue"),
        ({"KmsKeyId": EAST_KEY, "SourceRegion": WEST, "DBSubnetGroupName": "nowhere"}, "DBSubnetGroupNotFoundFault"),
    ],
)
async def test_a_replica_that_aws_would_refuse_is_refused(account: Account, change: dict[str, Any], code: str) -> None:
    assert await account.refused("create_db_instance_read_replica", **{**CREATE, **change}) == code


async def test_a_replica_is_created_from_a_real_backup_and_follows(account: Account) -> None:
    before = await written(account)
    wanted = {**CREATE, "KmsKeyId": EAST_KEY, "SourceRegion": WEST}
    answer = await account.call("create_db_instance_read_replica", **wanted)
    assert answer["DBInstance"]["DBInstanceStatus"] == "creating"
    assert await account.refused("create_db_instance_read_replica", **wanted) == "DBInstanceAlreadyExists"
    view = await account.available("second", region=EAST)
    assert await has(account, view, before)
    assert (view["BackupRetentionPeriod"], view["MultiAZ"], view["KmsKeyId"]) == (0, False, EAST_KEY)
    await arrives(account, view, await written(account))


async def test_databases_of_a_region_that_is_cut_off_neither_answer_nor_refuse(account: Account, replica: Following) -> None:
    there = await account.described(REPLICA, EAST)
    gone = await account.described(PROD)
    await account.rds.cut_off(WEST)
    try:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            await query(conninfo.make_conninfo(account.dsn(gone), connect_timeout=2), "SELECT 1")
        assert await query(account.dsn(there), "SELECT 1") == [(1,)]
        assert not replica.replica.streaming
    finally:
        await account.rds.cut_off()
    await arrives(account, there, await written(account))
