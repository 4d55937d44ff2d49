"""How instances are set up: production's own settings, and what a restore makes of them when it isn't told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rehearsal.aws.wire import AwsError

Settings = dict[str, Any]

CREATED = datetime(2024, 3, 5, 9, 12, 44, tzinfo=UTC)
TAGS = [
    {"Key": "Environment", "Value": "production"},
    {"Key": "Service", "Value": "shielda"},
    {"Key": "ManagedBy", "Value": "terraform"},
]

VPC, DEFAULT_VPC = "vpc-0a1b2c3d4e5f60718", "vpc-0def0000000000001"
SUBNET_GROUPS = {"shielda-private": VPC, "default": DEFAULT_VPC}
OPEN_GROUP = "sg-0d15ea5edb0000001"  # shielda-database: lets the control plane and the bot in
SECURITY_GROUPS = {
    OPEN_GROUP: VPC,
    "sg-0fe11ce0000000002": VPC,  # shielda-fenced: lets nobody in
    "sg-0def0000000000003": VPC,  # the default group of our VPC: members only, and nobody is one
    "sg-0def0000000000004": DEFAULT_VPC,
}
DEFAULT_GROUPS = {VPC: "sg-0def0000000000003", DEFAULT_VPC: "sg-0def0000000000004"}
CLASSES = frozenset(
    f"db.{family}.{size}" for family in ("t4g", "m6g", "r6g") for size in ("medium", "large", "xlarge", "2xlarge")
)
LOG_TYPES = frozenset({"postgresql", "upgrade", "iam-db-auth-error"})

# What a restore takes over from its source; everything else is forgotten.
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceToPointInTime.html
CARRIED = (
    "DBInstanceClass", "Engine", "EngineVersion", "LicenseModel", "DBName", "MasterUsername", "AllocatedStorage", "StorageType",
    "StorageEncrypted", "KmsKeyId", "BackupRetentionPeriod", "PreferredBackupWindow", "PreferredMaintenanceWindow",
    "AutoMinorVersionUpgrade", "PubliclyAccessible", "NetworkType",
)  # fmt: skip
# Parameters of a request that say the same word as the setting they become.
SAME_NAME = (
    "DBInstanceClass", "LicenseModel", "AllocatedStorage", "StorageType", "BackupRetentionPeriod", "PreferredBackupWindow",
    "PreferredMaintenanceWindow", "AutoMinorVersionUpgrade", "PubliclyAccessible", "NetworkType", "MultiAZ",
    "DeletionProtection", "CopyTagsToSnapshot", "MaxAllocatedStorage", "CACertificateIdentifier", "MonitoringInterval",
)  # fmt: skip


def settings(engine_version: str) -> Settings:
    """What the production instance was created with: all that a restore must carry over."""
    return {
        "DBInstanceClass": "db.r6g.large",
        "Engine": "postgres",
        "EngineVersion": engine_version,
        "LicenseModel": "postgresql-license",
        "DBName": "shielda",
        "MasterUsername": "shielda_admin",
        "AllocatedStorage": 100,
        "MaxAllocatedStorage": 500,
        "StorageType": "gp3",
        "StorageEncrypted": True,
        "KmsKeyId": "arn:aws:kms:us-west-2:123456789012:key/5e7a1dab-0000-4000-8000-000000000001",
        "BackupRetentionPeriod": 35,
        "PreferredBackupWindow": "04:00-04:30",
        "PreferredMaintenanceWindow": "sun:06:00-sun:06:30",
        "AutoMinorVersionUpgrade": False,
        "PubliclyAccessible": False,
        "NetworkType": "IPV4",
        "MultiAZ": True,
        "DeletionProtection": True,
        "CopyTagsToSnapshot": True,
        "IAMDatabaseAuthenticationEnabled": False,
        "PerformanceInsightsEnabled": True,
        "MonitoringInterval": 60,
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "EnabledCloudwatchLogsExports": ["postgresql", "upgrade"],
        "DBSubnetGroup": subnet_group("shielda-private"),
        "VpcSecurityGroups": memberships([OPEN_GROUP]),
        "DBParameterGroups": [{"DBParameterGroupName": "shielda-postgres", "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": f"default:postgres-{_major(engine_version)}", "Status": "in-sync"}],
    }


def restored(source: Settings, params: Mapping[str, Any]) -> Settings:
    """The settings of an instance restored from a source with these settings, as far as the request says otherwise.

    What the request doesn't name falls back to AWS's default and not to the source: network, parameter group, Multi-AZ,
    protection, log exports, monitoring.
    """
    major = _major(source["EngineVersion"])
    new = {name: source[name] for name in CARRIED if name in source}
    new |= {
        "MultiAZ": False,
        "DeletionProtection": False,
        "CopyTagsToSnapshot": False,
        "IAMDatabaseAuthenticationEnabled": False,
        "PerformanceInsightsEnabled": False,
        "MonitoringInterval": 0,
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "DBSubnetGroup": subnet_group("default"),
        "DBParameterGroups": [{"DBParameterGroupName": f"default.postgres{major}", "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": f"default:postgres-{major}", "Status": "in-sync"}],
    }
    new |= named(params, major)
    new.setdefault("VpcSecurityGroups", memberships([DEFAULT_GROUPS[new["DBSubnetGroup"]["VpcId"]]]))
    check_network(new)
    return new


def replica_settings(source: Settings, region: str) -> Settings:
    """How production's replica in another region was created: like its source, with a key of its own region and no backups."""
    key = source["KmsKeyId"].replace("us-west-2", region)
    return {**source, "KmsKeyId": key, "BackupRetentionPeriod": 0, "MultiAZ": False}


def named(params: Mapping[str, Any], major: str) -> Settings:
    """The settings that a request names, each as AWS describes it; refuses values that don't exist."""
    new = {name: params[name] for name in SAME_NAME if name in params}
    if new.get("DBInstanceClass", "db.r6g.large") not in CLASSES:
        raise AwsError("InvalidParameterValue", f"Invalid DB Instance class: {new['DBInstanceClass']}")
    if not 0 <= new.get("BackupRetentionPeriod", 1) <= 35:
        raise AwsError("InvalidParameterValue", f"Invalid backup retention period: {new['BackupRetentionPeriod']}")
    if "DBSubnetGroupName" in params:
        new["DBSubnetGroup"] = subnet_group(params["DBSubnetGroupName"])
    if "VpcSecurityGroupIds" in params:
        new["VpcSecurityGroups"] = memberships(params["VpcSecurityGroupIds"])
    if "DBParameterGroupName" in params:
        name = _known(
            params["DBParameterGroupName"], f"default.postgres{major}", "shielda-postgres", code="DBParameterGroupNotFound"
        )
        new["DBParameterGroups"] = [{"DBParameterGroupName": name, "ParameterApplyStatus": "in-sync"}]
    if "OptionGroupName" in params:
        name = _known(params["OptionGroupName"], f"default:postgres-{major}", code="OptionGroupNotFoundFault")
        new["OptionGroupMemberships"] = [{"OptionGroupName": name, "Status": "in-sync"}]
    if "EnableIAMDatabaseAuthentication" in params:
        new["IAMDatabaseAuthenticationEnabled"] = params["EnableIAMDatabaseAuthentication"]
    if "EnablePerformanceInsights" in params:
        new["PerformanceInsightsEnabled"] = params["EnablePerformanceInsights"]
    if "EnableCloudwatchLogsExports" in params:
        new["EnabledCloudwatchLogsExports"] = log_types(params["EnableCloudwatchLogsExports"])
    return new


def subnet_group(name: str) -> Settings:
    """A DBSubnetGroup by its name."""
    if name not in SUBNET_GROUPS:
        raise AwsError("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.")
    return {"DBSubnetGroupName": name, "VpcId": SUBNET_GROUPS[name], "SubnetGroupStatus": "Complete"}


def memberships(groups: list[str], status: str = "active") -> list[Settings]:
    """VpcSecurityGroups by their ids."""
    for group in groups:
        if group not in SECURITY_GROUPS:
            raise AwsError("InvalidParameterValue", f"Invalid security group , groupId= {group}, groupName=.")
    return [{"VpcSecurityGroupId": group, "Status": status} for group in groups]


def check_network(found: Settings) -> None:
    """Refuses security groups of another VPC than the instance's, as AWS does."""
    vpc = found["DBSubnetGroup"]["VpcId"]
    for group in found["VpcSecurityGroups"]:
        other = SECURITY_GROUPS[group["VpcSecurityGroupId"]]
        if other != vpc:
            message = (
                f"The DB instance and EC2 security group are in different VPCs. The DB instance is in {vpc} "
                f"and the EC2 security group is in {other}"
            )
            raise AwsError("InvalidParameterCombination", message)


def reachable(found: Settings) -> bool:
    """Whether the control plane and the bot, in our VPC, get through to the instance."""
    return any(group["VpcSecurityGroupId"] == OPEN_GROUP for group in found["VpcSecurityGroups"])


def log_types(wanted: list[str]) -> list[str]:
    """The log types that PostgreSQL has."""
    if unknown := sorted(set(wanted) - LOG_TYPES):
        raise AwsError(
            "InvalidParameterCombination", f"You cannot use the log types '{', '.join(unknown)}' with engine postgres."
        )
    return list(wanted)


def _known(name: str, *names: str, code: str) -> str:
    if name not in names:
        kind = "DBParameterGroup" if "Parameter" in code else "OptionGroup"
        raise AwsError(code, f"{kind} not found: {name}")
    return name


def _major(engine_version: str) -> str:
    return engine_version.partition(".")[0]
