"""What every plan that restores a copy beside needs: a name that is free, and whether the source can be restored to a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from actions.aws.instances import Described, find_instance
from actions.site import DatabaseRef
from actions.values import Finding, count, ok, stop
from actions.world import World
from commands.facts import Fact, read
from commands.moments import ago, clock

LONGEST_NAME = 63  # of an instance in RDS
TAG = "dr-run"


def numbered(name: str) -> Iterator[str]:
    """The name, then the same with -2, -3 and so on."""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


async def free_name(world: World, region: str, names: Iterable[str], *, also: Sequence[str] = ()) -> str:
    """The first of endlessly many names that no instance has, nor with these endings (`also`).

    If RDS does not answer, the first: the restore looks again.
    """
    for name in names:
        found = await read("RDS", find_instance(world, name, region), of=f"RDS in {region}")
        if found.value is None and not await _any_there(world, region, [f"{name}{ending}" for ending in also]):
            return name
    raise AssertionError("There is always a next name.")


async def _any_there(world: World, region: str, names: Sequence[str]) -> bool:
    found = await asyncio.gather(*(read("RDS", find_instance(world, name, region), of=f"RDS in {region}") for name in names))
    return any(one.value for one in found)


def source_findings(
    database: DatabaseRef, source: Fact[Described | None], at: datetime, now: datetime, *, latest: str
) -> Iterator[Finding]:
    """Whether RDS would take a snapshot of the source now and could restore it to `at`; `latest` is the advice if not yet."""
    found = source.value
    if not source.known:
        yield stop("RDS could not be read, so no restore can be asked for.", source.error)
    elif found is None:
        yield stop(f"RDS in {database.region} has no instance {database.instance}.")
    else:
        yield from _moment_findings(found, at, now, latest)
        if found.status != "available":
            says = f"{found.name} is {found.status}, and RDS takes snapshots and restores only of an available instance"
            yield stop(f"{says}. Wait until it is available; `/dr database failover` may help.")


def _moment_findings(source: Described, at: datetime, now: datetime, advice: str) -> Iterator[Finding]:
    latest, kept = source.restorable_to, int(source.settings.get("BackupRetentionPeriod", 0))
    if latest is None:
        yield stop(f"{source.name} has no backups: RDS names no latest restorable time.")
    elif at > latest:
        yield stop(f"{source.name} can be restored up to {clock(latest)} so far, and {clock(at)} is later. {advice}")
    elif kept and at < now - timedelta(days=kept):
        yield stop(f"{source.name} keeps backups for {count(kept, 'day')}, and {clock(at)} is longer ago.")
    else:
        yield ok(f"{source.name} can be restored up to {clock(latest)}, {ago(latest, now)} ago.")
