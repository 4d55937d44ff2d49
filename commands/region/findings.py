"""What was found before a region failover, as sentences: what answers from where, what is lost, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.aws.route53 import HOME, follows_health
from actions.values import Finding, count, ok, stop, warn
from actions.world import World
from commands.facts import Fact
from commands.moments import ago
from commands.region.loss import Loss
from commands.region.seen import Seen
from commands.report import span

HEARD_SECONDS = 5.0  # a replica that heard its primary so shortly ago still hears it


@dataclass(frozen=True, kw_only=True)
class Vantage:
    """A point from which the primary region was looked at: whether something answers there, and what."""

    name: str
    answers: bool
    says: str


def vantages(seen: Seen) -> list[Vantage]:
    """The points from which the primary region was looked at, apart from the public name, which may lead anywhere."""
    found = [_vantage(seen.instance, "RDS answers"), _vantage(seen.server, "the primary answers")]
    for user in seen.users:
        found.append(_vantage(user.service, "ECS answers"))
        if user.region_health:
            status = user.region_health.value
            good = status is not None and status < 500
            says = f"answers {status}" if status is not None else user.region_health.error
            found.append(Vantage(name=user.region_health.source, answers=good, says=says))
    return found


def region_findings(seen: Seen) -> Iterator[Finding]:
    """Whether the region is gone, from all points, and for how long."""
    region, points = seen.meant.primary.region, vantages(seen)
    silent = [one for one in points if not one.answers]
    evidence = " ".join(f"{one.name}: {one.says.rstrip('.')}." for one in points)
    since = seen.rhythm.failing_since if seen.rhythm else None
    down = f", the database for {ago(since, seen.now)}" if since else ""
    if not silent:
        yield ok(f"{region} answers from all {len(points)} points.", evidence)
    elif len(silent) == len(points):
        yield warn(f"{region} is silent from all {len(points)} points{down}.", evidence)
    else:
        yield warn(f"{region} is silent from {len(silent)} of {len(points)} points{down}.", evidence)


def doubts(seen: Seen, *, anyway: bool) -> Iterator[Finding]:
    """Why the region may well be alive although its database doesn't answer us: then a promotion makes a second primary."""
    weigh = warn if anyway else stop
    unless = "" if anyway else " Add `anyway=yes` if you know better."
    for user in seen.users:
        if user.health.value is not None and user.health.value < 400:
            says = (
                f"{user.site.health_url} answers {user.health.value}: customers are served, and only my way there may be broken"
            )
            yield weigh(f"{says}. A promotion now would make two primaries.{unless}")
    position = seen.position.value
    if position and position.heard_at and (position.now - position.heard_at).total_seconds() < HEARD_SECONDS:
        ago_ = f"{(position.now - position.heard_at).total_seconds():.0f} s ago"
        yield weigh(f"The replica heard its primary {ago_}: the primary is alive, and I can't reach it.{unless}")
    if seen.instance.value is not None and seen.instance.value.status != "available":
        yield warn(
            f"RDS in {seen.meant.primary.region} answers: {seen.meant.primary.instance} is {seen.instance.value.status}. "
            "If only the database is gone, `/dr database failover` loses nothing."
        )
    elif seen.instance.value is not None:
        yield warn(
            f"RDS in {seen.meant.primary.region} answers and calls {seen.meant.primary.instance} available. If only the database "
            "is gone, `/dr database failover` loses nothing."
        )


def unfenced(seen: Seen) -> Finding:
    """That nothing keeps the old primary from taking writes."""
    name, region = seen.meant.primary.instance, seen.meant.primary.region
    return warn(
        f"UNFENCED: {name} can't be reached, so nothing keeps it from taking writes, now or when {region} comes back. What it "
        "takes is lost or must be merged by hand. Fence it first when it returns: `/dr region failback` begins with that."
    )


def loss_findings(world: World, seen: Seen, loss: Loss | None) -> Iterator[Finding]:
    """What a promotion loses, against the target."""
    if loss is None:
        error = seen.position.error or "It doesn't say when its last commit was."
        yield stop(f"We can't tell what a promotion of {seen.meant.replica.instance} would lose.", error)
        return
    target = world.site.targets.rpo_minutes * 60
    says = f"A promotion loses {loss.figure} of commits"
    if loss.seconds > target:
        yield warn(f"{says}, and the target (RPO) is {span(target)}.", loss.evidence)
    else:
        yield ok(f"{says}, within the target (RPO) of {span(target)}.", loss.evidence)


def replica_findings(seen: Seen) -> Iterator[Finding]:
    """Whether the replica can be promoted."""
    name, there = seen.meant.replica.instance, seen.replica.value
    if not seen.replica.known:
        yield stop(f"RDS in {seen.meant.replica.region} could not be read, so nothing can be promoted there.", seen.replica.error)
    elif there is not None and not there.source and not seen.promoted:
        yield stop(f"{name} replicates nothing according to RDS, but its server is a replica. Look at it by hand first.")
    elif there is not None and there.status == "backing-up":
        yield warn(f"{name} is backing-up: RDS refuses a promotion until that is over. The step says so and waits for a Retry.")
    elif there is not None and there.status != "available":
        yield warn(f"{name} is {there.status}; only an available replica can be promoted.")
    if not seen.position.known:
        yield stop(f"{name} does not answer, so nobody knows what it has.", seen.position.error)


def kept_findings(seen: Seen) -> Iterator[Finding]:
    """How old the facts are that were kept while all was well."""
    if seen.kept is None:
        yield warn("No facts were kept while all was well: the bot has not served yet, or something was always wrong.")
        return
    rows = ", ".join(f"{name} {number}" for name, number in list(seen.kept.facts.get("rows", {}).items())[:6])
    yield ok(f"Facts kept while all was well are {span(seen.kept.age)} old.", f"Rows then: {rows or 'none counted'}.")


def dr_findings(world: World, seen: Seen) -> Iterator[Finding]:
    """What must be there in the DR region before the control plane can run in it."""
    region = seen.meant.replica.region
    for user in seen.users:
        site = user.site
        if not site.terraform_dir and not seen.tasks(user):
            yield stop(
                f"Nobody knows how many tasks {site.service} had, and terraform_dir isn't set in dr.toml: none is started."
            )
        if not site.dr_health_url:
            yield warn(
                f"dr_health_url of {site.service} isn't set in dr.toml: the public name moves without a look at {region} first."
            )
        if user.dr_leads is not None and user.dr_leads.value is None:
            yield warn(
                f"Secret {site.database_secret} in {region} could not be read. Tasks read it when they start.",
                user.dr_leads.error,
            )
    if not seen.users:
        yield warn(f"No service of dr.toml uses {seen.meant.primary.name}: only the database is moved.")


def name_findings(seen: Seen) -> Iterator[Finding]:
    """How the public name is moved, and what that needs."""
    dns = seen.meant.dns
    if dns is None or seen.name is None:
        yield warn("dr.toml has no [dns], so the public name isn't moved. Point it to the DR region by hand at the end.")
    elif seen.name.value is None:
        yield warn(
            f"Route 53 could not be read, so I don't change {dns.name}. I wait until it answers {dns.dr}: change it by hand.",
            seen.name.error,
        )
    elif follows_health(seen.name.value.records):
        yield ok(f"{dns.name} follows health checks, which need no control plane: it is watched, not changed.")
    elif seen.name.value.values not in ((dns.primary.lower(),), (dns.dr.lower(),)):
        now = ", ".join(seen.name.value.values) or "nothing"
        yield warn(f"{dns.name} points to {now}, and dr.toml expects {dns.primary} or {dns.dr}. An undo would bring that back.")
    if dns is not None and seen.name is not None and not (seen.name.value and follows_health(seen.name.value.records)):
        yield warn(
            f"Route 53 is changed through its control plane in {HOME}, and nowhere else. Records that follow health checks need "
            "none: consider a failover pair."
        )


def _vantage(fact: Fact[Any], good: str) -> Vantage:
    return Vantage(name=fact.source, answers=fact.known, says=good if fact.known else fact.error)


def points(seen: Seen) -> str:
    """From how many points the region answers, as a phrase."""
    found = vantages(seen)
    return f"{sum(one.answers for one in found)} of {count(len(found), 'point')}"
