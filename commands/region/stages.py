"""The stages of a region failover, from pieces: what comes before the promotion differs, and what follows is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actions.aws.desired_count import SetDesiredCount, StartUnless
from actions.aws.promotion import PromoteReplica
from actions.aws.route53 import UpsertRecord, follows_health
from actions.aws.unprotected import Unprotected
from actions.db.counts import CountsHold
from actions.db.fence import Fence, ReopenUnless, Unfence
from actions.db.integrity import IntegrityHolds
from actions.db.replica import CaughtUp, ReplayedAll
from actions.db.restored import TakesWrites
from actions.dns.checks import AuthoritativeAgree, ResolversAgree
from actions.health import HealthAnswers
from actions.site import DatabaseRef
from actions.step import Step
from actions.terraform.steps import AgreeToPlan, ApplyPlan
from actions.world import World
from commands.plan import Stage
from commands.region.loss import Loss
from commands.region.seen import Name, Seen

INTEGRITY_MINUTES = 10  # the target is 30 min in all


@dataclass(frozen=True, kw_only=True)
class Move:
    """Which database gives up serving, and which takes over; `value` is what the public name gets."""

    source: DatabaseRef
    takes_over: DatabaseRef
    value: str
    was: str


def ungraceful(world: World, seen: Seen, loss: Loss) -> tuple[Stage, ...]:
    """The stages if the primary is gone: nothing of its region is needed, and what it had not sent yet is lost."""
    replica = seen.meant.replica
    silent_since = loss.silent_since.isoformat() if loss.silent_since else ""
    return whole(
        (ReplayedAll(database=replica, silent_since=silent_since, at_most=loss.seconds),),
        *promoted(world, replica),
        *in_dr(world, seen, agreed=False),
        *proven(world, seen, move_to_dr(seen)),
    )


def graceful(world: World, seen: Seen) -> tuple[Stage, ...]:
    """The stages if the primary answers: nothing is lost, because it takes no write after the replica's last one."""
    primary, replica = seen.meant.primary, seen.meant.replica
    return whole(
        *[stage for stage in in_dr(world, seen, agreed=False) if isinstance(stage[0], AgreeToPlan)],  # while all still works
        tuple(_stopped(seen)),
        (Fence(database=primary),),
        (CaughtUp(database=replica, original=primary),),
        *promoted(world, replica),
        *in_dr(world, seen, agreed=True),
        *proven(world, seen, move_to_dr(seen), fenced=True),
    )


def rest(world: World, seen: Seen) -> tuple[Stage, ...]:
    """The stages that are left if the replica was promoted before: by an earlier run that ended, or by hand."""
    return whole(
        (Unfence(database=seen.meant.replica),),
        (TakesWrites(database=seen.meant.replica),),
        *in_dr(world, seen, agreed=False),
        *proven(world, seen, move_to_dr(seen)),
    )


def back_if_not_promoted(seen: Seen) -> tuple[Stage, ...]:
    """The clean-up of a graceful failover: if it ended before the promotion, the primary serves again."""
    primary, replica = seen.meant.primary, seen.meant.replica
    starts = tuple[Step, ...](
        StartUnless(
            cluster=user.site.cluster,
            service=user.site.service,
            region=primary.region,
            count=seen.tasks(user) or 0,
            replica=replica,
        )
        for user in seen.users
        if seen.tasks(user)
    )
    return whole((ReopenUnless(database=primary, replica=replica),), starts)


def promoted(world: World, replica: DatabaseRef) -> tuple[Stage, ...]:
    """Promote, and see that it serves. What was replicated may include a fence."""
    retention = min(world.site.targets.retention_days, 35)  # RDS keeps no longer
    return (
        (PromoteReplica(database=replica, retention=retention),),
        (Unfence(database=replica),),
        (TakesWrites(database=replica),),
    )


def in_dr(world: World, seen: Seen, *, agreed: bool) -> Iterator[Stage]:
    """The control plane in the DR region: by terraform, if dr.toml says where; else as many tasks as it had at home."""
    region = seen.meant.replica.region
    for user in seen.users:
        site = user.site
        if site.terraform_dir:
            stack = {"folder": site.terraform_dir, "workspace": site.terraform_workspace, "region": region}
            if not agreed:
                yield (AgreeToPlan(**stack),)
            yield (ApplyPlan(**stack),)
        elif tasks := seen.tasks(user):
            yield (SetDesiredCount(cluster=site.cluster, service=site.service, region=region, count=tasks),)


def proven(world: World, seen: Seen, move: Move, *, fenced: bool = False) -> tuple[Stage, ...]:
    """Health by the region's own address, the data, and only then the public name; and the list of what is unprotected."""
    there = move.takes_over
    section = world.site.databases[seen.meant.primary.name]
    healthy = tuple[Step, ...](HealthAnswers(url=user.site.dr_health_url) for user in seen.users if user.site.dr_health_url)
    counts = CountsHold(database=there, known_as=seen.meant.primary.name, percent=section.verify_percent)
    return whole(
        healthy,
        (counts, IntegrityHolds(database=there, minutes=INTEGRITY_MINUTES)),
        *named(seen.name.value if seen.name else None, seen, move),
        tuple(HealthAnswers(url=user.site.health_url) for user in seen.users),
        (unprotected(world, move, fenced=fenced),),
    )


def unprotected(world: World, move: Move, *, fenced: bool) -> Unprotected:
    """The list that the recovery ends with."""
    old, retention = move.source, min(world.site.targets.retention_days, 35)
    return Unprotected(database=move.takes_over, old=old.instance, old_region=old.region, retention=retention, fenced=fenced)


def named(name: Name | None, seen: Seen, move: Move) -> Iterator[Stage]:
    """The public name: changed, unless it follows health checks by itself; then seen on every server, and in caches."""
    dns = seen.meant.dns
    if dns is None:
        return
    if name and not follows_health(name.records):
        yield (UpsertRecord(zone_id=name.zone, name=dns.name, type=dns.type, value=move.value, was=move.was),)
    yield (AuthoritativeAgree(name=dns.name, type=dns.type, value=move.value),)
    yield (ResolversAgree(name=dns.name, type=dns.type, value=move.value),)


def move_to_dr(seen: Seen) -> Move:
    """The move of a failover. Whatever simple value the name has now is the one that an undo brings back."""
    dns, name = seen.meant.dns, seen.name.value if seen.name else None
    was = (name.values[0] if name and name.values else dns.primary if dns else "").lower()
    return Move(source=seen.meant.primary, takes_over=seen.meant.replica, value=dns.dr if dns else "", was=was)


def whole(*stages: Stage) -> tuple[Stage, ...]:
    """The stages that have steps."""
    return tuple(stage for stage in stages if stage)


def _stopped(seen: Seen) -> Iterator[Step]:
    """The writers in the primary region are stopped, if ECS there says how many there are."""
    for user in seen.users:
        if user.service.value is not None:
            yield SetDesiredCount(cluster=user.site.cluster, service=user.site.service, region=seen.meant.primary.region, count=0)
