"""DeleteDBInstance: refused while the instance is protected or busy; gone with its endpoint and its server."""

from __future__ import annotations

import asyncio

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.checks import Params, identifier
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry
from rehearsal.aws.rds.snapshots import Snapshots
from rehearsal.aws.wire import AwsError

DELETING_SECONDS = (120.0, 240.0)
BROKEN = ("failed", "incompatible-restore", "incompatible-network")
DELETABLE = ("available", "storage-full", "stopped", "incompatible-parameters", *BROKEN)


class Deletions:
    """DeleteDBInstance."""

    def __init__(self, registry: Registry, snapshots: Snapshots) -> None:
        self._registry = registry
        self._snapshots = snapshots

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {"DeleteDBInstance": self._delete}

    def _delete(self, region: str, params: Params) -> Params:
        instance = self._registry.instance(region, params["DBInstanceIdentifier"])
        final = self._final_snapshot(region, params)
        if instance.settings["DeletionProtection"]:
            message = "Cannot delete protected DB Instance, please disable deletion protection and try again."
            raise AwsError("InvalidParameterCombination", message)
        if instance.status == "deleting":
            raise AwsError("InvalidDBInstanceState", f"Instance {instance.name} is already being deleted.")
        instance.require(*DELETABLE)
        if final and instance.status in BROKEN:
            message = f"Instance {instance.name} is {instance.status}: it can only be deleted with SkipFinalSnapshot."
            raise AwsError("InvalidDBInstanceState", message)
        instance.publish("deleting")
        instance.begin(lambda: self._carry_out(instance, final), last=True)
        return {"DBInstance": instance.view()}

    def _final_snapshot(self, region: str, params: Params) -> str | None:
        """The name of the final snapshot, None when the request skips it."""
        skipped, named = params.get("SkipFinalSnapshot", False), "FinalDBSnapshotIdentifier" in params
        if skipped and named:
            message = "FinalDBSnapshotIdentifier cannot be specified when SkipFinalSnapshot is true."
            raise AwsError("InvalidParameterCombination", message)
        if not skipped and not named:
            message = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            raise AwsError("InvalidParameterCombination", message)
        if skipped:
            return None
        name = identifier(params, "FinalDBSnapshotIdentifier", longest=255)
        self._snapshots.free(region, name)
        return name

    async def _carry_out(self, instance: Instance, final: str | None) -> None:
        registry = self._registry
        if final:
            await self._snapshots.complete(instance, self._snapshots.begin(final, instance, []))
        await asyncio.gather(self._close(instance), registry.minimum(DELETING_SECONDS))
        for key, snapshot in list(registry.snapshots.items()):
            if snapshot.kind == "automated" and snapshot.resource_id == instance.resource_id:
                del registry.snapshots[key]
        registry.instances.pop((instance.region, instance.name), None)
        registry.events.add(instance.source, "DB instance deleted", "deletion")

    async def _close(self, instance: Instance) -> None:
        if instance.behind is not None:
            await instance.behind.close()
