"""ModifyDBInstance and tags: what takes effect at once, what waits for the maintenance window, and what for a reboot."""

from __future__ import annotations

from collections.abc import Callable

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.checks import Params, identifier, merged, offered, tags
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry, Snapshot
from rehearsal.aws.rds.settings import Settings, check_network, log_types, memberships, named
from rehearsal.aws.wire import AwsError

# It takes AWS a moment to begin: until then the instance is still "available", with the change pending.
NOTICED_SECONDS = 5.0
MODIFYING_SECONDS = (60.0, 120.0)
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.DBInstance.Modifying.html
AT_ONCE = (
    "DeletionProtection", "CopyTagsToSnapshot", "PreferredBackupWindow", "PreferredMaintenanceWindow", "MaxAllocatedStorage",
    "AutoMinorVersionUpgrade", "MonitoringInterval", "PubliclyAccessible", "DBParameterGroupName", "VpcSecurityGroupIds",
    "CloudwatchLogsExportConfiguration", "OptionGroupName", "EnablePerformanceInsights",
)  # fmt: skip
IN_THE_WINDOW = (
    "DBInstanceClass", "MultiAZ", "AllocatedStorage", "StorageType", "BackupRetentionPeriod", "NewDBInstanceIdentifier",
    "EnableIAMDatabaseAuthentication", "CACertificateIdentifier",
)  # fmt: skip
WITH_A_RESTART = frozenset({"DBInstanceClass", "NewDBInstanceIdentifier"})
PENDING_NAME = {
    "NewDBInstanceIdentifier": "DBInstanceIdentifier",
    "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled",
}


class Changes:
    """ModifyDBInstance, AddTagsToResource and RemoveTagsFromResource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {
            "ModifyDBInstance": self._modify,
            "AddTagsToResource": self._add_tags,
            "RemoveTagsFromResource": self._remove_tags,
        }

    def _modify(self, region: str, params: Params) -> Params:
        offered(params, "DBInstanceIdentifier", "ApplyImmediately", *AT_ONCE, *IN_THE_WINDOW)
        params = dict(params)
        instance = self._registry.instance(region, params["DBInstanceIdentifier"])
        instance.require("available", "storage-full")
        now = {name: params[name] for name in AT_ONCE if name in params}
        if params.get("BackupRetentionPeriod") and instance.settings["BackupRetentionPeriod"]:
            now["BackupRetentionPeriod"] = params.pop("BackupRetentionPeriod")  # Only on and off wait for the window.
        deferred = self._deferred(instance, params)
        at_once = self._at_once(instance, now)
        instance.settings |= at_once
        instance.pending |= {PENDING_NAME.get(name, name): value for name, value in deferred.items()}
        if params.get("ApplyImmediately"):
            deferred = {name: instance.pending[PENDING_NAME.get(name, name)] for name in IN_THE_WINDOW if _waits(instance, name)}
        else:
            deferred = {}
        if "VpcSecurityGroupIds" in now or deferred:
            instance.begin(lambda: self._carry_out(instance, deferred))
        return {"DBInstance": instance.view()}

    def _at_once(self, instance: Instance, now: Params) -> Settings:
        """The new settings of what doesn't wait; security groups are "adding" until they take effect."""
        major = instance.settings["EngineVersion"].partition(".")[0]
        new = named(now, major)
        if "VpcSecurityGroups" in new:
            check_network({**instance.settings, **new})
            new["VpcSecurityGroups"] = memberships(now["VpcSecurityGroupIds"], "adding")
        if "DBParameterGroups" in new and not _same_group(new, instance.settings):
            new["DBParameterGroups"][0]["ParameterApplyStatus"] = "pending-reboot"
        if change := now.get("CloudwatchLogsExportConfiguration"):
            on = set(instance.settings.get("EnabledCloudwatchLogsExports", ())) | set(log_types(change.get("EnableLogTypes", [])))
            new["EnabledCloudwatchLogsExports"] = sorted(on - set(change.get("DisableLogTypes", [])))
        return new

    def _deferred(self, instance: Instance, params: Params) -> Params:
        wanted = {name: params[name] for name in IN_THE_WINDOW if name in params}
        named(wanted, "")  # refuses values that don't exist
        if "NewDBInstanceIdentifier" in wanted:
            wanted["NewDBInstanceIdentifier"] = identifier(params, "NewDBInstanceIdentifier")
            self._registry.free(instance.region, wanted["NewDBInstanceIdentifier"])
        if wanted.get("AllocatedStorage", 10**6) < instance.settings["AllocatedStorage"]:
            raise AwsError("InvalidParameterCombination", "Invalid storage size: storage can only grow.")
        return {name: value for name, value in wanted.items() if instance.settings.get(name) != value}

    async def _carry_out(self, instance: Instance, deferred: Params) -> None:
        registry = self._registry
        await registry.clock.wait(NOTICED_SECONDS)
        for group in instance.settings["VpcSecurityGroups"]:
            group["Status"] = "active"
        instance.let_in()
        if not deferred:
            return
        instance.publish("modifying")
        await registry.minimum(MODIFYING_SECONDS)
        if WITH_A_RESTART & set(deferred) and instance.behind is not None:
            await instance.behind.restart()
        for name, value in deferred.items():
            self._apply(instance, name, value)
        instance.publish("available")

    def _apply(self, instance: Instance, name: str, value: object) -> None:
        instance.pending.pop(PENDING_NAME.get(name, name), None)
        if name == "NewDBInstanceIdentifier":
            del self._registry.instances[instance.region, instance.name]
            self._registry.events.add(instance.source, f"Renamed to {value}", "configuration change")
            before, instance.name = instance.arn, str(value)
            self._registry.add(instance)
            for other in self._registry.instances.values():
                other.replicas = tuple(instance.arn if arn == before else arn for arn in other.replicas)
                other.follows = instance.arn if other.follows == before else other.follows
        else:
            instance.settings |= named({name: value}, "")

    def _add_tags(self, region: str, params: Params) -> Params:
        return self._change_tags(region, params, lambda old: merged(old, tags(params["Tags"])))

    def _remove_tags(self, region: str, params: Params) -> Params:
        gone = set(params["TagKeys"])
        return self._change_tags(region, params, lambda old: [tag for tag in old if tag["Key"] not in gone])

    def _change_tags(self, region: str, params: Params, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Params:
        target: Instance | Snapshot = self._registry.tagged(region, params["ResourceName"])
        target.tags = change(target.tags)
        return {}


def _waits(instance: Instance, name: str) -> bool:
    return PENDING_NAME.get(name, name) in instance.pending


def _same_group(new: Settings, old: Settings) -> bool:
    name = "DBParameterGroupName"
    return bool(new["DBParameterGroups"][0][name] == old["DBParameterGroups"][0][name])
