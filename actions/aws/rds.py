"""RDS: what an instance is doing, and the forced failover to its standby, with its proof."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from actions.aws.call import AwsUnreachable, Call
from actions.aws.follow import follow
from actions.errors import Unreachable
from actions.scrub import scrub
from actions.site import DatabaseRef
from actions.step import Action, Check
from actions.values import Facts, Finding, Outcome, Proof, Verdict, done, ok, stop

if TYPE_CHECKING:
    from actions.world import World

STARTED, COMPLETED, REQUESTED = "failover started", "failover completed", "requested a failover"  # RDS-EVENT-0013, 0015, 0034
RECENT = timedelta(minutes=15)
LEAST = 20.0  # seconds of our own clock: a rehearsal's database is no faster than a real one
TYPICAL = "AWS gives 60 to 120 s as typical"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A database instance as DescribeDBInstances reports it, at AWS's time `at`. Zones are "" if there are none.

    `resource_id` stays the same when an instance is renamed, and changes when it is deleted and created again.
    """

    name: str
    arn: str
    resource_id: str
    status: str
    multi_az: bool
    zone: str
    standby_zone: str
    restorable_to: datetime | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of an instance."""

    at: datetime
    message: str

    @property
    def key(self) -> str:
        """What tells events apart."""
        return f"{self.at.isoformat()} {self.message}"


async def describe_instance(world: World, instance: str, region: str) -> Instance:
    """The instance as it is now. Raises `AwsUnreachable` with code DBInstanceNotFound if there is none."""
    answer = await world.aws.read(_call("DescribeDBInstances", region, DBInstanceIdentifier=instance))
    if not answer.get("DBInstances"):
        raise AwsUnreachable(f"RDS in {region} has no instance {instance}.", code="DBInstanceNotFound")
    raw = answer["DBInstances"][0]
    return Instance(
        name=raw["DBInstanceIdentifier"],
        arn=raw.get("DBInstanceArn", ""),
        resource_id=raw.get("DbiResourceId", ""),
        status=raw.get("DBInstanceStatus", "unknown"),
        multi_az=bool(raw.get("MultiAZ")),
        zone=raw.get("AvailabilityZone", ""),
        standby_zone=raw.get("SecondaryAvailabilityZone", ""),
        restorable_to=raw.get("LatestRestorableTime"),
        at=answer.server_time,
    )


async def events(world: World, instance: str, region: str, *, since: datetime) -> list[Event]:
    """The instance's events since then, oldest first; RDS may list one a minute late."""
    parameters = {"SourceIdentifier": instance, "SourceType": "db-instance", "StartTime": since.isoformat()}
    call = Call(service="rds", operation="DescribeEvents", region=region, parameters=parameters)
    found = await world.aws.read_all(call, "Events", token="Marker")
    return sorted((Event(at=raw["Date"], message=scrub(raw.get("Message", ""))) for raw in found), key=lambda event: event.at)


def under_way(found: Sequence[Event]) -> bool:
    """Whether the last word on failovers is that one has started."""
    said = [event.message for event in found if STARTED in event.message or COMPLETED in event.message]
    return bool(said) and STARTED in said[-1]


@dataclass(frozen=True, kw_only=True)
class _OnInstance:
    """What every step on an instance says of it."""

    database: DatabaseRef

    @property
    def instance(self) -> str:
        """The name of the instance."""
        return self.database.instance

    @property
    def region(self) -> str:
        """The region of the instance."""
        return self.database.region

    @property
    def target(self) -> str:
        """The instance, as a run locks it."""
        return str(self.database)


@dataclass(frozen=True, kw_only=True)
class FailOver(_OnInstance, Action, kind="rds.fail_over"):
    """Fail the database over: RDS promotes the standby in the other zone; all connections are cut meanwhile."""

    timeout: ClassVar[float] = 600.0
    settle: ClassVar[float] = 180.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = (
        "rds:RebootDBInstance",
        "rds:DescribeDBInstances",
        "rds:DescribeEvents",
        "postgresql:CONNECT",
    )

    @property
    def title(self) -> str:
        return f"Fail database {self.instance} over to its standby"

    @property
    def call(self) -> Call:
        """The one request."""
        return _call("RebootDBInstance", self.region, DBInstanceIdentifier=self.instance, ForceFailover=True)

    def command(self) -> str:
        return self.call.command()

    async def observe(self, world: World) -> Facts:
        seen, started = await asyncio.gather(describe_instance(world, self.instance, self.region), self._started(world))
        before = await events(world, self.instance, self.region, since=seen.at - RECENT)
        return {
            "t0": seen.at.isoformat(),
            "our_clock": datetime.now(UTC).isoformat(),
            "status": seen.status,
            "multi_az": seen.multi_az,
            "zone": seen.zone,
            "standby_zone": seen.standby_zone,
            "under_way": under_way(before),
            "events": [event.key for event in before],
            "postmaster_start": started.isoformat() if started else None,
        }

    def precheck(self, facts: Facts) -> Finding:
        if not facts["multi_az"]:
            return stop(f"{self.instance} is not Multi-AZ, so there is no standby to fail over to.")
        if facts["status"] != "available" or facts["under_way"]:
            doing = "a failover is under way" if facts["under_way"] else f"its status is {facts['status']}"
            return stop(f"{self.instance} cannot be failed over now: {doing}. Plan again; the plan will watch it.")
        return ok(f"{self.instance} is available in {facts['zone']} with a standby in {facts['standby_zone'] or 'another zone'}.")

    async def apply(self, world: World, facts: Facts) -> Facts:
        answer = await world.aws.change(self.call)
        return {"request_id": answer.request_id, "status": answer.get("DBInstance", {}).get("DBInstanceStatus", "")}

    async def applied(self, world: World, facts: Facts) -> Proof:
        instance, since, started = await self._sources(world, facts)
        return judge_failover(facts, instance, since, started)

    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        gave_up = f"The failover of {self.instance} is not finished"
        return await follow(world, partial(self._follow, world, facts), gave_up=gave_up, timeout=self.timeout, at_least=LEAST)

    async def _follow(self, world: World, facts: Facts, _passed: float) -> Outcome | str:
        """One look at our failover: that it is over, or what is still missing."""
        instance, since, started = await self._sources(world, facts)
        said = _unfinished(facts, instance, since)
        if instance is None or said:
            return said
        if not _newer(started, facts) and (refusal := await _writes(world, self.database)):
            return f"it is available again in {instance.zone}, but takes no writes: {refusal}"
        moved = f"from {facts['zone']} to {instance.zone}" if instance.zone != facts["zone"] else f"and is in {instance.zone}"
        return done(f"{self.instance} failed over {moved}; it took {_elapsed(world, facts):.0f} s ({TYPICAL}).")

    async def _sources(self, world: World, facts: Facts) -> tuple[Instance | None, list[Event] | None, datetime | None]:
        """The instance, the events since, the server's start; None for a source that did not answer."""
        t0 = datetime.fromisoformat(facts["t0"])
        instance, found, started = await asyncio.gather(
            describe_instance(world, self.instance, self.region),
            events(world, self.instance, self.region, since=t0),
            self._started(world),
            return_exceptions=True,
        )
        for answer in (instance, found, started):
            if isinstance(answer, BaseException) and not isinstance(answer, Unreachable):
                raise answer
        fresh = None if isinstance(found, BaseException) else [event for event in found if event.key not in facts["events"]]
        return (
            None if isinstance(instance, BaseException) else instance,
            fresh,
            None if isinstance(started, BaseException) else started,
        )

    async def _started(self, world: World) -> datetime | None:
        """When the server started; None if it doesn't answer."""
        try:
            return (await world.database(self.database).state()).started_at
        except Unreachable:
            return None


@dataclass(frozen=True, kw_only=True)
class FailoverFinished(_OnInstance, Check, kind="rds.failover_finished"):
    """Watch a failover that is already under way until the instance is available and takes a write. Nothing is asked of RDS."""

    timeout: ClassVar[float] = 600.0
    plane: ClassVar[str] = "control"
    permissions: ClassVar[tuple[str, ...]] = ("rds:DescribeDBInstances", "rds:DescribeEvents", "postgresql:CONNECT")

    @property
    def title(self) -> str:
        return f"Watch the failover of {self.instance}"

    def command(self) -> str:
        return _call("DescribeDBInstances", self.region, DBInstanceIdentifier=self.instance).command()

    async def look(self, world: World) -> Outcome:
        gave_up = f"The failover of {self.instance} is not finished"
        return await follow(world, partial(self._follow, world), gave_up=gave_up, timeout=self.timeout, at_least=LEAST)

    async def _follow(self, world: World, passed: float) -> Outcome | str:
        instance = await describe_instance(world, self.instance, self.region)
        found = await events(world, self.instance, self.region, since=instance.at - RECENT)
        if instance.status != "available" or under_way(found):
            return f"its status is {instance.status}" + (", a failover is under way" if under_way(found) else "")
        if refusal := await _writes(world, self.database):
            return f"it is available, but takes no writes: {refusal}"
        return done(f"{self.instance} is available in {instance.zone} and takes writes, seen after {passed:.0f} s.")


def judge_failover(
    facts: Mapping[str, Any], instance: Instance | None, since: Sequence[Event] | None, started: datetime | None
) -> Proof:
    """Whether a failover began since `facts`. None is a source that did not answer: RDS's own must, to say that nothing did."""
    signs = []
    if instance is not None and instance.status == "rebooting":
        signs.append("its status is rebooting")
    if instance is not None and instance.zone != facts["zone"]:
        signs.append(f"it moved from {facts['zone']} to {instance.zone}")
    signs += [f"RDS says {event.message!r}" for event in since or [] if _speaks_of_failover(event)]
    if _newer(started, facts):
        signs.append(f"its server started again at {started:%H:%M:%S} UTC")
    if signs:
        return Proof(verdict=Verdict.DONE, says=f"The failover began: {', '.join(signs)}.", receipt={"signs": signs})
    if instance is None or since is None:
        silent = "instance" if instance is None else "events"
        return Proof(verdict=Verdict.UNKNOWN, says=f"RDS does not report the {silent}, and nothing else shows a failover.")
    if instance.status != "available":
        return Proof(verdict=Verdict.UNKNOWN, says=f"{instance.name} is {instance.status}; RDS lists no failover so far.")
    return Proof(verdict=Verdict.NOT_DONE, says=f"Nothing changed: {instance.name} is available in {instance.zone}, no failover.")


def _unfinished(facts: Mapping[str, Any], instance: Instance | None, since: Sequence[Event] | None) -> str:
    """What is still missing of a finished failover; "" if nothing is."""
    if instance is None:
        return "RDS does not answer."
    if instance.status != "available":
        return f"its status is {instance.status}."
    completed = any(COMPLETED in event.message for event in since or [])
    return "" if completed or instance.zone != facts["zone"] else f"it is still in {instance.zone}, and no event says completed."


def _speaks_of_failover(event: Event) -> bool:
    return any(words in event.message for words in (STARTED, COMPLETED, REQUESTED))


def _newer(started: datetime | None, facts: Mapping[str, Any]) -> bool:
    """Whether the server started after the facts: later than before, or, if that is unknown, later than AWS's t0."""
    known_before = facts["postmaster_start"]
    return started is not None and started > datetime.fromisoformat(known_before or facts["t0"])


def _elapsed(world: World, facts: Mapping[str, Any]) -> float:
    passed = datetime.now(UTC) - datetime.fromisoformat(facts["our_clock"])
    return passed.total_seconds() * world.site.aws.speed


async def _writes(world: World, database: DatabaseRef) -> str:
    """Why the database takes no writes; "" if it takes them."""
    try:
        await world.database(database).write_probe()
    except Unreachable as error:
        return str(error)
    return ""


def _call(operation: str, region: str, **parameters: Any) -> Call:
    return Call(service="rds", operation=operation, region=region, parameters=parameters)
