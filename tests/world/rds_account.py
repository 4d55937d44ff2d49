"""RDS by boto3 for tests: the shared database servers behind an account of their own, at a high speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg import conninfo

from rehearsal.aws.clock import Clock
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.rds.api import Rds
from rehearsal.postgres.pair import ServerPair
from rehearsal.waiting import until
from tests.world.sql import query

PROD, WEST, EAST = "shielda-prod", "us-west-2", "us-east-1"
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
        self.front = Front(regions={WEST: 0, EAST: 0}, journal=self.journal, faults=Faults())
        self.front.add("rds", self.rds.handlers)
        self.clients: dict[str, Any] = {}

    @property
    def client(self) -> Any:
        """The first region's."""
        return self.clients[WEST]

    async def call(self, method: str, region: str = WEST, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self.clients[region], method), **params)
        return answer

    async def refused(self, method: str, **params: Any) -> str:
        with pytest.raises(ClientError) as error:
            await self.call(method, **params)
        return str(error.value.response["Error"]["Code"])

    async def described(self, name: str, region: str = WEST) -> dict[str, Any]:
        answer = await self.call("describe_db_instances", region, DBInstanceIdentifier=name)
        found: dict[str, Any] = answer["DBInstances"][0]
        return found

    async def available(self, name: str, status: str = "available", seconds: float = 30, region: str = WEST) -> dict[str, Any]:

        async def there() -> dict[str, Any] | None:
            view = await self.described(name, region)
            return view if view["DBInstanceStatus"] == status else None

        return await until(there, seconds, f"{name} {status}", every=0.05)

    async def restore(self, name: str, moment: datetime | None = None, **more: Any) -> dict[str, Any]:
        """A restore to the moment, or to the latest one, which is available at the end."""
        when: dict[str, Any] = {"RestoreTime": moment} if moment else {"UseLatestRestorableTime": True}
        names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": name}
        await self.database.ship()
        await self.call("restore_db_instance_to_point_in_time", **names, **when, **more)
        return await self.available(name)

    async def gone(self, name: str, **how: Any) -> None:
        await self.call("delete_db_instance", DBInstanceIdentifier=name, **(how or {"SkipFinalSnapshot": True}))

        async def absent() -> bool:
            found = (await self.call("describe_db_instances"))["DBInstances"]
            return name not in [one["DBInstanceIdentifier"] for one in found]

        await until(absent, 20, f"the end of {name}", every=0.05)

    def dsn(self, view: dict[str, Any], role: str = "shielda") -> str:
        endpoint = view["Endpoint"]
        return conninfo.make_conninfo(
            host=endpoint["Address"], port=endpoint["Port"], user=role, password=self.database.password(role), dbname="shielda"
        )

    async def recovered(self, view: dict[str, Any], seconds: float = 20) -> str:
        dsn = self.dsn(view)

        async def over() -> bool:
            return await query(dsn, "SELECT pg_is_in_recovery()") == [(False,)]

        await until(over, seconds, "the end of recovery")
        return dsn


@asynccontextmanager
async def rds_account(database: ServerPair) -> AsyncIterator[Account]:
    """An account in which production is this database."""
    account = Account(database, speed=2400)
    config = Config(retries={"total_max_attempts": 1}, read_timeout=20)
    for region, endpoint in (await account.front.start()).items():
        account.clients[region] = boto3.client("rds", region_name=region, endpoint_url=endpoint, config=config, **KEYS)
    yield account
    for client in account.clients.values():
        client.close()
    await account.rds.reset()
    await account.rds.close()
    await account.front.close()  # raises if an answer did not fit AWS's shapes


async def committed(account: Account, number: int) -> datetime:
    """A record of this number, and the moment of its commit."""
    await query(account.database.dsn("shielda"), "INSERT INTO records (id, body) VALUES (%s, 'a mark')", [number])
    when = "SELECT pg_xact_commit_timestamp(xmin) FROM records WHERE id = %s"
    moment: datetime = (await query(account.database.dsn("postgres"), when, [number]))[0][0]
    return moment
