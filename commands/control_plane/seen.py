"""What is read about the control plane, all of it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.aws import deployments, logs
from actions.aws.deployments import Own, Revision, Rollout, Service, StoppedTask
from actions.aws.logs import LogLine
from actions.health import Health, ask_health
from actions.site import ServiceSection
from actions.world import World
from commands.control_plane.suspicion import Suspect
from commands.facts import Fact, read

if TYPE_CHECKING:
    from actions.db.diagnosis import Diagnosis

RESTART, ROLLBACK = "control-plane restart", "control-plane rollback"
DOWN = ("refused", "timeout", "starting", "slots used up", "read-only")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read about the control plane. `previous` is where one could roll back to."""

    site: ServiceSection
    service: Fact[Service]
    history: Fact[list[Rollout]]
    ours: Fact[Sequence[Own]]
    stopped: Fact[list[StoppedTask]]
    previous: Fact[Revision | None]
    lines: Fact[tuple[LogLine, ...]]
    health: Fact[Health]
    region_health: Fact[Health] | None
    database: Fact[Diagnosis]

    @property
    def healthy(self) -> bool:
        """Whether the public health address answers well."""
        return self.health.value is not None and self.health.value.good

    @property
    def healthy_inside(self) -> bool:
        """Whether the region's own health address answers well."""
        return self.region_health is not None and self.region_health.value is not None and self.region_health.value.good

    @property
    def suspect(self) -> Suspect | None:
        """What runs now, with its past; None if ECS doesn't say."""
        service = self.service.value
        if service is None or service.primary is None:
            return None
        records, ours = self.history.value or (), self.ours.value or ()
        return Suspect(service=service, primary=service.primary, records=records, ours=ours)

    @property
    def database_down(self) -> bool:
        """Whether the database is known to be the trouble."""
        return self.database.value is not None and self.database.value.kind in DOWN


async def look(world: World, site: ServiceSection) -> Seen:
    """Read all sources at once; only the previous revision has to wait for the service's answer."""
    region = world.site.aws.region
    ecs = f"ECS in {region}"
    where = (world, site.cluster, site.service, region)
    async with asyncio.TaskGroup() as group:
        service = group.create_task(read("ECS service", deployments.describe_service(*where), of=ecs))
        history = group.create_task(read("ECS service deployments", deployments.history(*where), of=ecs))
        ours = group.create_task(read("This bot's own deployments", world.own_deployments(target(site))))
        stopped = group.create_task(read("ECS stopped tasks", deployments.stopped_tasks(*where), of=ecs))
        previous = group.create_task(read("The previous revision", _previous(world, service, history), of=ecs))
        lines = group.create_task(read(f"Log group {site.log_group}", logs.tail(world, site.log_group, region)))
        health = group.create_task(read("The health address", ask_health(world, site.health_url)))
        in_region = group.create_task(_region_health(world, site.region_health_url))
        database = group.create_task(read("The database", world.database(world.site.database(site.database)).diagnose()))
    return Seen(
        site=site,
        service=service.result(),
        history=history.result(),
        ours=ours.result(),
        stopped=stopped.result(),
        previous=previous.result(),
        lines=lines.result(),
        health=health.result(),
        region_health=in_region.result(),
        database=database.result(),
    )


async def _previous(
    world: World, service: asyncio.Task[Fact[Service]], history: asyncio.Task[Fact[list[Rollout]]]
) -> Revision | None:
    shielded = asyncio.shield(service), asyncio.shield(history)  # whoever gives this question up doesn't mean those
    now, records = (await shielded[0]).value, (await shielded[1]).value
    if now is None or not now.revision:
        return None
    return await deployments.previous_revision(world, world.site.aws.region, now.revision, records or [])


async def _region_health(world: World, url: str) -> Fact[Health] | None:
    return await read("The region's own health address", ask_health(world, url)) if url else None


def target(site: ServiceSection) -> str:
    """What a run on a service locks."""
    return f"service {site.cluster}/{site.service}"


def health_said(seen: Seen) -> str:
    """What the health address answered, as a sentence."""
    return seen.health.value.says if seen.health.value else f"{seen.health.source} could not be asked."


def revision(seen: Seen) -> str:
    """The revision that runs now."""
    return (seen.service.value.revision if seen.service.value else "") or "the current revision"
