"""The rehearsal's RDS: what it says about failovers and reboots that really happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest

from rehearsal.aws.clock import Clock
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import AwsError, Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.rds.api import Rds
from rehearsal.postgres.pair import ServerPair
from tests.world.sql import start_time


@pytest.fixture
async def rds(database: ServerPair) -> AsyncIterator[Rds]:
    rds = Rds(database, Clock(speed=200))
    yield rds
    await rds.settled()
    await rds.close()


def described(rds: Rds, **params: str) -> dict[str, Any]:
    answer = rds.handlers["DescribeDBInstances"]("us-west-2", params)
    assert isinstance(answer, dict)
    return dict(answer["DBInstances"][0])


def messages(rds: Rds) -> list[str]:
    answer = rds.handlers["DescribeEvents"]("us-west-2", {})
    assert isinstance(answer, dict)
    return [event["Message"] for event in answer["Events"]]


async def reboot(rds: Rds, *, force: bool) -> dict[str, Any]:
    answer = rds.handlers["RebootDBInstance"]("us-west-2", {"DBInstanceIdentifier": "shielda-prod", "ForceFailover": force})
    assert not isinstance(answer, dict)
    return dict((await answer)["DBInstance"])


async def test_a_forced_reboot_fails_over_and_a_second_one_meanwhile_is_refused(rds: Rds, database: ServerPair) -> None:
    before, zones = await start_time(database), (database.zone, database.standby_zone)
    assert (await reboot(rds, force=True))["DBInstanceStatus"] == "rebooting"
    with pytest.raises(AwsError) as refused:
        await reboot(rds, force=True)
    assert refused.value.code == "InvalidDBInstanceState"
    assert described(rds)["AvailabilityZone"] == zones[0]

    await rds.settled()

    view = described(rds, DBInstanceIdentifier="shielda-prod")
    assert (view["DBInstanceStatus"], view["SecondaryAvailabilityZone"]) == ("available", zones[0])
    assert view["AvailabilityZone"] == zones[1]
    assert messages(rds) == [
        "Multi-AZ instance failover started.",
        "DB instance restarted",
        "Multi-AZ instance failover completed",
    ]
    assert await start_time(database) > before


async def test_boto3_sees_the_failover_over_the_wire(rds: Rds, database: ServerPair) -> None:
    front = Front(regions={"us-west-2": 0}, clock=rds.clock, journal=Journal(), faults=Faults())
    front.add("rds", rds.handlers)
    address = (await front.start())["us-west-2"]
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
    client = boto3.client("rds", region_name="us-west-2", endpoint_url=address, **keys)
    began, zone = rds.clock.now(), database.zone
    try:
        answer = await asyncio.to_thread(client.reboot_db_instance, DBInstanceIdentifier="shielda-prod", ForceFailover=True)
        assert answer["DBInstance"]["DBInstanceStatus"] == "rebooting"
        await rds.settled()
        view = (await asyncio.to_thread(client.describe_db_instances))["DBInstances"][0]
        assert view["AvailabilityZone"] != zone == view["SecondaryAvailabilityZone"]
        window = {"SourceIdentifier": "shielda-prod", "SourceType": "db-instance", "StartTime": began}
        events = await asyncio.to_thread(lambda: client.describe_events(**window, EventCategories=["failover"]))
        assert [event["Message"] for event in events["Events"]] == [messages(rds)[0], messages(rds)[2]]
        await asyncio.to_thread(client.describe_db_snapshots, DBInstanceIdentifier="shielda-prod")
        await asyncio.to_thread(client.list_tags_for_resource, ResourceName=view["DBInstanceArn"])
    finally:
        client.close()
        await front.close()


async def test_a_plain_reboot_restarts_and_stays_in_its_zone(rds: Rds, database: ServerPair) -> None:
    before, zone = await start_time(database), database.zone
    await reboot(rds, force=False)
    await rds.settled()
    assert (database.zone, described(rds)["AvailabilityZone"]) == (zone, zone)
    assert messages(rds) == ["DB instance restarted"]
    assert await start_time(database) > before


async def test_rds_refuses_what_aws_refuses(rds: Rds) -> None:
    rds.single_az()
    with pytest.raises(AwsError, match="InvalidParameterCombination"):
        await reboot(rds, force=True)
    assert "SecondaryAvailabilityZone" not in described(rds)
    with pytest.raises(AwsError, match="DBInstanceNotFound"):
        described(rds, DBInstanceIdentifier="shielda-test")
    rds.heal()
    rds.stick("storage-full")
    with pytest.raises(AwsError, match="InvalidDBInstanceState"):
        await reboot(rds, force=True)


async def test_rds_fails_over_by_itself_and_tells_late(rds: Rds, database: ServerPair) -> None:
    rds.event_lag(60)  # 0.3 s
    rds.stale_reads(60)
    await database.kill_primary()
    rds.automatic_failover()
    assert messages(rds) == []
    assert described(rds)["DBInstanceStatus"] == "available"
    await rds.settled()
    await asyncio.sleep(0.35)
    assert messages(rds)[-1] == "Multi-AZ instance failover completed"
    assert described(rds)["AvailabilityZone"] == database.zone
