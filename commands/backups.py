"""`/dr backup status`: what there is to restore from, and when that was last proven."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from actions.aws import backups
from actions.aws.backups import AUTOMATED, MANUAL, LeftOver, Protection, Snapshots
from actions.site import DatabaseRef, Targets
from actions.values import count
from actions.world import World
from commands.facts import Fact, read
from commands.memory import VERIFICATION, VERIFIED_DAYS, Memory, PastRun, of_database
from commands.report import SOURCE_SECONDS, Line, Mark, line, moment, report, span, unread
from commands.scenario import suggest
from commands.shared import chosen_database
from commands.verify import TAG, removal

SHOWN = 5  # verifications, the newest first
SLOWER = 1.5  # times the average of those before: then a restore time is worth a look
BY_HAND = "restore the newest snapshot to a temporary instance by hand, check what is in it, and drop it"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was read about the backups of an instance."""

    database: DatabaseRef
    primary: Fact[Protection | None]
    automated: Fact[Snapshots]
    manual: Fact[Snapshots]
    verifications: Fact[Sequence[PastRun]]
    left_over: Fact[tuple[LeftOver, ...]]

    @property
    def instance(self) -> str:
        """Its name in RDS."""
        return self.database.instance

    @property
    def region(self) -> str:
        """Its region."""
        return self.database.region


@report("backup status")
async def status(world: World, memory: Memory, *, database: str = "") -> list[Line]:
    """Show the newest snapshots, the retention, the latest restorable time and the history of verifications."""
    return list(lines(world.site.targets, await look(world, memory, chosen_database(world, database))))


async def look(world: World, memory: Memory, database: DatabaseRef) -> Seen:
    """Read all sources at once, each with a deadline."""
    instance, region = database.instance, database.region
    primary, automated, manual, verifications, left_over = await asyncio.gather(
        read(f"RDS in {region}", backups.protection(world, instance, region), timeout=SOURCE_SECONDS),
        read("The list of automated snapshots", backups.snapshots(world, instance, region, AUTOMATED), timeout=SOURCE_SECONDS),
        read("The list of manual snapshots", backups.snapshots(world, instance, region, MANUAL), timeout=SOURCE_SECONDS),
        read("The bot's record of verifications", memory.verifications(), timeout=SOURCE_SECONDS),
        read("The list of instances", backups.left_over(world, region, TAG), timeout=SOURCE_SECONDS),
    )
    return Seen(
        database=database,
        primary=primary,
        automated=automated,
        manual=manual,
        verifications=verifications,
        left_over=left_over,
    )


def lines(promised: Targets, seen: Seen) -> Iterator[Line]:
    """The lines, after one for each source that did not answer."""
    yield from unread((seen.primary, seen.automated, seen.manual, seen.verifications, seen.left_over), Mark.WARN)
    yield from _automated(promised, seen)
    yield from _manual(seen)
    yield from _instance(promised, seen)
    yield from _history(seen)
    yield from _restore_time(promised, seen)
    yield from _left_over(seen)


def _automated(promised: Targets, seen: Seen) -> Iterator[Line]:
    if seen.automated.value is None:
        return
    found, evidence = seen.automated.value, f"DescribeDBSnapshots in {seen.region}, automated."
    newest = next(iter(found.available), None)
    if newest is None:
        yield line(Mark.STOP, "automated snapshots", seen.instance, "There is none that can be restored.", evidence)
        return
    age = max((found.at - newest.taken).total_seconds(), 0.0)
    level = Mark.OK if age <= promised.snapshot_hours * 3600 else Mark.WARN
    says = f"{_there_are(found)}, the newest from {moment(newest.taken)}, {span(age)} old ({promised.snapshot_hours} h promised)."
    yield line(level, "automated snapshots", newest.name, f"{says}{_encryption(newest.encrypted)}", evidence)


def _manual(seen: Seen) -> Iterator[Line]:
    if seen.manual.value is None:
        return
    found, evidence = seen.manual.value, f"DescribeDBSnapshots in {seen.region}, manual."
    newest = next(iter(found.available), None)
    if newest is None:
        yield line(Mark.OK, "manual snapshots", seen.instance, "There is none; they are taken by people and by plans.", evidence)
        return
    says = f"{_there_are(found)}, the newest from {moment(newest.taken)}.{_encryption(newest.encrypted)}"
    yield line(Mark.OK, "manual snapshots", newest.name, says, evidence)


def _instance(promised: Targets, seen: Seen) -> Iterator[Line]:
    if not seen.primary.known:
        return
    primary = seen.primary.value
    if primary is None:
        says = f"RDS in {seen.region} has no instance {seen.instance}; look at [databases.{seen.database.name}] instance."
        yield line(Mark.STOP, "instance", seen.instance, says)
        return
    evidence = f"DescribeDBInstances in {seen.region}, at {moment(primary.at)}."
    kept = primary.retention_days
    if kept == 0:
        yield line(Mark.STOP, "retention", seen.instance, "Automated backups are off.", evidence)
    else:
        level = Mark.OK if kept >= promised.retention_days else Mark.WARN
        says = (
            f"Automated backups are kept for {kept} days ({promised.retention_days} promised), taken daily at {primary.window}."
        )
        yield line(level, "retention", seen.instance, says, evidence)
    if primary.restorable_to is None:
        yield line(Mark.STOP, "point in time", seen.instance, "RDS names no time to which it could restore.", evidence)
        return
    loss = max((primary.at - primary.restorable_to).total_seconds(), 0.0)
    level = Mark.OK if loss <= promised.rpo_minutes * 60 else Mark.WARN
    says = f"A restore could go up to {moment(primary.restorable_to)}, {span(loss)} ago ({promised.rpo_minutes} min promised)."
    yield line(level, "point in time", seen.instance, says, evidence)


def _history(seen: Seen) -> Iterator[Line]:
    """What was verified, newest first. None at all, a late one and a failed one are equally loud."""
    if seen.verifications.value is None:
        return
    runs = of_database(seen.verifications.value, seen.database)
    if not runs:
        says = f"No verification is on record, so nothing proves that a backup can be restored; {suggest(VERIFICATION, BY_HAND)}."
        yield line(Mark.STOP, "verifications", seen.instance, says, "The bot's record of runs.")
        return
    for number, run in enumerate(runs[:SHOWN]):
        age = seen.verifications.at - run.ended
        late = number == 0 and age > timedelta(days=VERIFIED_DAYS)
        level = Mark.OK if run.state == "done" and not late else Mark.WARN if number else Mark.STOP
        restore = f", {span(run.restore_seconds)} of them for the restore" if run.restore_seconds is not None else ""
        says = f"{_capital(run.state)} at {moment(run.ended)} after {span(run.seconds)}{restore}."
        says += f" It is {span(age.total_seconds())} old, and one every week was promised." if late else ""
        yield line(level, "verifications", f"run {run.id}", says, run.says)


def _restore_time(promised: Targets, seen: Seen) -> Iterator[Line]:
    """How long the last verified restore took until it had recovered, beside those before it and what was promised."""
    done = [run for run in of_database(seen.verifications.value or (), seen.database) if run.state == "done"]
    times = [run.restore_seconds for run in done if run.restore_seconds is not None]
    if not times:
        return
    newest, before = times[0], times[1:SHOWN]
    says = f"The last verified restore took {span(newest)} until it had recovered ({promised.rto_minutes} min to recover in all"
    says += " were promised)."
    slower = False
    if before:
        average = sum(before) / len(before)
        slower = newest > SLOWER * average
        trend = "much longer than" if slower else "as against"
        says += f" That is {trend} {span(average)} on average in the {count(len(before), 'verification')} before."
    level = Mark.WARN if slower or newest > promised.rto_minutes * 60 else Mark.OK
    yield line(level, "restore time", f"run {done[0].id}", says, "The bot's record of steps.")


def _left_over(seen: Seen) -> Iterator[Line]:
    for one in seen.left_over.value or ():
        says = f"It is left over from a verification, {one.status}, and costs money. Unless that one is still running, plan "
        says += f"`/dr backup drop instance={one.name}`."
        yield line(Mark.WARN, "left over", one.name, says, removal(one.name, seen.region))


def _there_are(found: Snapshots) -> str:
    number = len(found.available)
    verb = "There is" if number == 1 else "There are"
    return f"{verb} {'' if found.complete else 'at least '}{count(number, 'snapshot')} to restore from"


def _encryption(encrypted: bool) -> str:
    return "" if encrypted else " It is not encrypted."


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
