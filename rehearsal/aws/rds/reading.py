"""What RDS answers to questions; nothing here changes anything."""

from __future__ import annotations

from typing import Any

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.checks import Params, page, passes
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry, Snapshot
from rehearsal.aws.sts import ACCOUNT
from rehearsal.aws.wire import AwsError


class Reading:
    """The Describe and List operations; `lag` shows instances as they were so many AWS seconds ago."""

    def __init__(self, registry: Registry) -> None:
        self.lag = 0.0
        self._registry = registry

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {
            "DescribeDBInstances": self._instances,
            "DescribeDBSnapshots": self._snapshots,
            "DescribeDBInstanceAutomatedBackups": self._automated_backups,
            "DescribeEvents": self._events,
            "ListTagsForResource": self._tags,
        }

    def _instances(self, region: str, params: Params) -> Params:
        if name := params.get("DBInstanceIdentifier"):
            found = [self._registry.instance(region, name)]
        else:
            found = self._registry.of(region)
        facts = (
            (one, {"db-instance-id": (one.name, one.arn), "dbi-resource-id": (one.resource_id,), "engine": ("postgres",)})
            for one in found
        )
        matching = [one for one, known in facts if passes(params, known)]
        return page("DBInstances", matching, params, lambda one: one.view(self.lag))

    def _snapshots(self, region: str, params: Params) -> Params:
        if name := params.get("DBSnapshotIdentifier"):
            found = [self._registry.snapshot(region, name)]
            if found[0].kind == "automated" and "SnapshotType" not in params:
                raise AwsError("DBSnapshotNotFound", f"DBSnapshot {name} not found.")  # So it is documented.
        else:
            found = [one for (where, _), one in sorted(self._registry.snapshots.items()) if where == region]
        wanted = {"DBInstanceIdentifier": "source", "SnapshotType": "kind", "DbiResourceId": "resource_id"}
        for parameter, attribute in wanted.items():
            if parameter in params:
                found = [one for one in found if getattr(one, attribute).lower() == params[parameter].lower()]
        matching = [one for one in found if passes(params, _facts(one))]
        return page("DBSnapshots", matching, params, Snapshot.view)

    def _automated_backups(self, region: str, params: Params) -> Params:
        found = [one for one in self._registry.of(region) if one.settings["BackupRetentionPeriod"] > 0]
        if name := params.get("DBInstanceIdentifier"):
            found = [one for one in found if one.name == name.lower()]
            if not found:
                raise AwsError("DBInstanceAutomatedBackupNotFound", f"No automated backup of {name} was found.")
        if wanted := params.get("DbiResourceId"):
            found = [one for one in found if one.resource_id.lower() == wanted.lower()]
        matching = [
            one
            for one in found
            if passes(
                params,
                {
                    "status": (_backup_status(one),),
                    "db-instance-id": (one.name, one.arn),
                    "dbi-resource-id": (one.resource_id,),
                },
            )
        ]
        return page("DBInstanceAutomatedBackups", matching, params, _automated_backup)

    def _events(self, region: str, params: Params) -> Params:
        return page("Events", self._registry.events.listed(region, params), params, dict)

    def _tags(self, region: str, params: Params) -> Params:
        return {"TagList": list(self._registry.tagged(region, params["ResourceName"]).tags)}


def _facts(one: Snapshot) -> dict[str, tuple[str, ...]]:
    return {
        "db-snapshot-id": (one.name, one.arn),
        "db-instance-id": (one.source,),
        "dbi-resource-id": (one.resource_id,),
        "snapshot-type": (one.kind,),
        "engine": ("postgres",),
    }


def _backup_status(one: Instance) -> str:
    return "active" if one.behind and one.behind.restorable else "creating"


def _automated_backup(one: Instance) -> dict[str, Any]:
    settings, behind = one.settings, one.behind
    window = None
    if behind and behind.first_backup and behind.restorable:
        window = {"EarliestTime": behind.first_backup.at, "LatestTime": behind.restorable}
    number = one.resource_id.removeprefix("db-").lower()
    return {
        "DBInstanceArn": one.arn,
        "DbiResourceId": one.resource_id,
        "DBInstanceIdentifier": one.name,
        "DBInstanceAutomatedBackupsArn": f"arn:aws:rds:{one.region}:{ACCOUNT}:auto-backup:ab-{number}",
        "Region": one.region,
        "Status": _backup_status(one),
        "RestoreWindow": window,
        "InstanceCreateTime": one.created_at,
        "AvailabilityZone": one.state.zone,
        "VpcId": settings["DBSubnetGroup"]["VpcId"],
        "Encrypted": settings["StorageEncrypted"],
        "OptionGroupName": settings["OptionGroupMemberships"][0]["OptionGroupName"],
        **{
            name: settings[name]
            for name in ("Engine", "EngineVersion", "AllocatedStorage", "MasterUsername", "StorageType", "BackupRetentionPeriod")
        },
    }
