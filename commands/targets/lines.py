"""What is judged for `/dr targets`: each target met, missed or unknown, with the figure and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from actions.aws.backups import Protection, Snapshot
from actions.site import Targets
from commands.facts import UNREAD, Fact
from commands.memory import VERIFICATION, VERIFIED_DAYS, of_database
from commands.report import Line, Mark, line, moment, span, unread
from commands.scenario import suggest
from commands.targets.seen import Seen

REPLICATES = ("available", "backing-up")
BROKEN = ("failed", "stopped", "stopping", "deleting", "storage-full", "restore-error")
FREQUENCY_DAYS = 7  # how far back the gaps between snapshots are looked at


def lines(promised: Targets, seen: Seen) -> Iterator[Line]:
    """A line for each target, after one for each source that did not answer."""
    yield from unread(seen.sources, Mark.UNKNOWN)
    yield _rpo(promised, seen)
    yield _rto(promised, seen)
    yield _frequency(promised, seen)
    yield _retention(promised, seen)
    yield _snapshots(promised, seen)
    yield _point_in_time(promised, seen)
    yield _standby(seen)
    yield _replica(seen)
    yield _lag(promised, seen)
    yield _verified(seen)
    yield _last_run(promised, seen)


def _rpo(promised: Targets, seen: Seen) -> Line:
    """Both ways out: back to a point in time, and over to the replica."""
    rpo, restore, lag = promised.rpo_minutes * 60.0, _restore_loss(seen), seen.lag
    over = [loss for loss, sure in ((restore, True), (lag.seconds, lag.certain)) if loss is not None and loss > rpo and sure]
    by_restore = f"a restore to a point in time would lose {span(restore)}" if restore is not None else ""
    by_replica = f"a promotion of the replica at most {span(lag.seconds)}" if lag.seconds is not None else ""
    says = _sentence(", ".join(part for part in (by_restore, by_replica) if part) or "how much would be lost is unknown")
    if _has_no_replica(seen):
        says += f" If {seen.region} is lost, there is no replica to go to."
        level = Mark.MISSED
    elif over:
        level = Mark.MISSED
    else:
        known = restore is not None and lag.seconds is not None and lag.seconds <= rpo
        level = Mark.MET if known else Mark.UNKNOWN
    return line(level, "RPO", seen.instance, f"{says} The target is {promised.rpo_minutes} min.", _restore_source(seen))


def _rto(promised: Targets, seen: Seen) -> Line:
    target = f"The target is {promised.rto_minutes} min."
    if seen.recoveries.value is None:
        return line(Mark.UNKNOWN, "RTO", "recoveries", f"The last recovery is not known. {target}", seen.recoveries.error)
    last = next((run for run in seen.recoveries.value if run.state == "done"), None)
    if last is None:
        says = f"No recovery has been carried out to its end yet, so no time is proven. {target}"
        return line(Mark.UNKNOWN, "RTO", "recoveries", says, "The bot's record of runs: none ended as done.")
    level = Mark.MET if last.seconds <= promised.rto_minutes * 60 else Mark.MISSED
    says = f"The last recovery took {span(last.seconds)} from approval to end. {target}"
    return line(level, "RTO", f"run {last.id}", says, f"/dr {last.scenario}, ended {moment(last.ended)}.")


def _frequency(promised: Targets, seen: Seen) -> Line:
    target = f"The target is one every {promised.snapshot_hours} h."
    if seen.snapshots.value is None:
        return _unknown("backup frequency", seen, seen.snapshots, target)
    at = seen.snapshots.value.at
    found = [one for one in seen.snapshots.value.available if at - one.taken < timedelta(days=FREQUENCY_DAYS)]
    if len(found) < 2:
        says = f"{_counted(found)} of the last {FREQUENCY_DAYS} days, and a gap takes two. {target}"
        level = Mark.UNKNOWN if found else Mark.MISSED
        return line(level, "backup frequency", seen.instance, says, _snapshot_source(seen))
    gap = max((newer.taken - older.taken).total_seconds() for newer, older in pairwise(found))
    level = Mark.MET if gap <= promised.snapshot_hours * 3600 else Mark.MISSED
    says = f"The longest gap between automated snapshots of the last {FREQUENCY_DAYS} days is {span(gap)}. {target}"
    return line(level, "backup frequency", seen.instance, says, f"{len(found)} snapshots. {_snapshot_source(seen)}")


def _retention(promised: Targets, seen: Seen) -> Line:
    target = f"The target is {promised.retention_days} days."
    if seen.primary.value is None:
        return _no_instance("retention", seen, target)
    days = seen.primary.value.retention_days
    says = f"Automated backups are kept for {days} days." if days else "Automated backups are off."
    level = Mark.MET if days >= promised.retention_days else Mark.MISSED
    return line(level, "retention", seen.instance, f"{says} {target}", f"BackupRetentionPeriod. {_source(seen)}")


def _snapshots(promised: Targets, seen: Seen) -> Line:
    target = f"The target is at most {promised.snapshot_hours} h."
    if seen.snapshots.value is None:
        return _unknown("snapshots", seen, seen.snapshots, target)
    newest = next(iter(seen.snapshots.value.available), None)
    if newest is None:
        says = f"There is no automated snapshot that can be restored. {target}"
        return line(Mark.MISSED, "snapshots", seen.instance, says, _snapshot_source(seen))
    age = max((seen.snapshots.value.at - newest.taken).total_seconds(), 0.0)
    level = Mark.MET if age <= promised.snapshot_hours * 3600 else Mark.MISSED
    says = f"The newest automated snapshot is {span(age)} old. {target}"
    return line(level, "snapshots", newest.name, says, f"Taken {moment(newest.taken)}. {_snapshot_source(seen)}")


def _point_in_time(promised: Targets, seen: Seen) -> Line:
    target = f"The target is {promised.rpo_minutes} min."
    if seen.primary.value is None:
        return _no_instance("point in time", seen, target)
    loss, to = _restore_loss(seen), seen.primary.value.restorable_to
    if loss is None or to is None:
        says = f"RDS names no time to which it could restore. {target}"
        return line(Mark.MISSED, "point in time", seen.instance, says, _source(seen))
    level = Mark.MET if loss <= promised.rpo_minutes * 60 else Mark.MISSED
    says = f"A restore could go up to {to:%H:%M:%S} UTC, {span(loss)} ago. {target}"
    return line(level, "point in time", seen.instance, says, _restore_source(seen))


def _standby(seen: Seen) -> Line:
    primary = seen.primary.value
    if primary is None:
        return _no_instance("standby", seen, "A standby in another zone is the target.")
    if not primary.multi_az:
        says = f"{primary.name} is not Multi-AZ: there is no standby to fail over to."
        return line(Mark.MISSED, "standby", primary.name, says, _source(seen))
    says = f"{primary.name} is in {primary.zone}, with a standby in {primary.standby_zone or 'another zone'}."
    return line(Mark.MET, "standby", primary.name, says, f"MultiAZ. {_source(seen)}")


def _replica(seen: Seen) -> Line:
    if seen.meant.replica is None or seen.replica is None:
        return _replica_not_named(seen)
    name, region, primary = seen.meant.replica.instance, seen.meant.replica.region, seen.primary.value
    if not seen.replica.known:
        return line(Mark.UNKNOWN, "replica", name, f"Whether {name} replicates is unknown.", seen.replica.error)
    found, evidence = seen.replica.value, f"DescribeDBInstances in {region}."
    if found is None:
        says = f"There is no replica {name} in {region}."
        return line(Mark.MISSED, "replica", name, says, evidence)
    if _last(found.source) != seen.instance:
        whose = f"a replica of {_last(found.source)}" if found.source else "a primary of its own"
        return line(Mark.MISSED, "replica", name, f"{name} is {whose}, not a replica of {seen.instance}.", evidence)
    if found.broken or found.status in BROKEN or found.status.startswith("in"):  # incompatible-..., inaccessible-...
        says = f"{name} does not replicate: it is {found.status}."
        return line(Mark.MISSED, "replica", name, says, f"{found.broken} {evidence}".strip())
    level = Mark.MET if found.status in REPLICATES else Mark.UNKNOWN
    beside = "" if primary is None or _listed(name, primary) else f" {primary.name} does not list it yet."
    return line(level, "replica", name, f"{name} is {found.status} in {region}.{beside}", evidence)


def _replica_not_named(seen: Seen) -> Line:
    if seen.primary.value is None:
        return _no_instance("replica", seen, "A replica in another region is the target.")
    theirs = ", ".join(_last(one) for one in seen.primary.value.replicas)
    if theirs:
        says = f"RDS lists {theirs}, and dr.toml does not name it: set replica in [databases.{seen.meant.primary.name}]."
        return line(Mark.UNKNOWN, "replica", theirs, says, _source(seen))
    says = f"{seen.instance} has no replica: if {seen.region} is lost, there is nothing to promote."
    return line(Mark.MISSED, "replica", seen.instance, says, f"ReadReplicaDBInstanceIdentifiers. {_source(seen)}")


def _lag(promised: Targets, seen: Seen) -> Line:
    lag, target = seen.lag, f"The target is {promised.rpo_minutes} min."
    if lag.seconds is None:
        level = Mark.MISSED if lag.broken else Mark.UNKNOWN
    elif lag.seconds <= promised.rpo_minutes * 60:
        level = Mark.MET
    else:
        level = Mark.MISSED if lag.certain else Mark.UNKNOWN
    evidence = lag.evidence or (seen.replayed.error if seen.replayed else "")
    about = seen.meant.replica or seen.meant.primary
    return line(level, "replica lag", about.instance, f"{lag.says} {target}", evidence)


def _verified(seen: Seen) -> Line:
    if seen.verifications.value is None:
        says = "Whether a restore was verified is unknown. The target is one every week."
        return line(Mark.UNKNOWN, "verified restore", "backups", says, seen.verifications.error)
    newest = next(iter(of_database(seen.verifications.value, seen.meant.primary)), None)
    by_hand = "restore the newest snapshot to a temporary instance by hand, check what is in it, and drop it"
    if newest is None:
        says = "No verified restore is on record, so nothing proves that a backup can be restored"
        says = f"{says}; {suggest(VERIFICATION, by_hand)}. The target is one every week."
        return line(Mark.MISSED, "verified restore", "backups", says, "The bot's record of runs.")
    age = seen.verifications.at - newest.ended
    how = "verified" if newest.state == "done" else f"{newest.state}, so not verified,"
    took = f" It took {span(newest.restore_seconds)} until it had recovered." if newest.restore_seconds is not None else ""
    says = f"The last restore was {how} {span(age.total_seconds())} ago.{took} The target is one every week."
    good = newest.state == "done" and age <= timedelta(days=VERIFIED_DAYS)
    return line(Mark.MET if good else Mark.MISSED, "verified restore", f"run {newest.id}", says, newest.says)


def _last_run(promised: Targets, seen: Seen) -> Line:
    """The last run of any kind that is over, a drill too."""
    last = next(iter(seen.recoveries.value or ()), None)
    if last is None:
        says = "No run and no drill is on record." if seen.recoveries.known else "The last run is not known."
        return line(Mark.UNKNOWN, "last run", "recoveries", says, seen.recoveries.error)
    good = last.state == "done" and last.seconds <= promised.rto_minutes * 60
    says = f"/dr {last.scenario} ended as {last.state} at {moment(last.ended)}, {span(last.seconds)} after its approval."
    return line(Mark.MET if good else Mark.MISSED, "last run", f"run {last.id}", says, last.says)


# Helpers --------------------------------------------------------------------------------------------------------------


def _restore_loss(seen: Seen) -> float | None:
    """The seconds that a restore to the latest point in time would lose."""
    primary = seen.primary.value
    if primary is None or primary.restorable_to is None:
        return None
    return max((primary.at - primary.restorable_to).total_seconds(), 0.0)


def _has_no_replica(seen: Seen) -> bool:
    """Whether AWS said that there is none."""
    if seen.meant.replica:
        return seen.replica is not None and seen.replica.known and seen.replica.value is None
    return seen.primary.value is not None and not seen.primary.value.replicas


def _no_instance(check: str, seen: Seen, target: str) -> Line:
    """The line for what DescribeDBInstances would tell, if it did not, or if there is no such instance."""
    if not seen.primary.known:
        return _unknown(check, seen, seen.primary, target)
    where = f"look at [databases.{seen.meant.primary.name}] instance"
    says = f"RDS in {seen.region} has no instance {seen.instance}; {where}. {target}"
    return line(Mark.UNKNOWN, check, seen.instance, says)


def _unknown(check: str, seen: Seen, source: Fact[Any], target: str) -> Line:
    """The line for what a source would have told; why it did not is in the source's own line."""
    return line(Mark.UNKNOWN, check, seen.instance, f"Unknown: {source.source} {UNREAD}. {target}")


def _source(seen: Seen) -> str:
    at = f", at {moment(seen.primary.value.at)}" if seen.primary.value else ""
    return f"DescribeDBInstances in {seen.region}{at}."


def _restore_source(seen: Seen) -> str:
    if not seen.primary.known:
        return seen.primary.error
    return f"LatestRestorableTime, which RDS moves on about every 5 min. {_source(seen)}"


def _snapshot_source(seen: Seen) -> str:
    return f"DescribeDBSnapshots in {seen.region}, automated."


def _counted(found: Sequence[Snapshot]) -> str:
    return "There is one automated snapshot" if found else "There is no automated snapshot"


def _listed(name: str, primary: Protection) -> bool:
    return name in [_last(one) for one in primary.replicas]


def _last(identifier: str) -> str:
    """The name in an ARN, which RDS gives for an instance of another region."""
    return identifier.rpartition(":")[2]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
