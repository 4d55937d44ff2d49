"""moto as an oracle: what the rehearsal accepts has parameters that exist and fit. (It knows no states and no time.)"""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from rehearsal.waiting import until
from tests.world.rds_account import CARRIED, KEYS, NETWORK, PROD, WEST, Account

LATEST = {"UseLatestRestorableTime": True}


@pytest.fixture(scope="module")
def oracle(moto: str) -> Iterator[Any]:
    """moto's RDS with the instance, network and groups that the rehearsal has."""
    client = boto3.client("rds", region_name=WEST, endpoint_url=moto, **KEYS)
    ec2 = boto3.client("ec2", region_name=WEST, endpoint_url=moto, **KEYS)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    description = {"DBSubnetGroupDescription": "private"}
    client.create_db_subnet_group(DBSubnetGroupName="shielda-private", SubnetIds=[subnet], **description)
    group = {"DBParameterGroupFamily": "postgres18", "Description": "ours"}
    client.create_db_parameter_group(DBParameterGroupName="shielda-postgres", **group)
    size = {"DBInstanceClass": "db.r6g.large", "AllocatedStorage": 100}
    user = {"MasterUsername": "shielda_admin", "MasterUserPassword": "not-a-secret"}
    client.create_db_instance(DBInstanceIdentifier=PROD, Engine="postgres", **size, **user)
    yield client
    client.close()
    ec2.close()


async def test_moto_accepts_every_request_of_a_restore_and_its_end(account: Account, oracle: Any) -> None:
    named = {"DBInstanceIdentifier": "shielda-oracle"}
    snapshot = {"DBSnapshotIdentifier": "oracle-snapshot"}
    requests: list[tuple[str, dict[str, Any]]] = [
        ("restore_db_instance_to_point_in_time",
         {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": "shielda-oracle", **LATEST, **CARRIED}),
        ("modify_db_instance", {**named, "DeletionProtection": False, "ApplyImmediately": True}),
        ("modify_db_instance", {**named, "BackupRetentionPeriod": 7, "MultiAZ": False, "ApplyImmediately": True}),
        ("create_db_snapshot", {"DBInstanceIdentifier": PROD, **snapshot, "Tags": CARRIED["Tags"]}),
        ("restore_db_instance_from_db_snapshot",
         {"DBInstanceIdentifier": "shielda-oracle-2", **snapshot, **NETWORK, "DBParameterGroupName": "shielda-postgres"}),
        ("delete_db_snapshot", snapshot),
        ("delete_db_instance", {**named, "SkipFinalSnapshot": True}),
        ("delete_db_instance", {"DBInstanceIdentifier": "shielda-oracle-2", "SkipFinalSnapshot": True}),
    ]  # fmt: skip
    for method, params in requests:
        await account.call(method, **params)
        await account.rds.settled()
        await until(lambda: not account.rds.production.busy, 20)
        answer = await asyncio.to_thread(getattr(oracle, method), **params)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200, method


def test_moto_moves_a_secret_as_the_rehearsal_does(moto: str) -> None:
    client = boto3.client("secretsmanager", region_name=WEST, endpoint_url=moto, **KEYS)
    first = client.create_secret(Name="shielda/database-url", SecretString="first")["VersionId"]
    token = str(uuid.uuid4())
    put = {"SecretId": "shielda/database-url", "ClientRequestToken": token, "VersionStages": ["dr-staged"]}
    for _ in range(2):
        assert client.put_secret_value(**put, SecretString="second")["VersionId"] == token
    move = {"SecretId": "shielda/database-url", "VersionStage": "AWSCURRENT", "MoveToVersionId": token}
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.update_secret_version_stage(**move)
    client.update_secret_version_stage(**move, RemoveFromVersionId=first)
    assert client.get_secret_value(SecretId="shielda/database-url", VersionStage="AWSCURRENT")["SecretString"] == "second"
    client.close()
