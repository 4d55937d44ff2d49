"""Which repair fits which facts: its steps in their order, what stops it, and what an undo may do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.aws.instances import Described
from actions.aws.restores import RestoreToTime
from actions.db.indexes import Index
from actions.db.repair_case import Case, Rights
from actions.site import Aws, DatabaseRef, DatabaseSection, ServiceSection, Site
from actions.step import Hold
from actions.values import Level
from actions.world import World
from commands.corruption_copy import corruption_copy
from commands.corruption_copy import plan_for as copy_plan
from commands.corruption_reindex import corruption_reindex
from commands.corruption_reindex import plan_for as reindex_plan
from commands.corruption_repair import Seen, corruption_repair, corruption_undo, plan_for, undo_plan
from commands.facts import Fact
from commands.plan import Plan
from commands.scenario import BadCommand

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
NAME = "prod-repair-20260115-101800"
DATABASE = DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="THE_DSN")
SOURCE = Described(
    name="prod",
    status="available",
    resource_id="db-1",
    host="prod.example",
    port=5432,
    protected=True,
    tags={"Environment": "production"},
    unsettled=(),
    restorable_to=NOW - timedelta(minutes=3),
    settings={"MultiAZ": True, "DeletionProtection": True, "DBSubnetGroupName": "private", "BackupRetentionPeriod": 7},
)
SERVICE = ServiceSection(cluster="c", service="web", log_group="/web", health_url="https://web.example/health")
WORLD = World(
    Site(aws=Aws(region="us-west-2"), services={"web": SERVICE}, databases={"primary": DatabaseSection(instance="prod")})
)


def fact(value: Any, error: str = "") -> Fact[Any]:
    return Fact(source="The source", at=NOW, value=value, error=error)


SEEN = Seen(
    database=DATABASE,
    tables=("public.orders",),
    at=NOW - timedelta(minutes=12),
    now=NOW,
    source=fact(SOURCE),
    snapshots=fact([]),
    rights=fact(Rights(owner="shop", tables=("public.orders",))),
    name=NAME,
)


def plan(**other: Any) -> Plan:
    return plan_for(replace(SEEN, **other), {"table": "orders"})


def test_it_asks_saves_compares_asks_again_and_only_then_writes() -> None:
    assert [step.kind for stage in plan().stages for step in stage] == [
        "postgresql.writers_stopped",
        "rds.create_snapshot",
        "rds.restore_to_time",
        "postgresql.recovered",
        "postgresql.collect_differences",
        "postgresql.choose_repair",
        "postgresql.put_rows_back",
        "postgresql.repair_holds",
    ]
    assert [isinstance(step, Hold) for stage in plan().stages for step in stage].count(True) == 2
    assert [step.command() for (step,) in plan().cleanup] == [
        f"aws rds delete-db-instance --db-instance-identifier {NAME} --skip-final-snapshot --region us-west-2"
    ]


def test_the_copy_is_as_its_source_but_can_be_dropped() -> None:
    (restore,) = [step for _, step in plan().steps() if isinstance(step, RestoreToTime)]
    assert restore.settings == {**SOURCE.settings, "MultiAZ": False, "DeletionProtection": False}
    assert (restore.instance, restore.tag, restore.at) == (NAME, f"dr-run={NAME}", "2026-01-15T10:18:00Z")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"source": fact(None, "no answer")}, "RDS could not be read"),
        ({"source": fact(None)}, "RDS in us-west-2 has no instance prod"),
        ({"source": fact(replace(SOURCE, status="backing-up"))}, "prod is backing-up"),
        ({"source": fact(replace(SOURCE, restorable_to=None))}, "prod has no backups"),
        ({"at": NOW - timedelta(minutes=1)}, "is later. Take an earlier one."),
        ({"at": NOW - timedelta(days=8)}, "prod keeps backups for 7 days"),
        ({"rights": fact(None, "refused")}, "The database could not be read"),
        ({"rights": fact(Rights(owner="x", tables=(), refusal="There is no table orders."))}, "There is no table orders."),
    ],
)
def test_without_what_it_needs_there_is_no_step(other: dict[str, Any], says: str) -> None:
    found = plan(**other)
    assert any(says in finding.says for finding in found.forbidden)
    assert (found.stages, found.cleanup) == ((), ())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"table": "orders"}, "needs the table and a time before the damage"),
        ({"time": "5m"}, "needs the table and a time before the damage"),
        ({"table": "orders", "time": "latest"}, "The latest moment has the damage in it"),
        ({"table": "orders", "time": "2126-01-01T00:00"}, "is in the future"),
        ({"table": "orders", "time": "5m", "revert": "some"}, "revert=some can't be used"),
    ],
)
async def test_a_command_that_says_too_little_is_refused(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        await corruption_repair(WORLD, **arguments)


async def test_an_undo_needs_the_repair() -> None:
    with pytest.raises(BadCommand, match="needs the repair"):
        await corruption_undo(WORLD)


@pytest.mark.parametrize(("state", "steps"), [("repaired", 1), ("collected", 0), ("undone", 0)])
def test_only_a_repair_that_was_done_can_be_undone(state: str, steps: int) -> None:
    states = {"public.orders": {"inserted": 40, "reverted": 20}}
    case = Case(name=NAME, tables=("public.orders",), state=state, counts={}, states=states)
    found = undo_plan(DATABASE, NAME, fact(case), {"run": NAME})
    assert len(found.stages) == steps
    assert (found.findings[0].level is Level.STOP) is not bool(steps)
    if steps:
        assert found.findings[0].says == f"Repair {NAME}: 40 missing rows are back, and 20 changed rows are as before."


def test_a_table_that_was_copied_whole_names_its_way_back() -> None:
    case = Case(name=NAME, tables=("public.orders",), state="copied", counts={}, states={})
    (finding,) = undo_plan(DATABASE, NAME, fact(case), {}).forbidden
    assert finding.says.startswith(f"{NAME} brought public.orders back whole, and that is taken back by hand: `DROP TABLE` if")


def test_a_repair_that_is_not_there_can_not_be_undone() -> None:
    assert "There is no repair x" in undo_plan(DATABASE, "x", fact(None), {}).forbidden[0].says


# --- an index is rebuilt ------------------------------------------------------------------------------------------------

INDEX = Index(
    name="public.orders_pkey",
    table="public.orders",
    oid=17000,
    bytes=2**20,
    valid=True,
    owner="shop",
    busy=False,
    left_over=("public.orders_pkey_ccnew",),
    refusal="",
    oldest=1.0,
)


def test_an_index_is_rebuilt_and_proven_and_its_rest_dropped_at_every_end() -> None:
    made = reindex_plan(DATABASE, INDEX.name, fact(INDEX), {"index": INDEX.name})
    kinds = [[step.kind for step in stage] for stage in (*made.stages, *made.cleanup)]
    drop = ["postgresql.drop_left_over_indexes"]
    assert kinds == [drop, ["postgresql.rebuild_index"], ["postgresql.index_holds"], drop]
    assert made.stages[1][0].command().endswith('-c "REINDEX INDEX CONCURRENTLY public.orders_pkey"')
    assert "left public.orders_pkey_ccnew. They are dropped." in " ".join(finding.says for finding in made.findings)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (fact(replace(INDEX, busy=True)), "An index of public.orders is being built right now."),
        (fact(replace(INDEX, refusal="It belongs to somebody else.")), "It belongs to somebody else."),
        (fact(None), "There is no index public.orders_pkey."),
        (Fact(source="The database", at=NOW, value=None, error="It is down."), "The database could not be read"),
    ],
)
def test_an_index_that_may_not_be_rebuilt_gets_no_steps(seen: Fact[Any], says: str) -> None:
    made = reindex_plan(DATABASE, INDEX.name, seen, {})
    assert not made.stages
    assert made.forbidden[0].says.startswith(says)


async def test_a_rebuild_without_an_index_is_refused() -> None:
    with pytest.raises(BadCommand, match="needs the index"):
        await corruption_reindex(WORLD)


# --- a table that is gone ---------------------------------------------------------------------------------------------


def test_a_table_that_is_gone_is_copied_and_compared() -> None:
    gone = replace(SEEN, rights=fact(Rights(owner="", tables=(), refusal="There is no table orders.")), tables=("orders",))
    plan = copy_plan(gone, {})
    assert [step.kind for stage in plan.stages for step in stage] == [
        "rds.create_snapshot",
        "rds.restore_to_time",
        "postgresql.recovered",
        "postgresql.choose_copy",
        "postgresql.copy_table",
        "postgresql.repair_holds",
    ]
    assert [step.kind for stage in plan.cleanup for step in stage] == ["rds.drop_instance"]
    assert any(finding.says.startswith("There is no table orders now. It is made again") for finding in plan.findings)


def test_a_table_that_is_there_is_copied_only_if_it_is_empty_then() -> None:
    (there,) = [finding for finding in copy_plan(SEEN, {}).findings if "is there" in finding.says]
    assert (there.level, there.says[-49:]) == (Level.WARN, "filled only if it has no row when the run gets to it."[-49:])
    stranger = replace(SEEN, rights=fact(Rights(owner="x", tables=("public.orders",), refusal="Run GRANT x TO us.")))
    assert not copy_plan(stranger, {}).stages
    assert not copy_plan(replace(SEEN, rights=fact(None, "It doesn't answer.")), {}).stages


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"table": "a,b", "time": "5m"},
        {"table": "a"},
        {"table": "a", "time": "latest"},
        {"table": "a", "time": "2099-01-01 10:00"},
    ],
)
async def test_a_copy_of_nothing_of_several_or_of_the_future_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(BadCommand):
        await corruption_copy(WORLD, **arguments)
