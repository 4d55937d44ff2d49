"""A bare script that leaves a region: the same changes and waits in the same order, polled every two provider seconds, no record.

`python -m tests.bench.bare_switchover` prints how many seconds it took. It asks nobody, counts and compares no rows, keeps no
evidence, and goes on whatever happens: what the bot does besides is not counted on its side either.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import dns.message
import dns.query
import psycopg

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
SERVICE, REPLICA = {"cluster": "shielda", "service": "control-plane"}, "shielda-replica-us-east-1"
NAME, TARGET, ZONE = "app.shielda.dev", "shielda-us-east-1.elb.amazonaws.com", "shielda.dev"
POLL = max(2.0 / float(os.environ.get("SPEED", "1")), 0.02)
FENCE = "BEGIN READ WRITE; SET LOCAL ROLE shielda; ALTER DATABASE shielda {} default_transaction_read_only{}; COMMIT"
END = "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'shielda'"
PLAIN = ("-input=false", "-no-color")


def main() -> None:
    """Plan, stop, fence, catch up, promote, open, apply, see health, and move the name."""
    home, there = client("ecs", "us-west-2"), client("rds", "us-east-1")
    names = client("route53", "us-east-1")
    home.describe_services(cluster="shielda", services=["control-plane"])
    began = time.monotonic()
    terraform("init", *PLAIN)
    terraform("workspace", "select", "dr")
    terraform("plan", *PLAIN, "-out=bare.tfplan")
    home.update_service(**SERVICE, desiredCount=0)
    wait(lambda: home.describe_services(cluster="shielda", services=["control-plane"])["services"][0]["runningCount"] == 0)
    ask("DATABASE_URL", FENCE.format("SET", " = on"))
    ask("DATABASE_URL", END)
    (end,) = ask("DATABASE_URL", "SELECT pg_current_wal_flush_lsn()::text")
    wait(lambda: ask("DR_DATABASE_URL", f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == (True,))
    there.promote_read_replica(DBInstanceIdentifier=REPLICA, BackupRetentionPeriod=35)
    wait(lambda: is_promoted(there))
    ask("DR_DATABASE_URL", FENCE.format("RESET", ""))
    terraform("apply", *PLAIN, "bare.tfplan")
    wait(lambda: healthy(os.environ["DR_HEALTH"]))
    zone = next(
        one["Id"].rpartition("/")[2]
        for one in names.list_hosted_zones_by_name(DNSName=f"{ZONE}.")["HostedZones"]
        if one["Name"] == f"{ZONE}." and not one["Config"]["PrivateZone"]
    )
    record = {"Name": f"{NAME}.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": TARGET}]}
    batch: Any = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    change = names.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"]["Id"]
    wait(lambda: names.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")
    servers = os.environ["SERVERS"].split()
    wait(lambda: all(leads(server) == TARGET for server in servers))
    wait(lambda: healthy(os.environ["PUBLIC_HEALTH"]))
    print(f"{time.monotonic() - began:.3f}", flush=True)


def client(service: str, region: str) -> Any:
    """A client of this region."""
    return boto3.client(service, region_name=region, endpoint_url=os.environ[f"AWS_{region}"], **KEYS)


def terraform(*words: str) -> None:
    """Run terraform in the folder of the stack."""
    folder = os.environ["STACK"]
    subprocess.run(["terraform", f"-chdir={folder}", *words], check=True, stdout=subprocess.DEVNULL)


def ask(variable: str, sql: str) -> tuple[Any, ...]:
    """The first row, from a connection of its own."""
    with psycopg.connect(os.environ[variable], autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return tuple(cursor.fetchone() or ()) if cursor.description else ()


def is_promoted(rds: Any) -> bool:
    """Whether the replica is a database of its own."""
    seen = rds.describe_db_instances(DBInstanceIdentifier=REPLICA)["DBInstances"][0]
    return seen["DBInstanceStatus"] == "available" and not seen.get("ReadReplicaSourceDBInstanceIdentifier")


def healthy(url: str) -> bool:
    """Whether it answers 200 three times."""
    try:
        return all(urllib.request.urlopen(url, timeout=3).status == 200 for _ in range(3))
    except (urllib.error.URLError, OSError):
        return False


def leads(server: str) -> str:
    """What an authoritative server says of the name."""
    host, _, port = server.rpartition(":")
    answer = dns.query.udp(dns.message.make_query(NAME, "CNAME", flags=0), host, 5, int(port))
    return next((records[0].target.to_text().rstrip(".") for records in answer.answer), "")


def wait(seen: Callable[[], bool]) -> None:
    """Look until it is so."""
    while not seen():
        time.sleep(POLL)


if __name__ == "__main__":
    main()
