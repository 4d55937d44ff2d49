"""What is approved of a restore, and what is said of it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from actions.aws.secrets import PutVersion
from actions.db.run_migrations import RunMigrations
from actions.db.take_over import TakeOver
from actions.site import Migrations
from actions.values import Level
from actions.world import World
from commands import restore
from commands.moments import stamp
from commands.plan import Plan
from commands.restore_migrations import Migrated
from rehearsal.migrations.project import FILES
from tests.unit.restore_facts import (
    AT,
    NAME,
    NOW,
    SITE,
    fact,
    instance,
    leads,
    plan,
    seen,
    snapshot,
    steps,
    user,
)

# --- what is approved -------------------------------------------------------------------------------------------


def test_the_same_facts_make_the_same_plan() -> None:
    later = {"now": NOW + timedelta(minutes=5), "source": fact(instance(restorable_to=NOW))}
    assert plan().digest == plan().digest == plan(**later).digest


@pytest.mark.parametrize(
    "facts",
    [
        {"users": (user(leads=leads("version-2")),)},
        {"users": (user(tasks=3),)},
        {"at": AT - timedelta(seconds=1)},
        {"name": f"{NAME}-2"},
        {"source": fact(instance(resource_id="db-2"))},
        {"source": fact(instance(settings={"MultiAZ": False, "BackupRetentionPeriod": 7, "MonitoringInterval": 60}))},
        {"snapshots": fact([snapshot(f"{NAME}-before")])},
    ],
    ids=["secret's version", "tasks", "moment", "name", "another instance", "settings", "snapshot's name"],
)
def test_whatever_is_done_otherwise_is_another_plan(facts: dict[str, Any]) -> None:
    assert plan(**facts).digest != plan().digest


def test_a_new_version_is_named_by_what_it_leads_to_and_from() -> None:
    def version(**other: Any) -> str:
        return str(steps(plan(**other), PutVersion)[0].version)

    assert version() == version()
    assert len({version(), version(name=f"{NAME}-2"), version(users=(user(leads=leads("version-2")),))}) == 3
    assert 32 <= len(version()) <= 64  # what Secrets Manager takes as a ClientRequestToken


def test_a_plan_is_stored_and_read_back_as_the_same() -> None:
    assert Plan.from_json(plan().to_json()).digest == plan().digest


# --- what is said -----------------------------------------------------------------------------------------------


def test_what_is_lost_is_said_first_and_in_whole_seconds() -> None:
    found = plan(at=AT.replace(microsecond=123_456))
    assert found.title == "Restore prod to 2026-01-15 10:18:00 UTC"
    assert found.why == "All that was committed after 2026-01-15 10:18:00 UTC is given up: the last 12 min."
    said = [found.title, found.why, *found.cost, *(f.says for f in found.findings), *(step.title for _, step in found.steps())]
    assert not [text for text in said if ".123" in text or "T10:18" in text]


def test_migrations_that_cannot_be_listed_are_left_to_a_person() -> None:
    assert "igrations" not in str(plan().findings)
    found = plan(migrations=Migrated.of(Migrations(dir="/srv/app")))
    assert "run `npx drizzle-kit migrate` against the copy by hand, in /srv/app" in str(found.findings)
    assert not steps(found, RunMigrations)


def test_migrations_run_after_the_question_and_before_anybody_is_led_there() -> None:
    found = plan(migrations=Migrated.of(Migrations(dir=str(FILES))))
    kinds = [stage[0].kind for stage in found.stages]
    wanted = ["postgresql.take_over", "secrets.put_version", "migrations.run", "secrets.move_stage"]
    assert kinds[kinds.index(wanted[0]) :][:4] == wanted
    (run,), (question,) = steps(found, RunMigrations), steps(found, TakeOver)
    assert (run.version, run.database.instance) == (steps(found, PutVersion)[0].version, NAME)
    assert (question.migrations, question.run) == (str(FILES), "npx drizzle-kit migrate")
    assert found.confirm == "prod"


def test_a_command_that_decides_by_itself_is_warned_of_and_typed() -> None:
    found = plan(migrations=Migrated.of(Migrations(dir=str(FILES), command="npx drizzle-kit push --force")))
    assert found.confirm == "prod npx drizzle-kit push --force"
    assert [f.level for f in found.findings if "may truncate tables" in f.says] == [Level.WARN]


def test_a_long_name_is_cut_to_what_rds_takes() -> None:
    long = SITE.databases["primary"].model_copy(update={"restore_prefix": "p" * 80})
    site = SITE.model_copy(update={"databases": {**SITE.databases, "primary": long}})
    first, *others = itertools.islice(restore.names(World(site), seen().database, seen().at), 120)
    assert first.startswith("ppp")
    assert first.endswith(stamp(seen().at))
    assert others[0] == f"{first}-2"
    assert max(map(len, [first, *others])) <= 63
