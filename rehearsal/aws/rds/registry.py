"""What RDS knows: instances and snapshots by region and name, and their events."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.rds.events import Events, Source
from rehearsal.aws.rds.instances import Behind, Instance
from rehearsal.aws.rds.settings import Settings
from rehearsal.aws.sts import ACCOUNT
from rehearsal.aws.wire import AwsError
from rehearsal.postgres.backups import Backups
from rehearsal.postgres.copies import Base
from rehearsal.postgres.damage import Damage
from rehearsal.postgres.pair import ServerPair


@dataclass(kw_only=True, eq=False)
class Snapshot:
    """A snapshot, with the settings its source had; `base` is there once it is complete."""

    name: str
    region: str
    kind: str
    source: str
    resource_id: str
    settings: Settings
    zone: str | None
    created_at: datetime
    instance_created_at: datetime | None
    tags: list[dict[str, str]] = field(default_factory=list)
    source_tags: list[dict[str, str]] = field(default_factory=list)
    base: Base | None = None
    damage: Damage | None = None  # whatever is restored from it has this
    status: str = "creating"

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:rds:{self.region}:{ACCOUNT}:snapshot:{self.name}"

    @property
    def subject(self) -> Source:
        """What its events are about."""
        return Source(name=self.name, arn=self.arn, kind="db-snapshot")

    def view(self) -> dict[str, Any]:
        """The DBSnapshot of AWS's answers."""
        carried = ("Engine", "EngineVersion", "LicenseModel", "AllocatedStorage", "MasterUsername", "StorageType", "KmsKeyId")
        return {
            "DBSnapshotIdentifier": self.name,
            "DBSnapshotArn": self.arn,
            "DBInstanceIdentifier": self.source,
            "DbiResourceId": self.resource_id,
            "SnapshotCreateTime": self.created_at,
            "OriginalSnapshotCreateTime": self.created_at,
            "InstanceCreateTime": self.instance_created_at,
            "SnapshotType": self.kind,
            "Status": self.status,
            "PercentProgress": 100 if self.status == "available" else 0,
            "AvailabilityZone": self.zone,
            "VpcId": self.settings["DBSubnetGroup"]["VpcId"],
            "Port": 5432,
            "Encrypted": self.settings["StorageEncrypted"],
            "IAMDatabaseAuthenticationEnabled": self.settings["IAMDatabaseAuthenticationEnabled"],
            "OptionGroupName": self.settings["OptionGroupMemberships"][0]["OptionGroupName"],
            "TagList": list(self.tags),
            **{name: self.settings[name] for name in carried if name in self.settings},
        }


class Registry:
    """The instances and snapshots of the account. Lookups raise AWS's "not found" errors."""

    def __init__(self, clock: Clock, database: ServerPair, seed: int = 0) -> None:
        self.clock = clock
        self._database = database
        self.random = random.Random(seed)
        self.events = Events(clock)
        self.instances: dict[tuple[str, str], Instance] = {}
        self.snapshots: dict[tuple[str, str], Snapshot] = {}
        self.cut_off: set[str] = set()  # the regions that nobody reaches

    @property
    def backups(self) -> Backups:
        """Where base backups and copies are kept."""
        return self._database.backups

    def instance(self, region: str, name: str) -> Instance:
        """The instance of this identifier or ARN."""
        found = self.instances.get((region, _last(name)))
        if found is None or (name.startswith("arn:") and name.lower() != found.arn):
            raise AwsError("DBInstanceNotFound", f"DBInstance {name} not found.")
        return found

    def resource(self, region: str, resource_id: str) -> Instance:
        """The instance of this DbiResourceId."""
        for one in self.of(region):
            if one.resource_id.lower() == resource_id.lower():
                return one
        raise AwsError("DBInstanceNotFound", f"DBInstance with the resource id {resource_id} not found.")

    def of(self, region: str) -> list[Instance]:
        """The instances of a region, by name."""
        return [one for (where, _), one in sorted(self.instances.items()) if where == region]

    def snapshot(self, region: str, name: str) -> Snapshot:
        """The snapshot of this identifier or ARN."""
        found = self.snapshots.get((region, name.partition(":snapshot:")[2].lower() or name.lower()))
        if found is None:
            raise AwsError("DBSnapshotNotFound", f"DBSnapshot {name} not found.")
        return found

    def tagged(self, region: str, arn: str) -> Instance | Snapshot:
        """The instance or snapshot of an ARN."""
        return self.snapshot(region, arn) if ":snapshot:" in arn else self.instance(region, arn)

    def add(self, instance: Instance) -> None:
        """It exists from now on."""
        self.instances[instance.region, instance.name] = instance

    def free(self, region: str, name: str) -> None:
        """Raises DBInstanceAlreadyExists unless nobody has the name."""
        if (region, name) in self.instances:
            raise AwsError("DBInstanceAlreadyExists", "DB instance already exists")

    def resource_id(self) -> str:
        """A DbiResourceId that nobody had before."""
        return "db-" + "".join(self.random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=26))

    async def minimum(self, between: tuple[float, float]) -> None:
        """Waits the AWS seconds that something takes at the least."""
        await self.clock.wait(self.random.uniform(*between))

    async def cut(self, behind: Behind, instance: Instance) -> None:
        """Nobody reaches what is in a region that is cut off, and nothing streams from there or to there."""
        regions = {instance.region, *instance.follows.split(":")[3:4]}
        await behind.vanish(endpoint=instance.region in self.cut_off, link=bool(regions & self.cut_off))

    async def close(self) -> None:
        """Stops what is under way on all instances."""
        for one in list(self.instances.values()):
            await one.close()

    async def clear(self, production: Instance) -> None:
        """Forget every instance and snapshot; only production's own servers go on."""
        await self.close()
        for one in self.instances.values():
            if one is not production and one.behind is not None:
                await one.behind.close()
        for copy in list(self.backups.copies):  # of restores that didn't come to their end
            await self.backups.drop(copy)
        for replica in list(self.backups.replicas):
            await self.backups.drop_replica(replica)
        for snapshot in self.snapshots.values():
            if snapshot.base is not None:
                await self.backups.discard(snapshot.base)
        self.instances.clear()
        self.snapshots.clear()


def _last(name: str) -> str:
    return name.rpartition(":")[2].lower()
