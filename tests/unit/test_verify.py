"""Which verification fits which facts: what it does in which order, what it never touches, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.drops import DropInstance
from actions.aws.instances import Described
from actions.aws.restores import RestoreSnapshot, RestoreToTime, SameSettings
from actions.aws.snapshots import Snapshot
from actions.db.check_result import CheckResult, CheckVerdict
from actions.db.damages import KINDS, chosen
from actions.db.evidence import HoldsEnough, Newest, Rows, judge_canaries, judge_evidence
from actions.db.negative_control import DamageIsFound, PlantDamage, judge_control
from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site, Targets
from actions.step import Hold
from actions.values import Level, Result
from actions.world import World
from commands import verify
from commands.facts import Fact
from commands.plan import Plan, changes
from commands.verify import Seen

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
TAKEN = datetime(2026, 1, 15, 4, 10, tzinfo=UTC)
POINT = NOW - timedelta(minutes=3)
NAME, SNAPSHOT = "prod-verify-20260115-1", "rds:prod-2026-01-15-04-10"
WEB = ServiceSection(cluster="c", service="web", log_group="/web", health_url="https://web.example/health")
DATABASE = DatabaseSection(instance="prod", dsn_env="THE_DSN", heartbeat_table="beats", verify_percent=10)
SITE = Site(aws=Aws(region="us-west-2"), services={"web": WEB}, databases={"primary": DATABASE}, targets=Targets(rpo_minutes=7))
WORLD = World(SITE)


def fact(value: Any) -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value)


def unread() -> Fact[Any]:
    return Fact(source="The source", at=NOW, error="It did not answer.")


def instance(name: str = "prod", **other: Any) -> Described:
    facts: dict[str, Any] = {"status": "available", "resource_id": "db-1", "host": "prod.example", "port": 5432, "unsettled": ()}
    facts |= {
        "protected": True,
        "restorable_to": NOW - timedelta(minutes=3),
        "tags": {"Environment": "production", "dr-run": "x"},
    }
    settings = {"MultiAZ": True, "DBSubnetGroupName": "private", "DeletionProtection": True, "MonitoringInterval": 60}
    return Described(name=name, **({**facts, "settings": settings} | other))


def snapshot(**other: Any) -> Snapshot:
    facts: dict[str, Any] = {"name": SNAPSHOT, "kind": "automated", "status": "available", "percent": 100, "instance": "prod"}
    return Snapshot(**(facts | {"resource_id": "db-1", "taken_at": TAKEN, "encrypted": True, "tags": {}} | other))


def seen(**other: Any) -> Seen:
    facts = {"database": SITE.database(), "wanted": "", "now": NOW, "source": fact(instance()), "snapshot": fact(snapshot())}
    return Seen(**(facts | {"left_over": fact([]), "may_create": fact(True), "name": NAME, "point": POINT} | other))


def plan(**other: Any) -> Plan:
    return verify.plan_for(WORLD, seen(**other), {"snapshot": SNAPSHOT})


def says(found: Plan, level: Level) -> list[str]:
    return [finding.says for finding in found.findings if finding.level is level]


# --- what is done -----------------------------------------------------------------------------------------------


def test_the_copy_is_looked_at_the_looking_tested_and_it_is_dropped() -> None:
    assert [[step.kind for step in stage] for stage in plan().stages] == [
        ["rds.restore_snapshot", "rds.restore_to_time"],
        ["rds.same_settings"] * 2,
        ["postgresql.recovered"] * 2,
        ["postgresql.integrity_holds"] * 2,
        ["postgresql.holds_enough"] * 2,
        ["postgresql.plant_damage"],
        ["postgresql.damage_is_found"],
    ]
    drops = [DropInstance(instance=name, region="us-west-2", tag=f"dr-verify={NAME}") for name in (NAME, f"{NAME}-point")]
    assert plan().cleanup == (tuple(drops),)
    assert not plan().forbidden


def test_all_it_changes_is_the_temporary_instance_and_nobody_is_asked() -> None:
    for step in plan().actions():
        named = step.arguments.get("instance") or step.arguments["database"]["instance"]
        assert named in (NAME, f"{NAME}-point")
        assert step.arguments["tag"] == f"dr-verify={NAME}"
    assert not [step for _, step in plan().steps() if isinstance(step, Hold)]
    assert (
        plan().withholds
        == f"The green mark is withheld: it is not proven that {SNAPSHOT} and the newest restorable point can be restored."
    )


def test_it_may_run_without_an_approval_because_no_step_touches_production() -> None:
    assert plan().needs_people({"prod"}) == ""
    assert plan().needs_people({NAME}).startswith("Step 1.1 changes production: Restore snapshot")


def test_the_copy_is_set_up_as_its_source_but_can_be_dropped() -> None:
    ((restore, to_time), (same, _), *_) = plan().stages
    assert isinstance(to_time, RestoreToTime)
    assert (to_time.source, to_time.instance, to_time.at) == ("prod", f"{NAME}-point", "2026-01-15T10:27:00Z")
    assert (to_time.settings, to_time.tags) == (restore.settings, restore.tags)  # type: ignore[attr-defined]
    assert isinstance(restore, RestoreSnapshot)
    assert isinstance(same, SameSettings)
    assert restore.settings == {"MultiAZ": True, "DBSubnetGroupName": "private", "DeletionProtection": False}
    assert restore.tags == {"Environment": "production"}, "another run's tag is not handed on"
    assert same.apart_from == ("DeletionProtection", "MonitoringInterval")


def test_what_is_compared_and_promised_comes_from_the_settings() -> None:
    ((step, later),) = [stage for stage in plan().stages if isinstance(stage[0], HoldsEnough)]
    assert isinstance(later, HoldsEnough)
    assert (later.database.instance, later.original.instance, later.at) == (f"{NAME}-point", "prod", "2026-01-15T10:27:00Z")
    assert isinstance(step, HoldsEnough)
    assert (step.database.instance, step.original.instance, step.at) == (NAME, "prod", "2026-01-15T04:10:00Z")
    assert (step.percent, step.rpo_minutes, step.heartbeat_table) == (10, 7, "beats")


def test_it_locks_nothing_that_a_recovery_needs() -> None:
    assert plan().target == "backups of database prod"


def test_the_same_facts_make_the_same_plan_and_another_snapshot_another() -> None:
    again = plan(now=NOW + timedelta(minutes=9), left_over=fact([instance("prod-verify-1")]))
    assert changes(plan(), again) == ()
    assert changes(plan(), plan(snapshot=fact(snapshot(name="rds:later"))))
    assert Plan.from_json(plan().to_json()).digest == plan().digest
    assert replace(plan(), withholds="").digest != plan().digest


def test_every_kind_of_damage_is_drawn_by_some_seed_and_always_the_same() -> None:
    seeds = [f"prod-verify-2026{day:04}-1/rds:prod" for day in range(100)]
    assert {chosen(seed, amcheck=True) for seed in seeds} == set(KINDS)
    assert {chosen(seed, amcheck=False) for seed in seeds} == {one for one in KINDS if not one.by_amcheck}
    assert all(chosen(seed, amcheck=True) is chosen(seed, amcheck=True) for seed in seeds)
    ((planted,), (found,)) = plan().stages[-2:]
    assert isinstance(planted, PlantDamage)
    assert isinstance(found, DamageIsFound)
    assert planted.seed == found.seed
    assert chosen(planted.seed, amcheck=True).name in planted.title


# --- what is said -----------------------------------------------------------------------------------------------


def test_the_newest_restorable_point_and_the_snapshot_have_their_age() -> None:
    assert says(plan(), Level.OK) == [
        "The newest restorable point of prod is 2026-01-15 10:27:00 UTC, 3 min ago.",
        f"{SNAPSHOT} (automated) was taken at 2026-01-15 04:10:00 UTC, 6.3 h ago.",
    ]


def test_what_an_earlier_one_left_is_told_with_the_command_against_it() -> None:
    found = plan(left_over=fact([instance("prod-verify-20260108-1")]))
    (finding,) = [one for one in found.findings if one.level is Level.WARN]
    assert finding.says.startswith("prod-verify-20260108-1 is left over from another verification (available), and costs money.")
    assert finding.evidence == (
        "aws rds delete-db-instance --db-instance-identifier prod-verify-20260108-1 --skip-final-snapshot --region us-west-2"
    )
    assert not found.forbidden


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"source": unread()}, "RDS could not be read, so no restore can be asked for."),
        ({"source": fact(None)}, "RDS in us-west-2 has no instance prod."),
        ({"snapshot": unread()}, "The snapshots could not be read."),
        ({"snapshot": fact(None)}, "prod has no automated snapshot that can be restored."),
        ({"snapshot": fact(None), "wanted": "mine"}, "prod has no snapshot mine."),
        ({"snapshot": fact(snapshot(instance="billing"))}, "is of billing, not of prod."),
        ({"snapshot": fact(snapshot(status="creating"))}, "is creating. Only an available one can be restored."),
        ({"may_create": fact(False)}, "The bot's role may not create databases"),
    ],
)
def test_what_it_cannot_do_without_stops_the_plan(facts: dict[str, Any], said: str) -> None:
    found = plan(**facts)
    assert any(said in one for one in says(found, Level.STOP)), found.findings
    assert not found.stages
    assert not found.cleanup


def test_what_could_not_be_read_besides_is_told_and_stops_nothing() -> None:
    found = plan(may_create=unread(), left_over=unread())
    assert not found.forbidden
    assert len(says(found, Level.WARN)) == 2
    of_another = plan(snapshot=fact(snapshot(resource_id="db-0")))
    assert "is of an earlier instance of the name prod" in says(of_another, Level.WARN)[0]


# --- the verdicts -----------------------------------------------------------------------------------------------

COPY = DatabaseRef(name="primary", instance=NAME, region="us-west-2", dsn_env="THE_DSN")
STEP = HoldsEnough(database=COPY, original=SITE.database(), at="2026-01-15T04:10:00Z", percent=20, rpo_minutes=5)
NEWEST = Newest(at=TAKEN - timedelta(seconds=4), source="pg_last_committed_xact()")


@pytest.mark.parametrize(
    ("held", "now", "good"),
    [
        ({"t": 1000}, {"t": 1250}, True),
        ({"t": 1000}, {"t": 1251}, False),
        ({"t": 1251}, {"t": 1000}, False),
        ({"t": 0}, {"t": 20}, True),
        ({"t": 0}, {"t": 21}, False),
        ({"t": 9}, {"t": 9, "new": 21}, False),
        ({"t": 9, "old": 21}, {"t": 9}, False),
        ({"t": 9, "large": None}, {"t": 9, "large": 7}, True),
        ({"large": None}, {"large": 7}, False),
        ({}, {}, False),
    ],
)
def test_rows_beyond_the_bounds_fail_and_no_comparison_is_no_proof(held: Any, now: Any, good: bool) -> None:
    outcome = judge_evidence(STEP, NEWEST, of(held), of(now))
    assert outcome.ok == good, outcome.says
    assert ("Not counted in time, so not compared: large." in outcome.says) == ("large" in held)


def of(numbers: dict[str, int | None]) -> dict[str, Rows | None]:
    return {name: None if number is None else Rows(number=number) for name, number in numbers.items()}


def test_an_estimate_stands_for_a_count_that_took_too_long_and_says_so() -> None:
    now = {"t": Rows(number=1100, counted=False)}
    assert "t 1000 (now about 1100)" in judge_evidence(STEP, NEWEST, of({"t": 1000}), now).says
    assert not judge_evidence(STEP, NEWEST, of({"t": 800}), now).ok


def test_only_tables_that_are_named_must_be_within_the_bounds() -> None:
    only = replace(STEP, tables=("public.a",))
    rows = of({"public.a": 100, "public.queue": 0}), of({"public.a": 101, "public.queue": 9000})
    assert judge_evidence(only, NEWEST, *rows).ok
    uncounted = judge_evidence(
        replace(STEP, tables=("public.b",)), NEWEST, {**rows[0], "public.b": None}, {**rows[1], "public.b": None}
    )
    assert (uncounted.ok, "public.b (not counted in time)" in uncounted.says) == (False, True)
    outcome = judge_evidence(replace(STEP, tables=("public.a", "public.b")), NEWEST, *rows)
    assert (outcome.result, "public.b (there is none)" in outcome.says) == (Result.FAILED, True)


@pytest.mark.parametrize(
    ("last", "held", "good"),
    [
        ({"t": 1000}, 800, True),
        ({"t": 1000}, 799, False),
        ({"t": 1000}, 9000, True),
        ({"t": 10}, 0, True),
        ({"t": 0}, 0, True),
        ({"gone": 500}, 100, False),
    ],
)
def test_no_table_may_have_lost_too_much_since_the_last_time(last: dict[str, int], held: int, good: bool) -> None:
    outcome = judge_evidence(STEP, NEWEST, of({"t": held}), of({"t": held}), last=last)
    assert outcome.ok is good, outcome.says
    assert ("lost more since the last verification than that" in outcome.says) is not good


def test_a_small_table_may_be_empty_only_if_it_is_in_production_too() -> None:
    assert not judge_evidence(STEP, NEWEST, of({"t": 0, "u": 9}), of({"t": 5, "u": 9}), last={"t": 5}).ok
    assert judge_evidence(STEP, NEWEST, of({"t": 0, "u": 9}), of({"t": 0, "u": 9}), last={"t": 5}).ok


@pytest.mark.parametrize(
    ("held", "now", "says", "wrong"),
    [
        (None, {}, "", False),
        ({}, {}, "No canary row is old enough", False),
        ({"a": TAKEN - timedelta(hours=1)}, {"a": TAKEN - timedelta(hours=1)}, "1 canary row is in it", False),
        ({}, {"a": TAKEN - timedelta(hours=1)}, "1 canary row of 1 missing or changed: a.", True),
        ({"a": TAKEN}, {"a": TAKEN - timedelta(hours=1)}, "1 canary row of 1 missing or changed: a.", True),
        ({}, {"a": TAKEN + timedelta(hours=1)}, "No canary row is old enough", False),
    ],
)
def test_every_canary_row_of_before_must_be_in_the_copy(held: Any, now: Any, says: str, wrong: bool) -> None:
    told, is_wrong = judge_canaries(STEP, held, now)
    assert (told.startswith(says), is_wrong) == (True, wrong)
    outcome = judge_evidence(STEP, NEWEST, of({"t": 9}), of({"t": 9}), canary=(told, is_wrong))
    assert (outcome.ok, told in outcome.says) == (not wrong, True)


def test_a_newest_commit_that_nobody_knows_is_told_and_claimed_by_nobody() -> None:
    outcome = judge_evidence(STEP, Newest(at=None, source="set heartbeat_table."), of({"t": 9}), of({"t": 9}))
    assert outcome.ok
    assert "How old its newest commit is, is not known: set heartbeat_table." in outcome.says


def result(name: str, thing: str, verdict: str = "failed") -> CheckResult:
    return CheckResult(name=name, object=thing, verdict=CheckVerdict(verdict), says="it says so.")


def test_the_control_counts_only_if_the_right_check_fails_and_no_other() -> None:
    damage = KINDS[0]
    right, other = result(damage.check, damage.object), result("table", "control.customers")
    sound = result("recovered", "database x", "ok")
    assert judge_control([sound, right], damage).result is Result.DONE
    for results in ([sound], [], [sound, other], [sound, right, other], [right], [result("table", damage.object), sound]):
        assert judge_control(results, damage).result is Result.FAILED, results
    blind = judge_control([sound, other], damage).says
    assert blind.startswith(
        f"The integrity suite was to find {damage.name} (foreign key control.orders (of_a_customer)), and it did"
    )
    assert blind.endswith("It said instead: table control.customers: it says so.")
