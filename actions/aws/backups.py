"""RDS: how an instance is protected, and its snapshots. Questions only.

Each question is asked once and briefly (the gateway's probe): reports are asked for in the middle of an incident, and threads
that wait for a dead region would be missing when a recovery needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from actions.aws.call import AwsUnreachable, Call
from actions.aws.settings import tags_of
from actions.scrub import scrub

if TYPE_CHECKING:
    from actions.world import World

AUTOMATED, MANUAL = "automated", "manual"
PAGE, PAGES = 100, 5  # snapshots of one answer, and answers that are asked for
PERMISSIONS = ("rds:DescribeDBInstances", "rds:DescribeDBSnapshots")


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What protects an instance, as DescribeDBInstances reports it at AWS's time `at`.

    `replicas` are names or, in another region, ARNs. `source` is the same of what it replicates, "" for a primary.
    `broken` is what RDS says about replication that is not normal, else "".
    """

    name: str
    status: str
    retention_days: int
    window: str
    restorable_to: datetime | None
    multi_az: bool
    zone: str
    standby_zone: str
    replicas: tuple[str, ...]
    source: str
    broken: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot: `kind` is "automated" or "manual", `status` "available" once it is complete."""

    name: str
    kind: str
    status: str
    taken: datetime
    encrypted: bool

    @property
    def available(self) -> bool:
        """Whether it can be restored."""
        return self.status == "available"


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """The snapshots of one kind, newest first; not `complete` if there are more than were asked for. `at` is AWS's time."""

    found: tuple[Snapshot, ...]
    complete: bool
    at: datetime

    @property
    def available(self) -> tuple[Snapshot, ...]:
        """Those that can be restored, newest first."""
        return tuple(snapshot for snapshot in self.found if snapshot.available)


@dataclass(frozen=True, kw_only=True)
class LeftOver:
    """An instance that a verification made and that is still there."""

    name: str
    status: str


async def protection(world: World, instance: str, region: str) -> Protection | None:
    """How the instance is protected now; None if AWS says that there is none of this name. Raises `AwsUnreachable`."""
    call = Call(service="rds", operation="DescribeDBInstances", region=region, parameters={"DBInstanceIdentifier": instance})
    try:
        answer = await world.aws.probe(call)
    except AwsUnreachable as error:
        if error.code in ("DBInstanceNotFound", "DBInstanceNotFoundFault"):
            return None
        raise
    found = answer.get("DBInstances")
    return _protection(found[0], answer.server_time) if found else None


async def snapshots(world: World, instance: str, region: str, kind: str) -> Snapshots:
    """The instance's snapshots of one kind. Raises `AwsUnreachable`."""
    asked: dict[str, Any] = {"DBInstanceIdentifier": instance, "SnapshotType": kind, "MaxRecords": PAGE}
    call = Call(service="rds", operation="DescribeDBSnapshots", region=region, parameters=asked)
    found: list[Snapshot] = []
    for _ in range(PAGES):
        answer = await world.aws.probe(call)
        found += [_snapshot(raw) for raw in answer.get("DBSnapshots", []) if raw.get("SnapshotCreateTime")]
        marker = answer.get("Marker")
        if not marker:
            break
        call = replace(call, parameters=asked | {"Marker": marker})
    return Snapshots(found=_newest_first(found), complete=not marker, at=answer.server_time)


async def left_over(world: World, region: str, key: str) -> tuple[LeftOver, ...]:
    """The instances of a region that carry a tag of this key. Raises `AwsUnreachable`."""
    call = Call(service="rds", operation="DescribeDBInstances", region=region, parameters={"MaxRecords": PAGE})
    found: list[LeftOver] = []
    for _ in range(PAGES):
        answer = await world.aws.probe(call)
        tagged = [raw for raw in answer.get("DBInstances", []) if key in tags_of(raw)]
        found += [LeftOver(name=raw["DBInstanceIdentifier"], status=raw.get("DBInstanceStatus", "unknown")) for raw in tagged]
        if not (marker := answer.get("Marker")):
            break
        call = replace(call, parameters={"MaxRecords": PAGE, "Marker": marker})
    return tuple(found)


def _newest_first(found: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    return tuple(sorted(found, key=lambda snapshot: snapshot.taken, reverse=True))


def _protection(raw: dict[str, Any], at: datetime) -> Protection:
    infos = [info for info in raw.get("StatusInfos", []) if info.get("StatusType") == "read replication"]
    return Protection(
        name=raw["DBInstanceIdentifier"],
        status=raw.get("DBInstanceStatus", "unknown"),
        retention_days=raw.get("BackupRetentionPeriod", 0),
        window=raw.get("PreferredBackupWindow", ""),
        restorable_to=raw.get("LatestRestorableTime"),
        multi_az=bool(raw.get("MultiAZ")),
        zone=raw.get("AvailabilityZone", ""),
        standby_zone=raw.get("SecondaryAvailabilityZone", ""),
        replicas=tuple(raw.get("ReadReplicaDBInstanceIdentifiers", [])),
        source=raw.get("ReadReplicaSourceDBInstanceIdentifier", ""),
        broken=" ".join(
            scrub(f"{info.get('Status', '')}. {info.get('Message', '')}").strip() for info in infos if info.get("Normal") is False
        ),
        at=at,
    )


def _snapshot(raw: dict[str, Any]) -> Snapshot:
    return Snapshot(
        name=raw["DBSnapshotIdentifier"],
        kind=raw.get("SnapshotType", ""),
        status=raw.get("Status", "unknown"),
        taken=raw["SnapshotCreateTime"],
        encrypted=bool(raw.get("Encrypted")),
    )
