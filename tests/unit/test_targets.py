"""What `/dr targets` and `/dr backup status` say about which facts, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.backups import AUTOMATED, MANUAL, LeftOver, Protection, Snapshot, Snapshots
from actions.db.heartbeat import Position, is_table
from actions.site import DatabaseRef, Targets
from commands import backups
from commands.facts import Fact
from commands.memory import PastRun
from commands.report import SOURCE, Line, Mark, span
from commands.targets.lines import lines
from commands.targets.seen import Meant, Seen

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TARGETS = Targets()
PRIMARY = Protection(
    name="prod",
    status="available",
    retention_days=35,
    window="04:00-04:30",
    restorable_to=NOW - 4 * MINUTE,
    multi_az=True,
    zone="us-west-2a",
    standby_zone="us-west-2b",
    replicas=("arn:aws:rds:us-east-1:1:db:prod-east",),
    source="",
    broken="",
    at=NOW,
)
REPLICA = replace(PRIMARY, name="prod-east", replicas=(), source="arn:aws:rds:us-west-2:1:db:prod", multi_az=False)
HEAD = Position(now=NOW, in_recovery=False, beat=NOW - SECOND)
BEHIND = Position(now=NOW, in_recovery=True, replayed_at=NOW - SECOND, beat=NOW - 3 * SECOND)
WEST = DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="DATABASE_URL")
EAST = DatabaseRef(name="replica", instance="prod-east", region="us-east-1", dsn_env="DR_DATABASE_URL")
MEANT = Meant(primary=WEST, replica=EAST, heartbeat_table="dr_heartbeat")


def fact(value: Any) -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value)


def restores(*seconds: float) -> list[PastRun]:
    """Verifications whose restores took so long, newest first."""
    return [run(restore_seconds=float(one), ago=number * DAY) for number, one in enumerate(seconds, 1)]


def missing(source: str = "RDS") -> Fact[Any]:
    return Fact(source=source, at=NOW, error="It did not answer.")


def snapshots(*ages: timedelta, kind: str = AUTOMATED, status: str = "available", complete: bool = True) -> Fact[Any]:
    found = tuple(Snapshot(name=f"s{n}", kind=kind, status=status, taken=NOW - age, encrypted=True) for n, age in enumerate(ages))
    return fact(Snapshots(found=found, complete=complete, at=NOW))


def run(
    state: str = "done", *, took: timedelta = 3 * MINUTE, ago: timedelta = DAY, scenario: str = "database failover", **more: Any
) -> PastRun:
    ended = NOW - ago
    facts: dict[str, Any] = {"target": "backups of database prod"}
    return PastRun(
        id="abcdefgh", scenario=scenario, state=state, says="It ended.", approved=ended - took, ended=ended, **(facts | more)
    )


def seen(**other: Any) -> Seen:
    """Everything as it was promised, but for what is given."""
    facts = {
        "meant": MEANT,
        "primary": fact(PRIMARY),
        "snapshots": snapshots(6 * HOUR, 30 * HOUR, 54 * HOUR),
        "replica": fact(REPLICA),
        "beats": fact(HEAD),
        "replayed": fact(BEHIND),
        "recoveries": fact([run()]),
        "verifications": fact([run(scenario="backup verify", ago=2 * DAY)]),
    }
    return Seen(**(facts | other))


def judged(check: str, **other: Any) -> Line:
    (found,) = [one for one in lines(TARGETS, seen(**other)) if one.check == check]
    return found


def test_what_is_as_promised_is_met_and_every_line_has_its_target_and_source() -> None:
    found = list(lines(TARGETS, seen()))
    assert [one.level for one in found] == [Mark.MET] * 11
    assert all(one.says.endswith(".") and one.object for one in found)
    assert {one.check for one in found if not one.evidence} == set()


@pytest.mark.parametrize(
    ("check", "facts", "level", "says"),
    [
        ("RPO", {}, "met", "A restore to a point in time would lose 4.0 min, a promotion of the replica at most 3 s."),
        ("RPO", {"primary": fact(replace(PRIMARY, restorable_to=NOW - 6 * MINUTE))}, "missed", "would lose 6.0 min"),
        ("RPO", {"primary": missing()}, "unknown", "A promotion of the replica at most 3 s. The target is 5 min."),
        ("RPO", {"primary": missing(), "replayed": missing()}, "unknown", "How much would be lost is unknown."),
        ("RPO", {"replica": fact(None)}, "missed", "If us-west-2 is lost, there is no replica to go to."),
        ("RTO", {}, "met", "The last recovery took 3.0 min from approval to end. The target is 30 min."),
        ("RTO", {"recoveries": fact([run("failed"), run(took=31 * MINUTE)])}, "missed", "took 31.0 min"),
        ("RTO", {"recoveries": fact([])}, "unknown", "No recovery has been carried out to its end yet"),
        ("RTO", {"recoveries": fact([run("aborted")])}, "unknown", "No recovery has been carried out to its end yet"),
        ("RTO", {"recoveries": missing()}, "unknown", "The last recovery is not known."),
        ("backup frequency", {}, "met", "The longest gap between automated snapshots of the last 7 days is 24.0 h."),
        ("backup frequency", {"snapshots": snapshots(HOUR, 30 * HOUR)}, "missed", "is 29.0 h"),
        ("backup frequency", {"snapshots": snapshots(HOUR, 9 * DAY)}, "unknown", "one automated snapshot of the last 7 days"),
        ("backup frequency", {"snapshots": snapshots()}, "missed", "There is no automated snapshot of the last 7 days"),
        ("backup frequency", {"snapshots": missing()}, "unknown", "Unknown: RDS could not be read."),
        ("retention", {"primary": fact(replace(PRIMARY, retention_days=7))}, "missed", "kept for 7 days. The target is 35 days."),
        ("retention", {"primary": fact(replace(PRIMARY, retention_days=0))}, "missed", "Automated backups are off."),
        ("retention", {"primary": missing()}, "unknown", "Unknown: RDS could not be read. The target is 35 days."),
        ("retention", {"primary": fact(None)}, "unknown", "RDS in us-west-2 has no instance prod"),
        ("snapshots", {"snapshots": snapshots(27 * HOUR)}, "missed", "is 27.0 h old. The target is at most 26 h."),
        ("snapshots", {"snapshots": snapshots(HOUR, status="creating")}, "missed", "no automated snapshot that can be restored"),
        ("snapshots", {"snapshots": missing()}, "unknown", "Unknown: RDS could not be read."),
        ("point in time", {}, "met", "A restore could go up to 10:26:00 UTC, 4.0 min ago. The target is 5 min."),
        ("point in time", {"primary": fact(replace(PRIMARY, restorable_to=None))}, "missed", "RDS names no time"),
        ("standby", {}, "met", "prod is in us-west-2a, with a standby in us-west-2b."),
        ("standby", {"primary": fact(replace(PRIMARY, multi_az=False))}, "missed", "prod is not Multi-AZ"),
        ("replica", {}, "met", "prod-east is available in us-east-1."),
        ("replica", {"replica": fact(None)}, "missed", "There is no replica prod-east in us-east-1."),
        ("replica", {"replica": fact(replace(REPLICA, source=""))}, "missed", "a primary of its own, not a replica of prod"),
        ("replica", {"replica": fact(replace(REPLICA, broken="error. Out of disk."))}, "missed", "does not replicate"),
        ("replica", {"replica": fact(replace(REPLICA, status="incompatible-network"))}, "missed", "does not replicate"),
        ("replica", {"replica": fact(replace(REPLICA, status="modifying"))}, "unknown", "prod-east is modifying"),
        ("replica", {"replica": missing()}, "unknown", "Whether prod-east replicates is unknown."),
        ("verified restore", {}, "met", "The last restore was verified 2.0 days ago."),
        ("verified restore", {"verifications": fact([run(ago=9 * DAY)])}, "missed", "verified 9.0 days ago"),
        (
            "verified restore",
            {"verifications": fact(restores(720))},
            "met",
            "24.0 h ago. It took 12.0 min until it had recovered.",
        ),
        ("verified restore", {"verifications": fact([run("failed"), run()])}, "missed", "was failed, so not verified,"),
        ("verified restore", {"verifications": fact([run(target="backups of database billing")])}, "missed", "nothing proves"),
        ("verified restore", {"verifications": fact([])}, "missed", "nothing proves that a backup can be restored"),
        ("verified restore", {"verifications": missing()}, "unknown", "Whether a restore was verified is unknown."),
        ("last run", {}, "met", "/dr database failover ended as done at 2026-01-14 10:30:00 UTC, 3.0 min after its approval."),
        ("last run", {"recoveries": fact([run("failed"), run()])}, "missed", "ended as failed"),
        ("last run", {"recoveries": fact([])}, "unknown", "No run and no drill is on record."),
    ],
)
def test_a_target_is_met_missed_or_unknown(check: str, facts: dict[str, Any], level: str, says: str) -> None:
    found = judged(check, **facts)
    assert (found.level, says in found.says) == (level, True), found


NO_TABLE = {"beats": None}
IDLE = replace(BEHIND, replayed_at=NOW - 7 * MINUTE, beat=None, no_beat="No heartbeat table is set.")


@pytest.mark.parametrize(
    ("facts", "level", "says"),
    [
        ({}, "met", "A promotion would lose at most 3 s of commits."),
        ({"replayed": fact(replace(BEHIND, beat=NOW - 6 * MINUTE))}, "missed", "would lose at most 6.0 min"),
        ({"beats": missing()}, "met", "newest heartbeat is 3 s old, and the primary has nothing to compare it with"),
        ({"beats": missing(), "replayed": fact(replace(BEHIND, beat=NOW - 6 * MINUTE))}, "unknown", "is 6.0 min old"),
        ({"beats": fact(replace(HEAD, in_recovery=True))}, "met", "the primary has nothing to compare it with"),
        (
            {"beats": fact(replace(HEAD, beat=NOW - HOUR)), "replayed": fact(replace(BEHIND, beat=NOW - HOUR))},
            "unknown",
            "No heartbeat has been written for 60.0 min: is the bot serving?",
        ),
        (NO_TABLE | {"replayed": fact(replace(IDLE, replayed_at=NOW - MINUTE))}, "met", "that the replica has is 60 s old"),
        (NO_TABLE | {"replayed": fact(IDLE)}, "unknown", "that the replica has is 7.0 min old"),
        (NO_TABLE | {"replayed": fact(replace(IDLE, replayed_at=None))}, "unknown", "has replayed no transaction"),
        ({"replayed": fact(HEAD)}, "missed", "takes writes: it is no replica"),
        ({"replayed": missing()}, "unknown", "The replica could not be read."),
        ({"replayed": None}, "unknown", "dr.toml names no replica to measure."),
    ],
)
def test_lag_comes_from_heartbeats_else_from_the_last_replayed_commit(facts: dict[str, Any], level: str, says: str) -> None:
    found = judged("replica lag", **facts)
    assert (found.level, says in found.says) == (level, True), found


def test_the_last_replayed_commit_comes_with_its_caveat() -> None:
    assert "It grows while the primary is idle" in judged("replica lag", **NO_TABLE, replayed=fact(IDLE)).evidence


def test_a_replica_that_nobody_named_or_that_is_not_there() -> None:
    unnamed = {"meant": replace(MEANT, replica=None), "replica": None, "beats": None, "replayed": None}
    assert (
        judged("replica", **unnamed).says
        == "RDS lists prod-east, and dr.toml does not name it: set replica in [databases.primary]."
    )
    alone = unnamed | {"primary": fact(replace(PRIMARY, replicas=()))}
    assert judged("replica", **alone).level == judged("RPO", **alone).level == Mark.MISSED
    assert judged("replica", **unnamed | {"primary": missing()}).level is Mark.UNKNOWN


def test_every_source_that_did_not_answer_has_a_line_with_its_error() -> None:
    silent = seen(**{name: missing(name) for name in vars(seen()) if name != "meant"})
    found = [one for one in lines(TARGETS, silent) if one.check == SOURCE]
    assert [one.object for one in found] == [f.source for f in silent.sources if f]
    assert {one.evidence for one in found} == {"It did not answer."}
    assert {one.level for one in lines(TARGETS, silent)} == {Mark.UNKNOWN}


# Backup status --------------------------------------------------------------------------------------------------------


def status(**other: Any) -> dict[str, Line]:
    facts = {
        "database": WEST,
        "primary": fact(PRIMARY),
        "automated": snapshots(6 * HOUR, 30 * HOUR),
        "manual": snapshots(DAY, kind=MANUAL),
        "verifications": fact([run(scenario="backup verify", ago=2 * DAY)]),
        "left_over": fact(()),
    }
    return {one.check: one for one in backups.lines(TARGETS, backups.Seen(**(facts | other)))}


@pytest.mark.parametrize(
    ("check", "facts", "level", "says"),
    [
        (
            "automated snapshots",
            {},
            "ok",
            "There are 2 snapshots to restore from, the newest from 2026-01-15 04:30:00 UTC, 6.0 h old",
        ),
        ("automated snapshots", {"automated": snapshots(27 * HOUR)}, "warn", "There is 1 snapshot to restore from"),
        ("automated snapshots", {"automated": snapshots()}, "stop", "There is none that can be restored."),
        ("manual snapshots", {"manual": snapshots(DAY, complete=False)}, "ok", "There is at least 1 snapshot to restore from"),
        ("manual snapshots", {"manual": snapshots()}, "ok", "There is none"),
        ("retention", {}, "ok", "kept for 35 days (35 promised), taken daily at 04:00-04:30."),
        ("retention", {"primary": fact(replace(PRIMARY, retention_days=0))}, "stop", "Automated backups are off."),
        ("point in time", {}, "ok", "A restore could go up to 2026-01-15 10:26:00 UTC, 4.0 min ago (5 min promised)."),
        ("point in time", {"primary": fact(replace(PRIMARY, restorable_to=None))}, "stop", "RDS names no time"),
        ("instance", {"primary": fact(None)}, "stop", "RDS in us-west-2 has no instance prod"),
        ("verifications", {}, "ok", "Done at 2026-01-13 10:30:00 UTC after 3.0 min."),
        ("verifications", {"verifications": fact([run(target="backups of database billing")])}, "stop", "No verification is on"),
        (
            "verifications",
            {"verifications": fact([run(restore_seconds=90.0)])},
            "ok",
            "after 3.0 min, 90 s of them for the restore.",
        ),
        (
            "restore time",
            {"verifications": fact([run(restore_seconds=90.0)])},
            "ok",
            "restore took 90 s until it had recovered (30",
        ),
        (
            "restore time",
            {"verifications": fact(restores(60, 50, 70))},
            "ok",
            "as against 60 s on average in the 2 verifications",
        ),
        ("restore time", {"verifications": fact(restores(100, 50, 70))}, "warn", "much longer than 60 s on average in the 2"),
        ("restore time", {"verifications": fact([run("failed", restore_seconds=9.0), *restores(60)])}, "ok", "took 60 s until"),
        (
            "restore time",
            {"verifications": fact(restores(1801))},
            "warn",
            "took 30.0 min until it had recovered (30 min to recover",
        ),
        ("left over", {"left_over": fact((LeftOver(name="prod-verify-1", status="available"),))}, "warn", "costs money"),
        ("verifications", {"verifications": fact([])}, "stop", "No verification is on record"),
        ("verifications", {"verifications": fact([run("failed")])}, "stop", "Failed at 2026-01-14"),
        ("verifications", {"verifications": fact([run(ago=9 * DAY)])}, "stop", "It is 9.0 days old"),
        (SOURCE, {"primary": missing()}, "warn", "RDS could not be read: what it would say is unknown."),
    ],
)
def test_backup_status_says_how_a_backup_stands(check: str, facts: dict[str, Any], level: str, says: str) -> None:
    found = status(**facts)[check]
    assert (found.level, says in found.says) == (level, True), found


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (120, "2.0 min"), (7200, "2.0 h"), (172_800, "2.0 days"), (3_024_000, "35.0 days")],
)
def test_a_length_of_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize("name", ["dr_heartbeat", "dr.heartbeat", "_h1"])
def test_a_table_is_named_in_letters_that_need_no_quotes(name: str) -> None:
    assert is_table(name)


@pytest.mark.parametrize("name", ["", "Heartbeat", "a.b.c", "a b", "a;b", "1a", "a-b", "a" * 70, 'a"'])
def test_any_other_text_is_not_a_table_name(name: str) -> None:
    assert not is_table(name)
