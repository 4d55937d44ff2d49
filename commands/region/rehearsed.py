"""What the plan would be if the primary region were gone now: `dr check` asks before the night whether it needs nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from actions.values import Finding, ok
from actions.world import World
from commands.facts import Fact
from commands.region import plan_for
from commands.region.meant import Meant
from commands.region.seen import Seen, User, look
from commands.region.stability import dead_needs, needs_of, whole

GONE = "It does not answer."


async def steady(world: World) -> list[Finding]:
    """For each database with a replica: whether the plan without its region needs anything of it. Asks, and changes nothing."""
    findings: list[Finding] = []
    for name, section in world.site.databases.items():
        if section.replica:
            meant = Meant.of(world.site, world.site.database(name))
            findings += judge(world, as_if_gone(await look(world, meant)))
    return findings


def judge(world: World, seen: Seen) -> Sequence[Finding]:
    """Stop findings for what a plan needs of the dead region, and for what forbids it otherwise; else that all is well."""
    region, plan = seen.meant.primary.region, plan_for(world, seen, {})
    wrong = [*dead_needs(plan, world.site, [whole(region)]), *plan.forbidden]
    if wrong:
        return list(dict.fromkeys(replace(one, says=f"If {region} were gone: {one.says}") for one in wrong))
    needed = ", ".join(sorted({need.region for need in needs_of(plan, world.site)}))
    return [ok(f"If {region} were gone, `/dr region failover` would need nothing of it, only {needed}.")]


def as_if_gone(seen: Seen) -> Seen:
    """What would be seen if nothing of the primary region answered any more."""
    return replace(
        seen,
        instance=_gone(seen.instance),
        server=_gone(seen.server),
        users=tuple(_user(user) for user in seen.users),
        position=_deaf(seen),
    )


def _user(user: User) -> User:
    inside = _gone(user.region_health) if user.region_health else None
    return replace(user, service=_gone(user.service), health=_gone(user.health), region_health=inside)


def _deaf(seen: Seen) -> Fact[Any]:
    """The replica, which hears its primary no more."""
    return replace(seen.position, value=replace(seen.position.value, heard_at=None)) if seen.position.value else seen.position


def _gone(fact: Fact[Any]) -> Fact[Any]:
    return Fact(source=fact.source, at=fact.at, error=GONE)
