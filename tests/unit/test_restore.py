"""Which restore fits which facts: what stops it, what it does in which order, and what it leaves as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actions.aws.desired_count import SetDesiredCount
from actions.aws.restore_window import RestoreWindow
from actions.aws.secrets import PutVersion
from actions.aws.snapshots import CreateSnapshot
from actions.db.closed import CloseDatabase
from actions.db.restored import NobodyConnected, Recovered, TakesWrites
from actions.db.take_over import TakeOver
from actions.health import HealthAnswers
from actions.step import Hold
from actions.values import Level
from commands import restore
from commands.moments import EXPECTED
from commands.scenario import BadCommand
from tests.unit.restore_facts import (
    JOBS,
    NAME,
    NOW,
    WEB,
    WORLD,
    fact,
    instance,
    leads,
    plan,
    snapshot,
    steps,
    unread,
    user,
)

# --- what is done -----------------------------------------------------------------------------------------------


def test_what_is_comes_first_then_the_copy_then_the_question_then_the_switch() -> None:
    assert [[step.kind for step in stage] for stage in plan().stages] == [
        ["rds.create_snapshot"],
        ["ecs.set_desired_count"],
        ["rds.restore_to_time"],
        ["rds.change_settings"],
        ["rds.same_settings"],
        ["postgresql.recovered"],
        ["postgresql.integrity_holds"],
        ["postgresql.take_over"],
        ["secrets.put_version"],
        ["secrets.move_stage"],
        ["ecs.set_desired_count"],
        ["postgresql.takes_writes", "http.health_answers", "postgresql.nobody_connected"],
        ["postgresql.close_database"],
    ]
    assert not plan().forbidden


def test_nothing_that_the_service_reads_changes_before_the_question() -> None:
    kinds = [step.kind for _, step in plan().steps()]
    asks = next(n for n, (_, step) in enumerate(plan().steps()) if isinstance(step, Hold))
    assert not [kind for kind in kinds[:asks] if kind.startswith("secrets")]


def test_a_setting_that_every_restore_takes_over_needs_no_later_change() -> None:
    found = plan(source=fact(instance(settings={"MultiAZ": True, "BackupRetentionPeriod": 7})))
    assert "rds.change_settings" not in [step.kind for _, step in found.steps()]


def test_every_step_means_the_right_instance_and_the_right_dsn() -> None:
    found = plan()
    (taken,), (put,) = steps(found, CreateSnapshot), steps(found, PutVersion)
    assert (taken.instance, taken.snapshot, put.instance) == ("prod", f"{NAME}-before", NAME)
    for kind, name in (
        (Recovered, NAME),
        (TakeOver, NAME),
        (TakesWrites, NAME),
        (NobodyConnected, "prod"),
        (CloseDatabase, "prod"),
    ):
        (step,) = steps(found, kind)
        assert (step.database.instance, step.database.dsn_env, step.database.name) == (name, "THE_DSN", "primary")
        assert step.database.region == "us-west-2"
    (asks,) = steps(found, TakeOver)
    assert (asks.replaces.instance, asks.at) == ("prod", "2026-01-15T10:18:00Z")
    restores = {step.kind: step for step in found.actions()}
    made, changed = restores["rds.restore_to_time"], restores["rds.change_settings"]
    assert (made.source, made.instance, made.at) == ("prod", NAME, "2026-01-15T10:18:00Z")
    assert (changed.instance, changed.settings, changed.tag) == (NAME, {"MonitoringInterval": 60}, made.tag)
    assert made.settings == {"MultiAZ": True, "BackupRetentionPeriod": 7}


def test_the_clean_up_starts_every_service_again() -> None:
    found = plan(users=(user(tasks=2), user(JOBS, tasks=5)))
    (cleanup,) = found.cleanup
    wanted = [("web", 2), ("jobs", 5)]
    assert [(step.service, step.count) for step in cleanup if isinstance(step, SetDesiredCount)] == wanted
    changes = [(step.service, step.count) for step in steps(found, SetDesiredCount)]
    assert changes == [("web", 0), ("jobs", 0), *wanted, *wanted]


def test_services_that_share_a_secret_share_its_new_version() -> None:
    found = plan(users=(user(), user(JOBS)))
    kinds = [step.kind for step in found.actions()]
    assert (kinds.count("secrets.put_version"), kinds.count("secrets.move_stage")) == (1, 1)
    assert [step.url for step in steps(found, HealthAnswers)] == [WEB.health_url, JOBS.health_url]


def test_services_with_their_own_secrets_get_a_version_each() -> None:
    other = user(JOBS.model_copy(update={"database_secret": "jobs-url"}), leads=leads("version-9"))
    versions = {(step.secret_id, step.current): step.version for step in steps(plan(users=(user(), other)), PutVersion)}
    assert set(versions) == {("url", "version-1"), ("jobs-url", "version-9")}
    assert len(set(versions.values())) == 2


def test_a_service_without_tasks_stays_so_and_its_health_is_not_waited_for() -> None:
    found = plan(users=(user(tasks=0),))
    assert not found.forbidden
    assert [step.count for step in steps(found, SetDesiredCount)] == [0]
    assert (steps(found, HealthAnswers), found.cleanup) == ([], ())
    assert any("web wants no task now" in f.says for f in found.findings if f.level is Level.WARN)


def test_a_snapshot_name_that_is_taken_gets_a_number() -> None:
    taken = [snapshot(f"{NAME}-before"), snapshot(f"{NAME}-before-2")]
    for there, name in ((taken[:1], f"{NAME}-before-2"), (taken, f"{NAME}-before-3"), (taken[1:], f"{NAME}-before")):
        (step,) = steps(plan(snapshots=fact(there)), CreateSnapshot)
        assert step.snapshot == name


def test_snapshots_that_cannot_be_read_are_said_and_stop_nothing() -> None:
    found = plan(snapshots=unread())
    assert not found.forbidden
    assert any("so this plan does without it" in f.says for f in found.findings)


def test_without_the_right_to_fence_the_plan_says_so_and_leaves_the_step_out() -> None:
    refused = fact({"refusal": "Only shop may close it."})
    for seen, fences, says in ((refused, 0, "prod is not fenced at the end"), (unread(), 1, "I can't tell whether I may fence")):
        found = plan(fence=seen)
        assert len(steps(found, CloseDatabase)) == fences
        assert [f.evidence != "" for f in found.findings if f.level is Level.WARN and says in f.says] == [True]
    assert not [f for f in plan(fence=fact({"refusal": ""})).findings if "fence" in f.says]


# --- what stops it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"at": NOW - timedelta(minutes=1)},
            "prod can be restored up to 2026-01-15 10:27:00 UTC so far, and 2026-01-15 10:29:00 UTC is later.",
        ),
        ({"at": NOW - timedelta(days=7, seconds=1)}, "prod keeps backups for 7 days, and 2026-01-08 10:29:59 UTC is longer ago."),
        (
            {"window": fact(RestoreWindow(earliest=NOW - timedelta(minutes=5), latest=NOW))},
            "prod has backups from 2026-01-15 10:25:00 UTC on, and 2026-01-15 10:18:00 UTC is earlier.",
        ),
        ({"source": fact(instance(restorable_to=None))}, "prod has no backups"),
        ({"source": fact(instance(status="backing-up"))}, "prod is backing-up"),
        ({"source": fact(None), "name": ""}, "has no instance prod"),
        ({"source": unread(), "name": ""}, "RDS could not be read"),
        ({"users": (user(service=unread()),)}, "Service web could not be read"),
        ({"users": (user(leads=unread()),)}, "Secret url could not be read"),
        ({"users": (user(leads=None),)}, "database_secret of web isn't set"),
        ({"users": (user(leads=leads(host="old.example")),)}, "Secret url leads to old.example:5432"),
        ({"users": (user(leads=leads(port=6432)),)}, "Secret url leads to prod.example:6432"),
        ({"users": (user(), user(JOBS, leads=unread()))}, "I can't lead jobs to the copy"),
        ({"users": ()}, "No service of dr.toml uses primary"),
    ],
)
def test_a_plan_that_lacks_something_says_what_and_has_no_steps(facts: dict[str, Any], says: str) -> None:
    found = plan(**facts)
    assert [f.says for f in found.forbidden if says in f.says]
    assert len(found.forbidden) == 1
    assert (found.stages, found.cleanup) == ((), ())


def test_all_that_is_missing_is_said_at_once() -> None:
    found = plan(source=unread(), name="", users=(user(service=unread(), leads=unread()),), snapshots=unread())
    assert len(found.forbidden) == 3
    assert all(f.evidence == "It did not answer." for f in found.forbidden)


def test_the_edges_of_what_can_be_restored_are_inside() -> None:
    assert not plan(at=NOW - timedelta(minutes=3)).forbidden
    assert not plan(at=NOW - timedelta(days=7)).forbidden


@pytest.mark.parametrize(("time", "says"), [("", "needs the time to go back to"), ("2099-01-01T00:00Z", "is in the future")])
async def test_no_time_and_a_time_to_come_are_refused_before_anything_is_asked(time: str, says: str) -> None:
    with pytest.raises(BadCommand, match=says) as refused:
        await restore.restore(WORLD, time=time)
    assert str(refused.value).endswith(f"{EXPECTED}.")
    assert "\n" not in str(refused.value)
