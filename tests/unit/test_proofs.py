"""The proofs of actions, as functions of what was read back: done, not done, or unknown."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.deployments import Deployment, Rollout, Service, StoppedTask, _before, failure_reasons
from actions.aws.ecs import ForceNewDeployment, judge_restart, judge_rollback
from actions.aws.rds import Event, FailOver, Instance, judge_failover
from actions.db.sessions import EndIdleSessions, judge_sessions
from actions.site import DatabaseRef
from actions.values import Level, Verdict

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
PROD = DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="DATABASE_URL")


# --- proofs: deployments ----------------------------------------------------------------------------------------

FACTS = {"t0": NOW.isoformat(), "revision": "s:7", "deployments": ["old"], "primary": "old", "rollouts": ["arn:old"]}


def deployment(name: str, *, revision: str = "s:7", after: float = 1, status: str = "PRIMARY") -> Deployment:
    at = NOW + timedelta(seconds=after)
    return Deployment(
        id=name, status=status, revision=revision, rollout="IN_PROGRESS", reason="", created_at=at, running=0, failed=0
    )


def record(arn: str) -> Rollout:
    return Rollout(arn=arn, status="IN_PROGRESS", reason="", created_at=NOW, target="")


@pytest.mark.parametrize(
    ("deployments", "listed", "verdict"),
    [
        ([deployment("old", after=-900)], [record("arn:old")], Verdict.NOT_DONE),
        ([deployment("old", after=-900)], None, Verdict.NOT_DONE),
        ([deployment("new"), deployment("old", after=-900)], [record("arn:new"), record("arn:old")], Verdict.DONE),
        ([deployment("new")], None, Verdict.DONE),
        ([deployment("new", after=-4)], None, Verdict.DONE),
        ([deployment("earlier", after=-60)], None, Verdict.NOT_DONE),
        ([deployment("old", after=-900)], [record("arn:new")], Verdict.DONE),
        ([deployment("new"), deployment("other", after=2)], None, Verdict.UNKNOWN),
        ([deployment("new")], [record("arn:new"), record("arn:other")], Verdict.UNKNOWN),
        ([deployment("rolled-back", after=9), deployment("new")], [record("arn:new")], Verdict.DONE),
        ([deployment("new", revision="s:8")], [record("arn:new")], Verdict.UNKNOWN),
        ([], [record("arn:old")], Verdict.UNKNOWN),
        ([], None, Verdict.UNKNOWN),
    ],
)
def test_a_restart_is_proven_by_exactly_one_new_deployment(
    deployments: list[Deployment], listed: list[Rollout] | None, verdict: Verdict
) -> None:
    proof = judge_restart(FACTS, deployments, listed)
    assert proof.verdict is verdict
    assert proof.receipt.get("deployment", "new") in ("new", "")


def service(revision: str, *deployments: Deployment, status: str = "ACTIVE") -> Service:
    return Service(
        arn="", status=status, revision=revision, desired=1, running=1, pending=0, breaker=False, rolls_back=False,
        deployments=deployments, events=(), at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (service("s:6", deployment("new", revision="s:6")), Verdict.DONE),
        (service("s:7", deployment("old", revision="s:7")), Verdict.NOT_DONE),
        (service("s:7", deployment("automatic", revision="s:7")), Verdict.UNKNOWN),
        (service("s:8", deployment("another", revision="s:8")), Verdict.UNKNOWN),
        (service("s:6", deployment("old", revision="s:7")), Verdict.UNKNOWN),
        (service("", status="MISSING"), Verdict.UNKNOWN),
    ],
)
def test_a_rollback_is_proven_by_the_revision_and_disproven_only_if_all_is_as_it_was(seen: Service, verdict: Verdict) -> None:
    proof = judge_rollback("s:6", FACTS, seen)
    assert proof.verdict is verdict
    assert ("Nothing changed" in proof.says) is (verdict is Verdict.NOT_DONE)


@pytest.mark.parametrize(
    ("current", "known", "best"),
    [
        ("s:8", ["s:8", "s:6", "s:7"], ["s:6", "s:7"]),
        ("s:7", ["s:8", "s:7", "s:6"], ["s:6"]),
        ("s:7", ["t:3", "s:7"], ["t:3"]),
        ("s:7", ["s:8"], []),
        ("s:10", ["s:9"], ["s:9"]),
    ],
)
def test_a_rollback_goes_to_a_lower_number_of_the_family(current: str, known: list[str], best: list[str]) -> None:
    assert _before(current, known) == best


def test_why_tasks_failed_is_told_and_an_ordinary_stop_is_no_failure() -> None:
    def task(code: str, *exit_codes: int, reason: str = "why") -> StoppedTask:
        return StoppedTask(revision="s:7", reason=reason, code=code, exit_codes=exit_codes, stopped_at=NOW)

    ordinary = [task("ServiceSchedulerInitiated", 1), task("EssentialContainerExited", 143), task("EssentialContainerExited", 0)]
    assert failure_reasons(ordinary) == ""
    assert failure_reasons([task("EssentialContainerExited", 137), *ordinary]) == "exit code 137 (why)"
    unhealthy = task("ServiceSchedulerInitiated", 143, reason="Task failed container health checks")
    no_image = task("TaskFailedToStart", reason="CannotPullContainerError: not found")
    assert failure_reasons([unhealthy, no_image, unhealthy]) == f"{unhealthy.reason}; {no_image.reason}"
    assert not unhealthy.crashed


@pytest.mark.parametrize(("status", "desired"), [("MISSING", 0), ("INACTIVE", 2), ("ACTIVE", 0)])
def test_nothing_is_deployed_to_a_service_that_wants_nothing(status: str, desired: int) -> None:
    step = ForceNewDeployment(cluster="c", service="s", region="r")
    assert step.precheck({"status": status, "desired": desired, "revision": "s:7"}).level is Level.STOP


# --- proofs: failover -------------------------------------------------------------------------------------------

BEFORE = {
    "t0": NOW.isoformat(), "zone": "a", "standby_zone": "b", "status": "available", "multi_az": True, "under_way": False,
    "events": [], "postmaster_start": (NOW - timedelta(days=9)).isoformat(),
}  # fmt: skip


def instance(status: str = "available", zone: str = "a") -> Instance:
    return Instance(
        name="prod", arn="", resource_id="", status=status, multi_az=True, zone=zone, standby_zone="b", restorable_to=None, at=NOW
    )


OLD, NEW = NOW - timedelta(days=9), NOW + timedelta(seconds=9)


@pytest.mark.parametrize(
    ("seen", "events", "started", "verdict"),
    [
        (instance(), [], OLD, Verdict.NOT_DONE),
        (instance(), [], None, Verdict.NOT_DONE),
        (instance("rebooting"), [], None, Verdict.DONE),
        (instance("modifying"), [], OLD, Verdict.UNKNOWN),
        (instance("failed"), ["Multi-AZ instance failover started."], None, Verdict.DONE),
        (instance(zone="b"), [], OLD, Verdict.DONE),
        (instance(), ["Multi-AZ instance failover started."], None, Verdict.DONE),
        (instance(), ["The user requested a failover of the DB instance."], None, Verdict.DONE),
        (instance(), ["Backing up DB instance"], OLD, Verdict.NOT_DONE),
        (instance(), [], NEW, Verdict.DONE),
        (None, ["Multi-AZ instance failover completed"], None, Verdict.DONE),
        (None, [], OLD, Verdict.UNKNOWN),
        (instance(), None, OLD, Verdict.UNKNOWN),
        (None, None, None, Verdict.UNKNOWN),
    ],
)
def test_a_failover_is_proven_by_any_sign_and_disproven_only_by_rds(
    seen: Instance | None, events: list[str] | None, started: datetime | None, verdict: Verdict
) -> None:
    found = None if events is None else [Event(at=NEW, message=message) for message in events]
    assert judge_failover(BEFORE, seen, found, started).verdict is verdict


def test_a_server_that_was_down_before_is_judged_by_aws_s_time() -> None:
    facts = {**BEFORE, "postmaster_start": None}
    assert judge_failover(facts, instance(), [], NEW).verdict is Verdict.DONE
    assert judge_failover(facts, instance(), [], OLD).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize("other", [{"multi_az": False}, {"status": "backing-up"}, {"under_way": True}])
def test_a_failover_that_cannot_be_is_stopped_before_it_is_asked_for(other: dict[str, Any]) -> None:
    step = FailOver(database=PROD)
    assert step.precheck(BEFORE).level is Level.OK
    assert step.precheck({**BEFORE, **other}).level is Level.STOP


# --- proofs: sessions -------------------------------------------------------------------------------------------

ENDING = EndIdleSessions(database=PROD, applications=("web", "o\"$(x)`'s"), idle_for_seconds=60, at_most=10)


def session(pid: int, since: str = "1.5") -> dict[str, Any]:
    return {"pid": pid, "backend_start": "1.0", "state": "idle in transaction", "since": since, "application": "web"}


def test_the_shown_statement_is_the_one_that_runs_narrowed_to_the_recorded_sessions() -> None:
    shown, sent = ENDING.statement(), ENDING.statement([session(7)])
    as_the_shell_reads_it = subprocess.run(
        ["sh", "-c", f'psql() {{ printf %s "$3"; }}; {ENDING.command()}'], capture_output=True, text=True, check=True
    )
    assert as_the_shell_reads_it.stdout == shown
    assert "(7, '1.0', '1.5')" in sent
    start, _, end = shown.partition(" ORDER BY")
    assert sent.startswith(start + " AND (pid, ")
    assert sent.endswith(" ORDER BY" + end)


def test_a_name_cannot_break_out_of_the_statement() -> None:
    assert """'o"$(x)`''s'""" in ENDING.statement()


def test_sessions_are_proven_gone_by_their_pid_and_start() -> None:
    recorded = [session(7), session(8)]
    assert judge_sessions(recorded, []).verdict is Verdict.DONE
    half = judge_sessions(recorded, [session(8)])
    assert half.verdict is Verdict.NOT_DONE
    assert half.says.startswith("1 of 2 sessions have ended, 1 is still idle in a transaction")
    back_at_work = judge_sessions(recorded, [session(8, since="9.9")])
    assert back_at_work.verdict is Verdict.DONE
    assert back_at_work.says == "1 of 2 sessions have ended, 1 works again and was left alone."


def test_more_sessions_than_were_approved_stop_the_step() -> None:
    assert ENDING.precheck({"sessions": [session(n) for n in range(11)]}).level is Level.STOP
    assert ENDING.precheck({"sessions": [session(n) for n in range(10)]}).level is Level.OK
    assert ENDING.precheck({"sessions": []}).level is Level.OK
