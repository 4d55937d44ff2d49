"""What is read before a region failover, from several vantage points at once, each with a few seconds: one region may be dead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from actions.aws import route53
from actions.aws.deployments import Service, describe_service
from actions.aws.promotion import ReplicaSeen, describe_replica
from actions.aws.route53 import Record
from actions.aws.secrets import Leads, leads_to
from actions.db.counts import facts_name
from actions.db.reach import connect_to
from actions.db.replication import Replica, replica_position
from actions.db.rhythm import Rhythm, rhythm_name
from actions.errors import Unreachable
from actions.kept import Kept
from actions.site import DatabaseRef, Dns, ServiceSection
from actions.world import World
from commands.facts import Fact, read
from commands.region.meant import Meant

if TYPE_CHECKING:
    from actions.db.diagnosis import State

SOURCE_SECONDS = 4.0  # what one source gets; a plan must stand in the channel after 6 s
SECOND_ASKED = 0.9  # seconds after the first
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class User:
    """A service that uses the database: in the primary region, in the DR region, and what its addresses answer."""

    site: ServiceSection
    service: Fact[Service]
    dr_service: Fact[Service]
    health: Fact[int]
    region_health: Fact[int] | None
    dr_leads: Fact[Leads] | None


@dataclass(frozen=True, kw_only=True)
class Name:
    """The public name: the id of its zone, and its records."""

    settings: Dns
    zone: str
    records: tuple[Record, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """What a simple record points to."""
        return tuple(value for one in self.records for value in one.values)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read, and what was kept while all was well."""

    meant: Meant
    now: datetime
    instance: Fact[ReplicaSeen]
    server: Fact[State]
    replica: Fact[ReplicaSeen]
    position: Fact[Replica]
    users: tuple[User, ...]
    name: Fact[Name] | None
    rhythm: Rhythm | None
    kept: Kept | None

    @property
    def promoted(self) -> bool:
        """Whether the replica is a database of its own by now."""
        return self.position.value is not None and not self.position.value.in_recovery

    @property
    def primary_answers(self) -> bool:
        """Whether the primary's server answers, and is one."""
        return self.server.value is not None and not self.server.value.in_recovery

    def tasks(self, user: User) -> int | None:
        """How many tasks the service had, now or when all was well; None if nobody knows."""
        if user.service.value is not None and user.service.value.desired:
            return user.service.value.desired
        known = self.kept.facts.get("tasks", {}).get(user.site.service) if self.kept else None
        return int(known) if known else None


async def look(world: World, meant: Meant) -> Seen:
    """Read all sources at once."""
    primary, replica = meant.primary, meant.replica
    async with asyncio.TaskGroup() as group:
        instance = group.create_task(_read(f"RDS in {primary.region}", describe_replica(world, primary, briefly=True)))
        server = group.create_task(_read(primary.instance, _state(world, primary)))
        of_replica = group.create_task(_read(f"RDS in {replica.region}", describe_replica(world, replica, briefly=True)))
        position = group.create_task(_read(replica.instance, _position(world, replica)))
        users = [group.create_task(_user(world, service, meant)) for service in meant.services]
        name = group.create_task(_read("Route 53", _name(world, meant.dns))) if meant.dns else None
        rhythm = group.create_task(_kept(world, rhythm_name(primary.name)))
        kept = group.create_task(_kept(world, facts_name(primary.name)))
    beats = rhythm.result()
    return Seen(
        meant=meant,
        now=datetime.now(UTC),
        instance=instance.result(),
        server=server.result(),
        replica=of_replica.result(),
        position=position.result(),
        users=tuple(user.result() for user in users),
        name=name.result() if name else None,
        rhythm=Rhythm.from_json(beats.facts) if beats else None,
        kept=kept.result(),
    )


async def _user(world: World, site: ServiceSection, meant: Meant) -> User:
    here, there, secret = meant.primary.region, meant.replica.region, site.database_secret
    asked = {"cluster": site.cluster, "service": site.service, "briefly": True}
    async with asyncio.TaskGroup() as group:
        service = group.create_task(_read(f"ECS in {here}", describe_service(world, region=here, **asked)))  # type: ignore[arg-type]
        dr_service = group.create_task(_read(f"ECS in {there}", describe_service(world, region=there, **asked)))  # type: ignore[arg-type]
        health = group.create_task(_read(site.health_url, _status(world, site.health_url)))
        inside = site.region_health_url
        region_health = group.create_task(_read(inside, _status(world, inside))) if inside else None
        leads = group.create_task(_read(f"Secret {secret} in {there}", leads_to(world, secret, there))) if secret else None
    return User(
        site=site,
        service=service.result(),
        dr_service=dr_service.result(),
        health=health.result(),
        region_health=region_health.result() if region_health else None,
        dr_leads=leads.result() if leads else None,
    )


async def _state(world: World, database: DatabaseRef) -> State:
    connections = await connect_to(world, database)
    return await _twice(connections.state)


async def _position(world: World, database: DatabaseRef) -> Replica:
    connections = await connect_to(world, database)
    return await _twice(lambda: replica_position(connections))


async def _twice(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer of two questions, a second apart: which plan comes out hangs on it, and one connection may hang."""
    asked = {asyncio.ensure_future(ask())}
    try:
        done, _ = await asyncio.wait(asked, timeout=SECOND_ASKED)
        if not done or next(iter(done)).exception():
            asked.add(asyncio.ensure_future(ask()))
        for answer in asyncio.as_completed(asked):
            try:
                return await answer
            except Unreachable as error:
                failed = error
        raise failed
    finally:
        for question in asked:
            question.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _status(world: World, url: str) -> int:
    return (await world.http.get(url)).status


async def _name(world: World, settings: Dns) -> Name:
    zone = await route53.zone_id(world, settings.zone)
    found = await route53.records(world, zone, settings.name, settings.type, briefly=True)
    return Name(settings=settings, zone=zone, records=found)


async def _kept(world: World, name: str) -> Kept | None:
    try:
        async with asyncio.timeout(SOURCE_SECONDS):
            return await world.kept(name)
    except (TimeoutError, Unreachable):
        return None


async def _read(source: str, question: Awaitable[T]) -> Fact[T]:
    return await read(source, question, timeout=SOURCE_SECONDS)
