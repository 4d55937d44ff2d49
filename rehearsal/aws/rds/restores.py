"""Restores: to a moment, or from a snapshot, into a new instance whose server really replays the archive."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.behind import Restored
from rehearsal.aws.rds.checks import Params, exclusive, identifier, offered, tags
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry
from rehearsal.aws.rds.settings import Settings, restored
from rehearsal.aws.wire import AwsError
from rehearsal.postgres.copies import Base, Copy
from rehearsal.postgres.damage import Damage

CREATING_SECONDS = (420.0, 600.0)  # AWS takes ten minutes for a small instance and more for a large one.
BACKING_UP_SECONDS = (60.0, 120.0)
# A restored server can be read before its recovery has ended; how long is AWS's secret, and never 0 here.
RECOVERING_SECONDS = (10.0, 30.0)
SLOW_SECONDS = (600.0, 900.0)

COMMON = (
    "DBInstanceClass", "Port", "AvailabilityZone", "DBSubnetGroupName", "MultiAZ", "PubliclyAccessible",
    "AutoMinorVersionUpgrade", "LicenseModel", "Engine", "OptionGroupName", "CopyTagsToSnapshot", "Tags", "StorageType",
    "VpcSecurityGroupIds", "EnableIAMDatabaseAuthentication", "EnableCloudwatchLogsExports", "DBParameterGroupName",
    "DeletionProtection", "NetworkType", "AllocatedStorage", "BackupRetentionPeriod", "PreferredBackupWindow",
    "CACertificateIdentifier",
)  # fmt: skip


@dataclass(kw_only=True)
class RestoreFaults:
    """What goes wrong with restores from now on."""

    incompatible: bool = False
    slow: bool = False
    other_settings: bool = False
    damage: Damage | None = None

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.incompatible = self.slow = self.other_settings = False
        self.damage = None


@dataclass(frozen=True, kw_only=True)
class _Order:
    """One restore: the new instance, and from what and to when."""

    instance: Instance
    base: Base
    moment: datetime | None
    says: str
    damage: Damage | None = None


class Restores:
    """RestoreDBInstanceToPointInTime and RestoreDBInstanceFromDBSnapshot."""

    def __init__(self, registry: Registry) -> None:
        self.faults = RestoreFaults()
        self._registry = registry

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {
            "RestoreDBInstanceToPointInTime": self._to_point_in_time,
            "RestoreDBInstanceFromDBSnapshot": self._from_snapshot,
        }

    def _to_point_in_time(self, region: str, params: Params) -> Params:
        sources = ("SourceDBInstanceIdentifier", "SourceDbiResourceId")
        times = ("RestoreTime", "UseLatestRestorableTime")
        offered(params, "TargetDBInstanceIdentifier", "MaxAllocatedStorage", *sources, *times, *COMMON)
        look = {sources[0]: self._registry.instance, sources[1]: self._registry.resource}
        given = exclusive(params, *sources)
        source = look[given](region, params[given])
        by_time = exclusive(params, *times) == times[0]
        name = identifier(params, "TargetDBInstanceIdentifier")
        self._registry.free(region, name)
        base, latest = _backups_of(source)
        moment = _aware(params["RestoreTime"]) if by_time else latest
        _check_moment(moment, base, latest)
        instance = self._create(region, name, restored(source.settings, _without_zone(params)), tags(params.get("Tags")))
        says = f"Restored from DB instance {source.name} to {name}"
        at_its_end = base.hot and moment == base.at  # such a backup needs no archive, and has none
        return self._begin(_Order(instance=instance, base=base, moment=None if at_its_end else moment, says=says))

    def _from_snapshot(self, region: str, params: Params) -> Params:
        offered(params, "DBInstanceIdentifier", "DBSnapshotIdentifier", *COMMON)
        if not params.get("DBSnapshotIdentifier"):
            raise AwsError("InvalidParameterCombination", "DBSnapshotIdentifier must be specified.")
        name = identifier(params, "DBInstanceIdentifier")
        self._registry.free(region, name)
        snapshot = self._registry.snapshot(region, params["DBSnapshotIdentifier"])
        if snapshot.status != "available" or snapshot.base is None:
            raise AwsError("InvalidDBSnapshotState", f"DBSnapshot {snapshot.name} is in the state {snapshot.status}.")
        # Without new tags RDS takes those of the snapshot's source, if they were copied to the snapshot.
        wanted = tags(params.get("Tags")) or list(snapshot.source_tags)
        instance = self._create(region, name, restored(snapshot.settings, _without_zone(params)), wanted)
        says = f"Restored from DB snapshot {snapshot.name}"
        return self._begin(_Order(instance=instance, base=snapshot.base, moment=None, says=says, damage=snapshot.damage))

    def _create(self, region: str, name: str, settings: Settings, wanted: list[dict[str, str]]) -> Instance:
        if self.faults.other_settings:
            settings = {**settings, **_forgotten(settings)}
        registry = self._registry
        instance = Instance(
            name=name, region=region, resource_id=registry.resource_id(), settings=settings, tags=wanted, clock=registry.clock
        )
        registry.add(instance)
        return instance

    def _begin(self, order: _Order) -> Params:
        order.instance.begin(lambda: self._carry_out(order), otherwise="incompatible-restore")
        return {"DBInstance": order.instance.view()}

    async def _carry_out(self, order: _Order) -> None:
        """creating -> backing-up -> available, and only then the end of recovery."""
        instance, registry, faults = order.instance, self._registry, self.faults
        if faults.incompatible:
            await registry.minimum(CREATING_SECONDS)
            instance.publish("incompatible-restore")
            registry.events.add(instance.source, "The DB instance is in an incompatible-restore state.", "failure")
            return
        copy, _ = await asyncio.gather(registry.backups.restore(order.base, order.moment), registry.minimum(CREATING_SECONDS))
        damage = order.damage or faults.damage
        if damage is not None:
            await copy.finish()
            await damage.strike(copy)
        behind = await self._open(instance, copy)
        instance.created_at = registry.clock.now()
        registry.events.add(instance.source, "DB instance created", "creation")
        if instance.settings["BackupRetentionPeriod"]:
            instance.publish("backing-up")
            registry.events.add(instance.source, "Backing up DB instance", "backup")
            await registry.minimum(BACKING_UP_SECONDS)
            registry.events.add(instance.source, "Finished DB Instance backup", "backup")
        instance.publish("available")
        registry.events.add(instance.source, order.says, "restoration")
        if damage is None:
            behind.finish_later(registry.minimum(SLOW_SECONDS if faults.slow else RECOVERING_SECONDS))

    async def _open(self, instance: Instance, copy: Copy) -> Restored:
        await copy.open()
        zones = ["us-west-2a", "us-west-2b"]
        self._registry.random.shuffle(zones)
        instance.behind = behind = Restored(copy, self._registry.backups, (zones[0], zones[1]))
        instance.let_in()
        return behind


def _backups_of(source: Instance) -> tuple[Base, datetime]:
    if not source.settings["BackupRetentionPeriod"]:
        raise AwsError("PointInTimeRestoreNotEnabled", f"Point in time restore is not enabled for {source.name}.")
    base = source.behind.first_backup if source.behind else None
    latest = source.behind.restorable if source.behind else None
    if base is None or latest is None:
        raise AwsError("InvalidDBInstanceState", f"Instance {source.name} has no automated backup to restore from yet.")
    return base, latest


def _check_moment(moment: datetime, base: Base, latest: datetime) -> None:
    if moment > latest:
        message = f"The specified time {moment.isoformat()} is later than the latest restorable time {latest.isoformat()}."
        raise AwsError("InvalidParameterValue", message)
    if moment < base.at:
        message = f"The specified time {moment.isoformat()} is before the earliest restorable time {base.at.isoformat()}."
        raise AwsError("InvalidRestoreFault", message)


def _without_zone(params: Params) -> Params:
    if params.get("MultiAZ") and params.get("AvailabilityZone"):
        raise AwsError(
            "InvalidParameterCombination", "Requesting a specific availability zone is not valid for Multi-AZ instances."
        )
    if params.get("Engine", "postgres") != "postgres":
        raise AwsError("InvalidParameterValue", f"Invalid DB engine: {params['Engine']}")
    if not 1150 <= params.get("Port", 5432) <= 65535:
        raise AwsError("InvalidParameterValue", f"Invalid port {params['Port']}: it must be 1150-65535.")
    return params


def _forgotten(settings: Settings) -> Settings:
    """Fault: what somebody's change of the default template, or AWS's default, makes of a restore that asked for more."""
    return {name: value for name, value in restored(settings, {}).items() if name not in ("BackupRetentionPeriod",)}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
