"""Bare scripts that restore and verify with boto3: the same changes in the same order, polled every provider second, no record.

`python -m tests.bench.bare_restores restore|verify` prints how many seconds it took. It asks nobody, compares nothing and reads
no table: what the bot does besides is not counted on its side either.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import psycopg
from psycopg import conninfo

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example", "region_name": "us-west-2"}
PROD, SERVICE = "shielda-prod", {"cluster": "shielda", "service": "control-plane"}
NETWORK: dict[str, Any] = {"DBSubnetGroupName": "shielda-private", "VpcSecurityGroupIds": ["sg-0d15ea5edb0000001"]}
SECRET = "shielda/database-url"
POLL = 2.0 / float(os.environ.get("SPEED", "240"))


class Script:
    """Clients that have answered once, and waits."""

    def __init__(self) -> None:
        url = os.environ["AWS_ENDPOINT"]
        self.rds, self.ecs, self.secrets = (
            boto3.client(name, endpoint_url=url, **KEYS) for name in ("rds", "ecs", "secretsmanager")
        )
        self.rds.describe_db_instances()
        self.ecs.describe_services(cluster="shielda", services=["control-plane"])

    def restore(self) -> None:
        """Snapshot, stop, restore, wait, set, wait, new secret, start."""
        self.rds.create_db_snapshot(DBInstanceIdentifier=PROD, DBSnapshotIdentifier="bare-before")
        wait(lambda: self.snapshot("bare-before") == "available")
        self.ecs.update_service(**SERVICE, desiredCount=0)
        wait(lambda: self.running() == 0)
        names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": "bare-restored"}
        self.rds.restore_db_instance_to_point_in_time(**names, **NETWORK, UseLatestRestorableTime=True)
        wait(lambda: self.status("bare-restored") == "available")
        self.rds.modify_db_instance(DBInstanceIdentifier="bare-restored", MonitoringInterval=0, ApplyImmediately=True)
        wait(lambda: self.status("bare-restored") == "available")
        wait(lambda: self.recovered("bare-restored"))
        current, host, port = self.secrets.get_secret_value(SecretId=SECRET), *self.address("bare-restored")
        dsn = conninfo.conninfo_to_dict(current["SecretString"]) | {"host": host, "port": port}
        text = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**dsn)
        version = str(uuid.uuid4())
        self.secrets.put_secret_value(
            SecretId=SECRET, ClientRequestToken=version, SecretString=text, VersionStages=["bare-staged"]
        )
        move = {"MoveToVersionId": version, "RemoveFromVersionId": current["VersionId"]}
        self.secrets.update_secret_version_stage(SecretId=SECRET, VersionStage="AWSCURRENT", **move)
        self.ecs.update_service(**SERVICE, desiredCount=1)
        wait(lambda: self.running() == 1)

    def verify(self) -> None:
        """Restore the snapshot and the newest point side by side, wait for both, drop both."""
        newest = self.rds.describe_db_snapshots(DBInstanceIdentifier=PROD, SnapshotType="automated")["DBSnapshots"][-1]
        names = {"DBInstanceIdentifier": "bare-verify", "DBSnapshotIdentifier": newest["DBSnapshotIdentifier"]}
        self.rds.restore_db_instance_from_db_snapshot(**names, **NETWORK)
        names = {"SourceDBInstanceIdentifier": PROD, "TargetDBInstanceIdentifier": "bare-verify-point"}
        self.rds.restore_db_instance_to_point_in_time(**names, **NETWORK, UseLatestRestorableTime=True)
        both = ("bare-verify", "bare-verify-point")
        wait(lambda: all(self.status(name) == "available" for name in both))
        wait(lambda: all(self.recovered(name) for name in both))
        for name in both:
            self.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        wait(lambda: not {*both} & {one["DBInstanceIdentifier"] for one in self.rds.describe_db_instances()["DBInstances"]})

    def status(self, name: str) -> str:
        return str(self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceStatus"])

    def snapshot(self, name: str) -> str:
        return str(self.rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]["Status"])

    def running(self) -> int:
        return int(self.ecs.describe_services(cluster="shielda", services=["control-plane"])["services"][0]["runningCount"])

    def address(self, name: str) -> tuple[str, int]:
        endpoint = self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["Endpoint"]
        return endpoint["Address"], endpoint["Port"]

    def recovered(self, name: str) -> bool:
        host, port = self.address(name)
        dsn = conninfo.make_conninfo(os.environ["DATABASE_URL"], host=host, port=port)
        try:
            with psycopg.connect(dsn, connect_timeout=3) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            return False
        return row == (False,)


def wait(seen: Callable[[], bool]) -> None:
    """Look until it is so."""
    while not seen():
        time.sleep(max(POLL, 0.02))


def main() -> None:
    """Carry out the script that is named."""
    script = Script()
    began = time.monotonic()
    {"restore": script.restore, "verify": script.verify}[sys.argv[1]]()
    print(f"{time.monotonic() - began:.3f}", flush=True)


if __name__ == "__main__":
    main()
