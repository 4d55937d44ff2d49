"""How a database instance is set up: what a restore must carry over, what no restore takes, and what differs afterwards.

A restore forgets what its request doesn't name. It would come up in the default network with the default parameter group, in
one zone, unprotected and without logs: reachable by nobody, and none of it an error.
https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceToPointInTime.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from actions.values import Json

Settings = Mapping[str, Json]  # by the names that AWS's requests have for them: {"MultiAZ": True, ...}

# name in requests -> (what people call it, where DescribeDBInstances shows it)
SETTINGS = {
    "DBInstanceClass": ("class", "DBInstanceClass"),
    "MultiAZ": ("Multi-AZ", "MultiAZ"),
    "DBSubnetGroupName": ("subnet group", "DBSubnetGroup.DBSubnetGroupName"),
    "VpcSecurityGroupIds": ("security groups", "VpcSecurityGroups[].VpcSecurityGroupId"),
    "PubliclyAccessible": ("public access", "PubliclyAccessible"),
    "NetworkType": ("network type", "NetworkType"),
    "DBParameterGroupName": ("parameter group", "DBParameterGroups[0].DBParameterGroupName"),
    "OptionGroupName": ("option group", "OptionGroupMemberships[0].OptionGroupName"),
    "StorageType": ("storage type", "StorageType"),
    "AllocatedStorage": ("storage in GiB", "AllocatedStorage"),
    "MaxAllocatedStorage": ("most storage in GiB", "MaxAllocatedStorage"),
    "Iops": ("IOPS", "Iops"),
    "StorageThroughput": ("storage throughput", "StorageThroughput"),
    "DedicatedLogVolume": ("dedicated log volume", "DedicatedLogVolume"),
    "ProcessorFeatures": ("processor features", "ProcessorFeatures"),
    "EnableCloudwatchLogsExports": ("log exports", "EnabledCloudwatchLogsExports[]"),
    "EnableIAMDatabaseAuthentication": ("IAM authentication", "IAMDatabaseAuthenticationEnabled"),
    "CACertificateIdentifier": ("CA certificate", "CACertificateIdentifier"),
    "DeletionProtection": ("deletion protection", "DeletionProtection"),
    "CopyTagsToSnapshot": ("copying tags to snapshots", "CopyTagsToSnapshot"),
    "BackupRetentionPeriod": ("days that backups are kept", "BackupRetentionPeriod"),
    "PreferredBackupWindow": ("backup window", "PreferredBackupWindow"),
    "AutoMinorVersionUpgrade": ("automatic minor upgrades", "AutoMinorVersionUpgrade"),
    "LicenseModel": ("licence", "LicenseModel"),
    "EngineLifecycleSupport": ("extended support", "EngineLifecycleSupport"),
    "Port": ("port", "Endpoint.Port"),
    "PreferredMaintenanceWindow": ("maintenance window", "PreferredMaintenanceWindow"),
    "EnablePerformanceInsights": ("Performance Insights", "PerformanceInsightsEnabled"),
    "PerformanceInsightsRetentionPeriod": ("days of Performance Insights", "PerformanceInsightsRetentionPeriod"),
    "DatabaseInsightsMode": ("Database Insights", "DatabaseInsightsMode"),
    "MonitoringInterval": ("seconds between enhanced monitoring", "MonitoringInterval"),
    "MonitoringRoleArn": ("role of enhanced monitoring", "MonitoringRoleArn"),
    "EngineVersion": ("version", "EngineVersion"),
    "KmsKeyId": ("encryption key", "KmsKeyId"),
}
LEFT_OUT = (  # of every restore: ModifyDBInstance sets them afterwards
    "PreferredMaintenanceWindow", "EnablePerformanceInsights", "PerformanceInsightsRetentionPeriod", "DatabaseInsightsMode",
    "MonitoringInterval", "MonitoringRoleArn",
)  # fmt: skip
LEFT_OUT_OF_SNAPSHOTS = (*LEFT_OUT, "MaxAllocatedStorage")
INHERITED = ("EngineVersion", "KmsKeyId")  # of what is restored; a request can't carry them, and they aren't changed afterwards
NOT_COMPARED = ("Port",)  # it belongs to the address, which is another one anyway; clients get both from the secret
RESERVED = ("aws:", "rds:")  # keys of tags that only AWS itself may set
OURS = "dr-"  # keys of tags that tell which run made an instance, and of what: they are never handed on
FREE_IOPS_FROM = 400  # GiB of gp3 below which PostgreSQL's IOPS and throughput are fixed, and naming them is refused


def settings_of(raw: Mapping[str, Any]) -> dict[str, Json]:
    """The settings of an instance as DescribeDBInstances shows it; what isn't set is left out."""
    found = {name: _read(raw, path) for name, (_, path) in SETTINGS.items()}
    return {name: value for name, value in found.items() if value not in (None, [])}


def tags_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """The tags of an instance or a snapshot."""
    return {tag["Key"]: tag.get("Value", "") for tag in raw.get("TagList", [])}


def copied(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a restored instance gets from its source."""
    return {key: value for key, value in tags.items() if not key.lower().startswith((*RESERVED, OURS))}


def tag_list(tags: Mapping[str, str]) -> list[Json]:
    """Tags as AWS's requests take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def restorable(settings: Settings, *, from_snapshot: bool = False) -> dict[str, Json]:
    """What of these settings a restore's request carries over."""
    without = {*INHERITED, *(LEFT_OUT_OF_SNAPSHOTS if from_snapshot else LEFT_OUT)}
    if not _has_free_iops(settings):
        without |= {"Iops", "StorageThroughput"}
    return {name: value for name, value in settings.items() if name not in without}


def left_out(settings: Settings, *, from_snapshot: bool = False) -> dict[str, Json]:
    """What of these settings no restore takes, so that `ChangeSettings` must set it afterwards."""
    return {name: settings[name] for name in (LEFT_OUT_OF_SNAPSHOTS if from_snapshot else LEFT_OUT) if name in settings}


def differences(wanted: Settings, found: Settings, apart_from: Collection[str] = ()) -> list[str]:
    """What isn't as wanted, each in words: "deletion protection: off, not on". Settings that nobody asked for don't count."""
    names = [name for name in wanted if name not in (*NOT_COMPARED, *apart_from)]
    return [
        f"{SETTINGS[name][0]}: {_words(found.get(name))}, not {_words(wanted[name])}"
        for name in names
        if found.get(name) != wanted[name]
    ]


def tag_differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The tags that are missing or have another value, in words; more tags than wanted are fine."""
    return [f"tag {key}: {found.get(key, 'missing')}, not {value}" for key, value in wanted.items() if found.get(key) != value]


def unsettled(raw: Mapping[str, Any]) -> list[str]:
    """What RDS is still changing or has put off, in words."""
    groups = [(one["VpcSecurityGroupId"], one.get("Status", "active"), "active") for one in raw.get("VpcSecurityGroups", [])]
    groups += [
        (one["DBParameterGroupName"], one.get("ParameterApplyStatus", "in-sync"), "in-sync")
        for one in raw.get("DBParameterGroups", [])
    ]
    pending = [f"{name} is pending" for name, value in raw.get("PendingModifiedValues", {}).items() if value not in (None, {})]
    return [f"{name} is {status}" for name, status, good in groups if status != good] + pending


def _read(raw: Mapping[str, Any], path: str) -> Json:
    """The value at a path such as "VpcSecurityGroups[].VpcSecurityGroupId" or "Endpoint.Port"; None if it isn't there."""
    name, _, rest = path.partition(".")
    if name.endswith("[]"):
        return sorted(item[rest] if rest else item for item in raw.get(name[:-2], []))
    if name.endswith("[0]"):
        return next((item[rest] for item in raw.get(name[:-3], [])), None)
    return raw.get(name, {}).get(rest) if rest else raw.get(name)


def _has_free_iops(settings: Settings) -> bool:
    """Whether IOPS may be named. https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html"""
    kind = settings.get("StorageType")
    return kind in ("io1", "io2") or (kind == "gp3" and settings.get("AllocatedStorage", 0) >= FREE_IOPS_FROM)


def _words(value: Json) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
