"""One example of every action that changes something in AWS, ready to be carried out in a `Rig`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from actions.aws.desired_count import SetDesiredCount, StartUnless
from actions.aws.drops import ChangeSettings, DropInstance
from actions.aws.ecs import ForceNewDeployment, RollBack
from actions.aws.instances import find_instance
from actions.aws.promotion import CreateReplica, PromoteReplica, of_replicas
from actions.aws.rds import FailOver
from actions.aws.restores import RestoreSnapshot, RestoreToTime
from actions.aws.route53 import UpsertRecord
from actions.aws.secrets import MoveStage, PutVersion
from actions.aws.settings import copied, left_out, restorable
from actions.aws.snapshots import CreateSnapshot
from actions.site import DatabaseRef
from actions.step import Action
from rehearsal.aws.cloud import DATABASE_SECRET
from tests.world.aws_world import EAST, WEST
from tests.world.fast_aws import IN_EAST, IN_WEST, NAME, PROD, TAG, Rig

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


def replica_of(rig: Rig) -> DatabaseRef:
    """Production's replica in the other region, which is there from now on."""
    return DatabaseRef(name="replica", instance=rig.add_replica().name, region=EAST, dsn_env="DR_DATABASE_URL")


async def start_unless(rig: Rig) -> StartUnless:
    count = 1 if rig.rehearsal.ecs.scheduler.desired > 1 else 2
    return StartUnless(**SERVICE, count=count, replica=replica_of(rig))


async def promote_replica(rig: Rig) -> PromoteReplica:
    return PromoteReplica(database=replica_of(rig), retention=35)


async def create_replica(rig: Rig) -> CreateReplica:
    source = await find_instance(rig.world, PROD, WEST)
    assert source
    key = "arn:aws:kms:us-east-1:123456789012:key/5e7a1dab-0000-4000-8000-000000000001"
    return CreateReplica(
        region=EAST,
        instance="shielda-replica-again",
        original=DatabaseRef(name="primary", instance=PROD, region=WEST, dsn_env="DATABASE_URL"),
        source_arn=rig.rds.production.arn,
        settings={**of_replicas(source.settings, other_region=False), "KmsKeyId": key, "MultiAZ": False},
        tags=copied(source.tags),
        tag=TAG,
    )


async def upsert_record(rig: Rig) -> UpsertRecord:
    assert rig.rehearsal.route53
    zone = rig.rehearsal.route53.zone_id
    return UpsertRecord(zone_id=zone, name=NAME, type="CNAME", value=IN_EAST, was=IN_WEST)


Builder = Callable[[Rig], Awaitable[Action]]
BUILDERS: dict[str, Builder] = {
    "ecs.force_new_deployment": force,
    "ecs.roll_back": roll_back,
    "ecs.set_desired_count": set_count,
    "ecs.start_unless_promoted": start_unless,
    "rds.change_settings": change_settings,
    "rds.create_replica": create_replica,
    "rds.create_snapshot": create_snapshot,
    "rds.drop_instance": drop_instance,
    "rds.fail_over": fail_over,
    "rds.promote_replica": promote_replica,
    "rds.restore_snapshot": restore_snapshot,
    "rds.restore_to_time": restore_to_time,
    "route53.upsert_record": upsert_record,
    "secrets.move_stage": move_stage,
    "secrets.put_version": put_version,
}
