"""Snapshots of a database: reading them, and taking one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from actions.aws.call import AwsUnreachable, Call
from actions.aws.creation import Create, Seen
from actions.aws.instances import find_instance, rds
from actions.aws.settings import tags_of
from actions.values import Facts, Finding, ok, stop

if TYPE_CHECKING:
    from actions.world import World

NOT_YET = datetime.max.replace(tzinfo=UTC)
KINDS = {"rds": "automated", "awsbackup": "awsbackup"}  # by a name's prefix: RDS finds these only if it is told the kind


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot as RDS shows it. `taken_at` is None while it is being created; `resource_id` tells which instance it is of."""

    name: str
    kind: str
    status: str
    percent: int | None
    instance: str
    resource_id: str
    taken_at: datetime | None
    encrypted: bool
    tags: Mapping[str, str]


async def find_snapshot(world: World, name: str, region: str) -> Snapshot | None:
    """The snapshot as it is now; None if RDS itself says that there is none."""
    kind = KINDS.get(name.partition(":")[0]) if ":" in name else None
    try:
        answer = await world.aws.read(rds("DescribeDBSnapshots", region, DBSnapshotIdentifier=name, SnapshotType=kind))
    except AwsUnreachable as error:
        if error.code.startswith("DBSnapshotNotFound"):
            return None
        raise
    if not answer.get("DBSnapshots"):
        raise AwsUnreachable(f"RDS's answer about snapshot {name} names no snapshot.")
    return _snapshot(answer["DBSnapshots"][0])


async def snapshots_of(world: World, instance: str, region: str) -> list[Snapshot]:
    """The instance's snapshots, automated ones too, newest first; those that are being created come first of all."""
    call = rds("DescribeDBSnapshots", region, DBInstanceIdentifier=instance)
    found = [_snapshot(raw) for raw in await world.aws.read_all(call, "DBSnapshots", token="Marker")]
    return sorted(found, key=lambda one: one.taken_at or NOT_YET, reverse=True)


@dataclass(frozen=True, kw_only=True)
class CreateSnapshot(Create, kind="rds.create_snapshot"):
    """Take a snapshot of a database; it is kept until a person deletes it."""

    instance: str
    snapshot: str

    timeout: ClassVar[float] = 3600.0
    taken: ClassVar[str] = "DBSnapshotAlreadyExists"
    permissions: ClassVar[tuple[str, ...]] = ("rds:CreateDBSnapshot", "rds:DescribeDBSnapshots", "rds:DescribeDBInstances")

    @property
    def title(self) -> str:
        return f"Take snapshot {self.snapshot} of database {self.instance}"

    @property
    def thing(self) -> str:
        return f"snapshot {self.snapshot}"

    @property
    def call(self) -> Call:
        names = {"DBInstanceIdentifier": self.instance, "DBSnapshotIdentifier": self.snapshot}
        return rds("CreateDBSnapshot", self.region, **names)

    async def look_at_source(self, world: World) -> Facts:
        found = await find_instance(world, self.instance, self.region)
        return {"source_status": found.status if found else "", "resource_id": found.resource_id if found else ""}

    def judge_source(self, facts: Facts) -> Finding:
        if not facts["source_status"]:
            return stop(f"RDS in {self.region} has no database {self.instance}.")
        if facts["source_status"] != "available":
            return stop(f"{self.instance} is {facts['source_status']}, and RDS takes snapshots only of an available one.")
        return ok(f"{self.instance} is available, and there is no snapshot {self.snapshot} yet.")

    async def find(self, world: World) -> Seen | None:
        found = await find_snapshot(world, self.snapshot, self.region)
        if found is None:
            return None
        marks = {"database": found.instance, "resource id": found.resource_id}
        return Seen(status=found.status, percent=found.percent, marks=marks)

    def marks(self, facts: Facts) -> Mapping[str, str]:
        return {"database": self.instance, "resource id": facts["resource_id"]}

    async def detail(self, world: World, seen: Seen) -> str:
        found = await find_snapshot(world, self.snapshot, self.region)
        return f"It was taken at {found.taken_at:%Y-%m-%d %H:%M:%S} UTC." if found and found.taken_at else ""


def _snapshot(raw: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        name=raw["DBSnapshotIdentifier"],
        kind=raw.get("SnapshotType", "manual"),
        status=raw.get("Status", "unknown"),
        percent=raw.get("PercentProgress"),
        instance=raw.get("DBInstanceIdentifier", ""),
        resource_id=raw.get("DbiResourceId", ""),
        taken_at=raw.get("SnapshotCreateTime"),
        encrypted=bool(raw.get("Encrypted")),
        tags=tags_of(raw),
    )
