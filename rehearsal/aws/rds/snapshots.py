"""Snapshots: manual ones are real base backups; the automated one of the first day costs nothing."""

from __future__ import annotations

import asyncio

from rehearsal.aws.front import Handler
from rehearsal.aws.rds.checks import Params, identifier, merged, offered, tags
from rehearsal.aws.rds.instances import Instance
from rehearsal.aws.rds.registry import Registry, Snapshot
from rehearsal.aws.wire import AwsError
from rehearsal.postgres.copies import Base

SNAPSHOT_SECONDS = (60.0, 120.0)


class Snapshots:
    """CreateDBSnapshot and DeleteDBSnapshot, and the daily ones."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {"CreateDBSnapshot": self._create, "DeleteDBSnapshot": self._delete}

    def keep_first(self, instance: Instance, base: Base) -> Snapshot:
        """The automated snapshot that exists when the rehearsal begins."""
        snapshot = self._new(f"rds:{instance.name}-{base.at:%Y-%m-%d-%H-%M}", instance, "automated", [])
        snapshot.created_at, snapshot.base, snapshot.status = base.at, base, "available"
        return snapshot

    async def take_automated(self, instance: Instance) -> Snapshot:
        """The daily snapshot of today, taken now; returns when it is complete."""
        instance.require("available")
        name = f"rds:{instance.name}-{self._registry.clock.now():%Y-%m-%d-%H-%M-%S}"
        snapshot = self._new(name, instance, "automated", [])
        instance.publish("backing-up")
        instance.begin(lambda: self._carry_out(instance, snapshot))
        await instance.settled()
        return snapshot

    async def first_of(self, instance: Instance) -> Base:
        """The first automated backup of an instance that has just got a retention period; returns what it holds."""
        name = f"rds:{instance.name}-{self._registry.clock.now():%Y-%m-%d-%H-%M-%S}"
        snapshot = self._new(name, instance, "automated", [])
        instance.publish("backing-up")
        await self._carry_out(instance, snapshot)
        assert snapshot.base is not None
        return snapshot.base

    def begin(self, name: str, instance: Instance, wanted: list[dict[str, str]]) -> Snapshot:
        """A manual snapshot that is being created; its name must be free."""
        self.free(instance.region, name)
        return self._new(name, instance, "manual", wanted)

    def free(self, region: str, name: str) -> None:
        """Raises DBSnapshotAlreadyExists unless nobody has the name."""
        if (region, name) in self._registry.snapshots:
            message = f"Cannot create the snapshot because a snapshot with the identifier {name} already exists."
            raise AwsError("DBSnapshotAlreadyExists", message)

    async def complete(self, instance: Instance, snapshot: Snapshot) -> None:
        """Takes the real base backup; a snapshot that can't be taken ends as "failed" and raises."""
        registry = self._registry
        registry.events.add(snapshot.subject, "Creating manual snapshot", "creation")
        try:
            assert instance.behind is not None
            snapshot.base, _ = await asyncio.gather(instance.behind.back_up(), registry.minimum(SNAPSHOT_SECONDS))
        except Exception:
            snapshot.status = "failed"
            raise
        snapshot.status = "available"
        registry.events.add(snapshot.subject, "Manual snapshot created", "creation")

    def _create(self, region: str, params: Params) -> Params:
        offered(params, "DBSnapshotIdentifier", "DBInstanceIdentifier", "Tags")
        instance = self._registry.instance(region, params["DBInstanceIdentifier"])
        name = identifier(params, "DBSnapshotIdentifier", longest=255)
        wanted = tags(params.get("Tags"))
        self.free(region, name)
        instance.require("available")
        snapshot = self.begin(name, instance, wanted)
        instance.publish("backing-up")
        instance.begin(lambda: self._carry_out(instance, snapshot))
        return {"DBSnapshot": snapshot.view()}

    async def _carry_out(self, instance: Instance, snapshot: Snapshot) -> None:
        self._registry.events.add(instance.source, "Backing up DB instance", "backup")
        try:
            await self.complete(instance, snapshot)
        finally:
            instance.publish("available")
        self._registry.events.add(instance.source, "Finished DB Instance backup", "backup")

    async def _delete(self, region: str, params: Params) -> Params:
        snapshot = self._registry.snapshot(region, params["DBSnapshotIdentifier"])
        if snapshot.kind == "automated":
            message = f"The parameter DBSnapshotIdentifier is not a valid identifier: {snapshot.name} is an automated snapshot."
            raise AwsError("InvalidParameterValue", message)
        if snapshot.status not in ("available", "failed"):
            raise AwsError("InvalidDBSnapshotState", f"DBSnapshot {snapshot.name} is in the state {snapshot.status}.")
        del self._registry.snapshots[region, snapshot.name]
        if snapshot.base is not None:
            await self._registry.backups.discard(snapshot.base)
        snapshot.status = "deleted"
        self._registry.events.add(snapshot.subject, "Deleted manual snapshot", "deletion")
        return {"DBSnapshot": snapshot.view()}

    def _new(self, name: str, instance: Instance, kind: str, wanted: list[dict[str, str]]) -> Snapshot:
        copied = list(instance.tags) if instance.settings["CopyTagsToSnapshot"] else []
        snapshot = Snapshot(
            name=name,
            region=instance.region,
            kind=kind,
            source=instance.name,
            resource_id=instance.resource_id,
            settings=dict(instance.settings),
            zone=instance.state.zone,
            created_at=self._registry.clock.now(),
            instance_created_at=instance.created_at,
            tags=merged(copied, wanted),
            source_tags=copied,
        )
        self._registry.snapshots[snapshot.region, snapshot.name] = snapshot
        return snapshot
