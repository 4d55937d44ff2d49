"""Replicas in another region: promoting one, which nothing takes back, and making a new one.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ReadRepl.Promote.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from actions.aws.call import AwsUnreachable, Call
from actions.aws.creation import Create, Seen
from actions.aws.follow import follow
from actions.aws.instances import BROKEN, find_instance, rds
from actions.aws.settings import SETTINGS, Settings, differences, settings_of, tag_list, tags_of
from actions.errors import Unreachable
from actions.site import DatabaseRef
from actions.step import Action
from actions.values import Facts, Finding, Outcome, Proof, Verdict, already_done, done, failed, ok, stop

if TYPE_CHECKING:
    from actions.world import World

UNDER_WAY = ("modifying", "rebooting")  # what RDS calls an instance that it promotes
NOT_OF_REPLICAS = (  # settings that CreateDBInstanceReadReplica does not take; a promotion or a change sets them
    "BackupRetentionPeriod", "PreferredBackupWindow", "LicenseModel", "EngineLifecycleSupport", "PreferredMaintenanceWindow",
    "EngineVersion",
)  # fmt: skip
OF_A_REGION = (  # that mean something else in another region, or nothing
    "DBSubnetGroupName", "VpcSecurityGroupIds", "DBParameterGroupName", "OptionGroupName", "KmsKeyId", "MonitoringRoleArn",
    "MonitoringInterval",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReplicaSeen:
    """An instance as far as its replication goes. `source` is the instance or ARN that it replicates, "" for a primary."""

    status: str
    source: str
    arn: str
    resource_id: str
    replicas: tuple[str, ...]
    retention: int
    multi_az: bool
    settings: Settings
    tags: Mapping[str, str]


async def describe_replica(world: World, database: DatabaseRef, *, briefly: bool = False) -> ReplicaSeen:
    """The instance as it is now. Raises `AwsUnreachable`, with code DBInstanceNotFound if there is none.

    `briefly` asks once: a region that may be dead must not hold up a plan.
    """
    ask = world.aws.probe if briefly else world.aws.read
    answer = await ask(rds("DescribeDBInstances", database.region, DBInstanceIdentifier=database.instance))
    if not answer.get("DBInstances"):
        raise AwsUnreachable(f"RDS in {database.region} has no instance {database.instance}.", code="DBInstanceNotFound")
    return _seen(answer["DBInstances"][0])


async def was_promoted(world: World, database: DatabaseRef) -> bool:
    """Whether this is no longer a replica; one that doesn't exist was never promoted. Raises `AwsUnreachable`."""
    try:
        seen = await describe_replica(world, database)
    except AwsUnreachable as error:
        if error.code.startswith("DBInstanceNotFound"):
            return False
        raise
    return not seen.source or seen.status in UNDER_WAY


@dataclass(frozen=True, kw_only=True)
class PromoteReplica(Action, kind="rds.promote_replica"):
    """Promote a read replica to a database of its own. Nothing takes that back, and it is never repeated."""

    database: DatabaseRef
    retention: int

    timeout: ClassVar[float] = 1800.0
    settle: ClassVar[float] = 120.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = ("rds:PromoteReadReplica", "rds:DescribeDBInstances")

    @property
    def region(self) -> str:
        """The region of the replica."""
        return self.database.region

    @property
    def title(self) -> str:
        return f"Promote {self.database.instance} in {self.database.region}"

    @property
    def target(self) -> str:
        return str(self.database)

    @property
    def call(self) -> Call:
        """The one request. Backups are off on a replica, so the retention is said."""
        names = {"DBInstanceIdentifier": self.database.instance, "BackupRetentionPeriod": self.retention}
        return rds("PromoteReadReplica", self.database.region, **names)

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        seen = await describe_replica(world, self.database)
        return {"status": seen.status, "source": seen.source}

    def precheck(self, facts: Facts) -> Finding | Outcome:
        name, status = self.database.instance, facts["status"]
        if not facts["source"] and status == "available":
            return already_done(f"{name} is no longer a replica: it was promoted before. It is not promoted again.")
        if not facts["source"]:
            return stop(f"{name} replicates nothing and is {status}: there is nothing to promote.")
        if status == "backing-up":
            return stop(f"{name} is backing-up, and RDS refuses a promotion meanwhile. Wait until it's available, then retry.")
        if status != "available":
            return stop(f"{name} is {status}, and only an available replica can be promoted. Wait, then retry.")
        return ok(f"{name} is available and replicates {facts['source']}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        return {"request_id": (await world.aws.change(self.call)).request_id}

    async def applied(self, world: World, facts: Facts) -> Proof:
        try:
            seen = await describe_replica(world, self.database)
        except Unreachable as error:
            return Proof(verdict=Verdict.UNKNOWN, says=str(error))
        return judge_promotion(self.database.instance, seen.status, seen.source)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        async def look(passed: float) -> Outcome | str:
            seen = await describe_replica(world, self.database)
            if seen.status in BROKEN:
                return failed(f"{self.database.instance} is {seen.status} after its promotion. Look at its events in RDS.")
            if not seen.source and seen.status == "available":
                kept = f"backups are kept for {seen.retention} days"
                return done(f"{self.database.instance} is a database of its own after {passed:.0f} s; {kept}.")
            return f"{self.database.instance} is {seen.status}{' and still a replica' if seen.source else ''}."

        gave_up = f"The promotion of {self.database.instance} is not finished"
        return await follow(world, look, gave_up=gave_up, timeout=self.timeout, at_least=30.0)


@dataclass(frozen=True, kw_only=True)
class CreateReplica(Create, kind="rds.create_replica"):
    """Create a read replica of a database in another region, set up as specified; the source stays as it is."""

    instance: str
    original: DatabaseRef
    source_arn: str
    settings: Settings
    tags: Mapping[str, str]
    tag: str

    timeout: ClassVar[float] = 4 * 3600.0
    taken: ClassVar[str] = "DBInstanceAlreadyExists"
    touches_production: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "rds:CreateDBInstanceReadReplica",
        "rds:AddTagsToResource",
        "rds:DescribeDBInstances",
    )

    @property
    def title(self) -> str:
        return f"Create {self.instance} in {self.region}, a replica of {self.original.instance}"

    @property
    def thing(self) -> str:
        return f"database {self.instance}"

    @property
    def call(self) -> Call:
        """The one request. RDS takes the source of another region only as an ARN."""
        key, _, value = self.tag.partition("=")
        tags = tag_list({**self.tags, key: value, "dr-source": self.original.instance})
        names = {"DBInstanceIdentifier": self.instance, "SourceDBInstanceIdentifier": self.source_arn}
        region = {"SourceRegion": self.original.region} if self.original.region != self.region else {}
        return rds("CreateDBInstanceReadReplica", self.region, **names, **region, **self.settings, Tags=tags)

    async def look_at_source(self, world: World) -> Facts:
        seen = await describe_replica(world, self.original)
        return {"source_status": seen.status, "source_of_source": seen.source}

    def judge_source(self, facts: Facts) -> Finding:
        if facts["source_of_source"]:
            return stop(f"{self.original.instance} is a replica itself. Replicas are made of the database that serves.")
        if facts["source_status"] not in ("available", "storage-optimization"):
            return stop(f"{self.original.instance} is {facts['source_status']}; wait until it's available, then retry.")
        return ok(f"{self.original.instance} is {facts['source_status']}.")

    async def find(self, world: World) -> Seen | None:
        found = await find_instance(world, self.instance, self.region)
        return Seen(status=found.status, marks=found.tags) if found else None

    def marks(self, facts: Facts) -> Mapping[str, str]:
        key, _, value = self.tag.partition("=")
        return {key: value, "dr-source": self.original.instance}

    async def detail(self, world: World, seen: Seen) -> str:
        found = await find_instance(world, self.instance, self.region)
        wrong = differences(self.settings, found.settings) if found else []
        return f"It is not as it was asked for: {'; '.join(wrong)}." if wrong else ""


def judge_promotion(name: str, status: str, source: str) -> Proof:
    """Whether a promotion began: the source is gone, or RDS works on it. Not done only if it is an available replica."""
    if not source:
        return Proof(verdict=Verdict.DONE, says=f"{name} replicates nothing any more; it is {status}.")
    if status in UNDER_WAY:
        return Proof(verdict=Verdict.DONE, says=f"{name} is {status}: the promotion is under way.")
    if status in ("available", "backing-up"):
        return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {name} is {status} and still a replica.")
    return Proof(verdict=Verdict.UNKNOWN, says=f"{name} is {status} and still a replica.")


def of_replicas(settings: Settings, *, other_region: bool) -> dict[str, object]:
    """What of an instance's settings the request for a replica takes; in another region without what belongs to the first."""
    without = {*NOT_OF_REPLICAS, *(OF_A_REGION if other_region else ()), "Iops", "StorageThroughput", "AllocatedStorage"}
    return {name: value for name, value in settings.items() if name in SETTINGS and name not in without}


def _seen(raw: Mapping[str, Any]) -> ReplicaSeen:
    replicas = raw.get("ReadReplicaDBInstanceIdentifiers") or ()
    return ReplicaSeen(
        status=str(raw.get("DBInstanceStatus", "unknown")),
        source=str(raw.get("ReadReplicaSourceDBInstanceIdentifier") or ""),
        arn=str(raw.get("DBInstanceArn") or ""),
        replicas=tuple(replicas) if isinstance(replicas, list | tuple) else (),
        retention=int(str(raw.get("BackupRetentionPeriod") or 0)),
        resource_id=str(raw.get("DbiResourceId") or ""),
        multi_az=bool(raw.get("MultiAZ")),
        settings=settings_of(raw),
        tags=tags_of(raw),
    )
