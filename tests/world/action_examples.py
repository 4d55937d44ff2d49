"""One example of every action that changes something in AWS, ready to be carried out in a `Rig`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from actions.aws.desired_count import SetDesiredCount
from actions.aws.drops import ChangeSettings, DropInstance
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.instances import find_instance
from actions.aws.rds import FailOver
from actions.aws.restores import RestoreSnapshot, RestoreToTime
from actions.aws.secrets import MoveStage, PutVersion
from actions.aws.settings import copied, left_out, restorable
from actions.aws.snapshots import CreateSnapshot
from actions.base import Action
from actions.site import DatabaseRef
from rehearsal.aws.cloud import DATABASE_SECRET
from tests.world.aws_world import WEST
from tests.world.fast_aws import PROD, TAG, Rig

SERVICE = {"cluster": "shielda", "service": "control-plane", "region": WEST}


async def force(rig: Rig) -> ForceNewDeployment:
    return ForceNewDeployment(**SERVICE)


async def roll_back(rig: Rig) -> RollBack:
    """A rollback to whichever revision isn't deployed."""
    return RollBack(**SERVICE, task_definition=f"control-plane:{13 - rig.rehearsal.ecs.scheduler.primary.revision.number}")


async def fail_over(rig: Rig) -> FailOver:
    return FailOver(database=DatabaseRef(name="primary", instance=PROD, region=WEST, dsn_env="DATABASE_URL"))


async def set_count(rig: Rig) -> SetDesiredCount:
    """One task more or less."""
    return SetDesiredCount(**SERVICE, count=1 if rig.rehearsal.ecs.scheduler.desired > 1 else 2)


async def create_snapshot(rig: Rig) -> CreateSnapshot:
    return CreateSnapshot(instance=PROD, snapshot="shielda-prod-before-restore", region=WEST)


async def restore_to_time(rig: Rig) -> RestoreToTime:
    source = await find_instance(rig.world, PROD, WEST)
    assert source
    return RestoreToTime(
        source=PROD,
        instance="shielda-prod-restored",
        region=WEST,
        at=(datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="seconds"),
        settings=restorable(source.settings),
        tags=copied(source.tags),
        tag=TAG,
    )


async def restore_snapshot(rig: Rig) -> RestoreSnapshot:
    (snapshot,) = (one.name for one in rig.rds.registry.snapshots.values() if one.kind == "automated")
    source = await find_instance(rig.world, PROD, WEST)
    assert source
    held = {**restorable(source.settings, from_snapshot=True), "DeletionProtection": False}
    return RestoreSnapshot(
        snapshot=snapshot, instance="shielda-verify-test", region=WEST, settings=held, tags=copied(source.tags), tag=TAG
    )


async def drop_instance(rig: Rig) -> DropInstance:
    rig.add_instance("shielda-verify-old")
    return DropInstance(instance="shielda-verify-old", region=WEST, tag=TAG)


async def change_settings(rig: Rig) -> ChangeSettings:
    rig.add_instance("shielda-prod-restored")
    source = await find_instance(rig.world, PROD, WEST)
    assert source
    return ChangeSettings(instance="shielda-prod-restored", region=WEST, tag=TAG, settings=left_out(source.settings))


async def put_version(rig: Rig) -> PutVersion:
    rig.add_instance("shielda-prod-restored")
    return PutVersion(
        secret_id=DATABASE_SECRET, region=WEST, version=str(uuid.uuid4()), current=rig.current, instance="shielda-prod-restored"
    )


async def move_stage(rig: Rig) -> MoveStage:
    return MoveStage(secret_id=DATABASE_SECRET, region=WEST, version=rig.add_version(), current=rig.current)


Builder = Callable[[Rig], Awaitable[Action]]
BUILDERS: dict[str, Builder] = {
    "ecs.force_new_deployment": force,
    "ecs.roll_back": roll_back,
    "ecs.set_desired_count": set_count,
    "rds.change_settings": change_settings,
    "rds.create_snapshot": create_snapshot,
    "rds.drop_instance": drop_instance,
    "rds.fail_over": fail_over,
    "rds.restore_snapshot": restore_snapshot,
    "rds.restore_to_time": restore_to_time,
    "secrets.move_stage": move_stage,
    "secrets.put_version": put_version,
}
