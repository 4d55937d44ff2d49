"""Read replicas across regions: created from a real base backup, streaming over a link, and promoted for good.

https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstanceReadReplica.html and ..._PromoteReadReplica.html
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.behind import Following
from rehearsal.aws.rds.checks import Params, identifier, offered, tags
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry
from rehearsal.aws.rds.restores import COMMON
from rehearsal.aws.rds.settings import Settings, restored
from rehearsal.aws.rds.snapshots import Snapshots
from rehearsal.aws.wire import AwsError

CREATING_SECONDS = (420.0, 600.0)
PROMOTING_SECONDS = (30.0, 60.0)
REBOOTING_SECONDS = (30.0, 60.0)
SETTLED_SECONDS = (30.0, 60.0)  # from the end of a promotion to the first automated backup
BACKING_UP_SECONDS = (240.0, 300.0)
WINDOW = "PreferredBackupWindow"


class Replicas:
    """CreateDBInstanceReadReplica and PromoteReadReplica."""

    def __init__(self, registry: Registry, snapshots: Snapshots) -> None:
        self._registry = registry
        self._snapshots = snapshots

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {"CreateDBInstanceReadReplica": self._create, "PromoteReadReplica": self._promote}

    async def first(self, name: str, region: str, source: Instance, settings: Settings) -> Instance:
        """The replica that exists when the rehearsal begins: available, and streaming from the start.

        Its server is a copy of what the source's was on the first day, if that is still enough to follow it.
        """
        registry = self._registry
        instance = self._new(name, region, source, settings, [dict(tag) for tag in source.tags])
        await self._follow(instance, source, from_template=registry.backups.archive.latest is None)
        instance.publish("available")
        return instance

    def back_up(self, instance: Instance) -> None:
        """Its daily backup begins now; it takes AWS four to five minutes."""
        instance.require("available")
        instance.publish("backing-up")
        self._registry.events.add(instance.source, "Backing up DB instance", "backup")
        instance.begin(lambda: self._only_wait(instance))

    # Create -----------------------------------------------------------------------------------------------------------

    def _create(self, region: str, params: Params) -> Params:
        offered(params, "DBInstanceIdentifier", "SourceDBInstanceIdentifier", "KmsKeyId", "PreSignedUrl", "MaxAllocatedStorage",
                "MonitoringInterval", "EnablePerformanceInsights", *COMMON)  # fmt: skip
        registry = self._registry
        source = self._source(region, params)
        name = identifier(params, "DBInstanceIdentifier")
        registry.free(region, name)
        if not source.settings["BackupRetentionPeriod"]:
            message = "Automated backups are not enabled for this database instance. To enable them, set a retention period."
            raise AwsError("InvalidDBInstanceState", message)
        source.require("available")
        _check_encryption(region, source, params)
        settings = restored(source.settings, {key: value for key, value in params.items() if key != "PreSignedUrl"})
        settings |= {"BackupRetentionPeriod": params.get("BackupRetentionPeriod", 0)}
        settings |= {"KmsKeyId": params["KmsKeyId"]} if params.get("KmsKeyId") else {}
        instance = self._new(name, region, source, settings, tags(params.get("Tags")))
        instance.begin(lambda: self._carry_out(instance, source))
        return {"DBInstance": instance.view()}

    def _source(self, region: str, params: Params) -> Instance:
        """The source; from another region it must be named by its ARN."""
        wanted = params.get("SourceDBInstanceIdentifier", "")
        if not wanted:
            raise AwsError("InvalidParameterCombination", "SourceDBInstanceIdentifier must be specified.")
        where = wanted.split(":")[3] if wanted.startswith("arn:") else region
        if where in self._registry.cut_off:
            raise AwsError("InternalFailure", f"The region {where} of the source does not answer.", 500)
        return self._registry.instance(where, wanted)

    def _new(self, name: str, region: str, source: Instance, settings: Settings, tagged: list[dict[str, str]]) -> Instance:
        registry = self._registry
        instance = Instance(
            name=name, region=region, resource_id=registry.resource_id(), settings=settings, tags=tagged, clock=registry.clock
        )
        instance.follows = source.arn
        registry.add(instance)
        source.replicas = (*source.replicas, instance.arn)
        return instance

    async def _follow(self, instance: Instance, source: Instance, *, from_template: bool = False) -> None:
        """A real server follows the source, wherever that is at the moment."""

        def port() -> int:
            return source.behind.server_port if source.behind else 0

        replica = self._registry.backups.replica(port)
        behind = Following(replica, self._registry.backups, (f"{instance.region}a", f"{instance.region}b"))
        await replica.start(from_template=from_template)
        instance.behind, instance.following = behind, lambda: replica.streaming
        instance.created_at = self._registry.clock.now()
        instance.let_in()
        if self._registry.cut_off:
            await self._registry.cut(behind, instance)

    async def _carry_out(self, instance: Instance, source: Instance) -> None:
        """creating -> available; it streams before it can be seen."""
        registry = self._registry
        await asyncio.gather(self._follow(instance, source), registry.minimum(CREATING_SECONDS))
        registry.events.add(instance.source, "DB instance created", "creation")
        instance.publish("available")

    # Promote ----------------------------------------------------------------------------------------------------------

    def _promote(self, region: str, params: Params) -> Params:
        offered(params, "DBInstanceIdentifier", "BackupRetentionPeriod", WINDOW)
        instance = self._registry.instance(region, params["DBInstanceIdentifier"])
        if not instance.follows:
            raise AwsError("InvalidDBInstanceState", f"DB Instance {instance.name} is not a read replica.")
        instance.require("available")
        retention = params.get("BackupRetentionPeriod", 1)
        if not 0 <= retention <= 35:
            raise AwsError("InvalidParameterValue", f"Invalid backup retention period: {retention}")
        instance.publish("modifying")
        instance.begin(lambda: self._make_primary(instance, retention, params.get(WINDOW)))
        return {"DBInstance": instance.view()}

    async def _make_primary(self, instance: Instance, retention: int, window: str | None) -> None:
        """modifying, in which it's promoted -> rebooting -> available -> its first backup."""
        registry, behind = self._registry, instance.behind
        assert isinstance(behind, Following)
        await asyncio.gather(behind.promote(), registry.minimum(PROMOTING_SECONDS))
        registry.events.add(instance.source, "Promoted the read replica to a stand-alone DB instance", "read replica")
        instance.publish("rebooting")
        await asyncio.gather(behind.restart(), registry.minimum(REBOOTING_SECONDS))
        registry.events.add(instance.source, "DB instance restarted", "availability")
        self._leave(instance)
        instance.settings |= {"BackupRetentionPeriod": retention, **({WINDOW: window} if window else {})}
        instance.publish("available")
        if retention:
            await registry.minimum(SETTLED_SECONDS)
            behind.first_backup = await self._snapshots.first_of(instance)

    def _leave(self, instance: Instance) -> None:
        """Its source forgets it, if it hears of that at all."""
        for source in self._registry.instances.values():
            if source.region not in self._registry.cut_off:
                source.replicas = tuple(arn for arn in source.replicas if arn != instance.arn)
        instance.follows = ""

    async def _only_wait(self, instance: Instance) -> None:
        await self._registry.minimum(BACKING_UP_SECONDS)
        instance.publish("available")
        self._registry.events.add(instance.source, "Finished DB Instance backup", "backup")


def _check_encryption(region: str, source: Instance, params: Params) -> None:
    """An encrypted replica in another region needs a key of that region, and a request that the source's region has signed."""
    if not source.settings["StorageEncrypted"] or source.region == region:
        return
    key = params.get("KmsKeyId", "")
    if not key:
        message = "Cannot create a cross region read replica of an encrypted instance without the parameter KmsKeyId."
        raise AwsError("InvalidParameterCombination", message)
    if f":{region}:" not in key:
        raise AwsError("KMSKeyNotAccessibleFault", f"The KMS key {key} is not in the region {region}.")
    signed = parse_qs(urlsplit(params.get("PreSignedUrl", "")).query)
    scope = signed.get("X-Amz-Credential", [""])[0].split("/")
    wanted = {
        "Action": "CreateDBInstanceReadReplica",
        "SourceDBInstanceIdentifier": params["SourceDBInstanceIdentifier"],
        "DestinationRegion": region,
    }
    if source.region not in scope or any(signed.get(name, [""])[0] != value for name, value in wanted.items()):
        message = "PreSignedUrl is missing or was not signed for this request in the source's region (give SourceRegion)."
        raise AwsError("InvalidParameterValue", message)
