"""The settings of the production instance: what RDS says about it apart from its state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

CREATED = datetime(2024, 3, 5, 9, 12, 44, tzinfo=UTC)
TAGS = [
    {"Key": "Environment", "Value": "production"},
    {"Key": "Service", "Value": "shielda"},
    {"Key": "ManagedBy", "Value": "terraform"},
]


def settings(engine_version: str) -> dict[str, Any]:
    """The settings it was created with, all of which a restore must keep."""
    major = engine_version.partition(".")[0]
    return {
        "DBInstanceClass": "db.r6g.large",
        "Engine": "postgres",
        "EngineVersion": engine_version,
        "DBName": "shielda",
        "MasterUsername": "shielda_admin",
        "AllocatedStorage": 100,
        "MaxAllocatedStorage": 500,
        "StorageType": "gp3",
        "StorageEncrypted": True,
        "InstanceCreateTime": CREATED,
        "BackupRetentionPeriod": 35,
        "PreferredBackupWindow": "04:00-04:30",
        "PreferredMaintenanceWindow": "sun:06:00-sun:06:30",
        "AutoMinorVersionUpgrade": False,
        "PubliclyAccessible": False,
        "DeletionProtection": True,
        "CopyTagsToSnapshot": True,
        "IAMDatabaseAuthenticationEnabled": False,
        "PerformanceInsightsEnabled": True,
        "MonitoringInterval": 60,
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "EnabledCloudwatchLogsExports": ["postgresql", "upgrade"],
        "PendingModifiedValues": {},
        "DBSubnetGroup": {"DBSubnetGroupName": "shielda-private", "VpcId": "vpc-0a1b2c3d4e5f60718"},
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-0d15ea5edb0000001", "Status": "active"}],
        "DBParameterGroups": [{"DBParameterGroupName": "shielda-postgres", "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": f"default:postgres-{major}", "Status": "in-sync"}],
    }
