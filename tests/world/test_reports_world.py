"""The reports against real servers: each figure comes from AWS, from PostgreSQL or from the bot's own record, or is unknown."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import commands
from bot.settings import BadSettings
from bot.state.database import open_engine
from bot.state.memory import LateMemory, StoreMemory
from bot.state.store import Store
from bot.state.tables import plans, runs, steps
from commands.report import REPORTS, SOURCE
from rehearsal.postgres.pair import ServerPair
from tests.conftest import SetVariable
from tests.world.aws_world import LocalAws
from tests.world.reporting import CREATE, GRANT, PATIENCE, TABLE, NoRuns, Place, of, silent

assert commands.targets  # importing the reports registers them


@pytest.fixture
async def place(database: ServerPair, set_variable: SetVariable) -> AsyncIterator[Place]:
    aws = LocalAws()
    aws.add_database(database)
    async with aws:
        place = Place(aws, database)
        set_variable("DATABASE_URL", database.url("dr_bot"))
        set_variable("DR_DATABASE_URL", place.replica_dsn())
        await place.on_primary(f"{CREATE}; {GRANT}")
        yield place
        await database.heal()
        await place.on_primary(f"DROP TABLE IF EXISTS {TABLE}")


REPLICA = {"replica": "replica"}
BEATS = {**REPLICA, "heartbeat_table": TABLE}

# AWS --------------------------------------------------------------------------------------------------------------------


async def test_what_aws_promises_is_read_from_aws(place: Place) -> None:
    report = await place.report()
    assert silent(report) == []
    met = {line.check: line for line in report.findings if line.level == "met"}
    assert met.keys() >= {"retention", "snapshots", "point in time", "standby"}
    assert "35 days" in met["retention"].says
    assert "us-west-2" in met["standby"].says
    assert met["snapshots"].object.startswith("rds:shielda-prod-")
    assert "DescribeDBSnapshots in us-west-2" in met["snapshots"].evidence
    calls = place.aws.journal.calls(changing=True)
    assert calls == []


async def test_a_database_without_a_standby_misses_that_target(place: Place) -> None:
    assert place.aws.rds
    place.aws.rds.single_az()
    assert (await place.line("standby")).level == "missed"


async def test_a_replica_that_aws_does_not_know_is_missed(place: Place) -> None:
    line = await place.line("replica", **REPLICA)
    assert (line.level, line.says) == ("missed", "There is no replica shielda-replica-us-east-1 in us-east-1.")


@pytest.mark.parametrize("name", ["targets", "backup status"])
@pytest.mark.parametrize("fault", ["hang", "drop", "throttle", "access_denied", "garbled"])
async def test_a_report_comes_out_in_time_whatever_aws_does(place: Place, name: str, fault: Any) -> None:
    place.aws.faults.put(fault, times=None)
    async with asyncio.timeout(PATIENCE):
        report = await place.report(name, **BEATS)
    assert "RDS in us-west-2" in silent(report)
    assert all(line.evidence for line in report.findings if line.check == SOURCE)
    assert not report.good


async def test_reports_that_wait_for_aws_leave_its_threads_to_a_recovery(place: Place) -> None:
    place.aws.faults.put("hang", times=None)
    world = place.world()
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            await REPORTS["targets"].make(world, NoRuns())
    place.aws.faults.clear()
    report = await REPORTS["targets"].make(world, NoRuns())
    assert silent(report) == []
    await world.close()


async def test_backup_status_lists_what_there_is_to_restore_from(place: Place) -> None:
    report = await place.report("backup status")
    assert silent(report) == []
    assert of(report, "automated snapshots").level == "ok"
    assert "35 days" in of(report, "retention").says
    assert "A restore could go up to" in of(report, "point in time").says
    assert of(report, "verifications").level == "stop"


# The databases ----------------------------------------------------------------------------------------------------------


async def test_heartbeats_that_arrive_on_the_replica_prove_its_lag(place: Place) -> None:
    await place.beat()
    await place.replayed()
    line = await place.line("replica lag", **BEATS)
    assert line.level == "met"
    assert "A promotion would lose at most" in line.says


async def test_a_replica_that_stopped_replaying_misses_the_target(place: Place) -> None:
    await place.beat("10 min")
    async with place.paused():
        await place.beat()
        report = await place.report(**BEATS)
        assert of(report, "replica lag").level == of(report, "RPO").level == "missed", report.findings
        assert "at most 10." in of(report, "replica lag").says


async def test_old_heartbeats_on_both_sides_say_that_nobody_writes_them(place: Place) -> None:
    await place.beat("10 min")
    await place.replayed()
    line = await place.line("replica lag", **BEATS)
    assert (line.level, "is the bot serving?" in line.says) == ("unknown", True)


async def test_without_heartbeats_the_last_replayed_commit_is_told_with_its_caveat(place: Place) -> None:
    await place.beat()
    await place.replayed()
    for settings in (REPLICA, REPLICA | {"heartbeat_table": "there_is_none"}):
        line = await place.line("replica lag", **settings)
        assert line.level == "met"
        assert "The last commit that the replica has is" in line.says
        assert "It grows while the primary is idle" in line.evidence
    assert 'relation "there_is_none" does not exist' in line.evidence


async def test_a_table_that_our_role_may_not_read_hides_nothing_else(place: Place) -> None:
    await place.on_primary(f"REVOKE ALL ON {TABLE} FROM dr_bot; REVOKE pg_read_all_data FROM dr_bot")
    await place.replayed()
    line = await place.line("replica lag", **BEATS)
    await place.on_primary("GRANT pg_read_all_data TO dr_bot")
    assert line.level == "met"
    assert f"permission denied for table {TABLE}" in line.evidence


async def test_a_replica_that_was_promoted_is_no_replica(place: Place, set_variable: SetVariable) -> None:
    set_variable("DR_DATABASE_URL", place.database.url("dr_bot"))
    line = await place.line("replica lag", **BEATS)
    assert (line.level, "it is no replica" in line.says) == ("missed", True)


@pytest.mark.parametrize("dsn", ["", "postgresql://dr_bot:geheim@ho st/x", "closed"])
async def test_a_replica_that_is_away_is_a_source_that_did_not_answer(place: Place, set_variable: SetVariable, dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"postgresql://dr_bot:geheim@127.0.0.1:{server.getsockname()[1]}/x"
    set_variable("DR_DATABASE_URL", closed if dsn == "closed" else dsn)
    report = await place.report(**BEATS)
    assert silent(report) == ["The replica"]
    assert of(report, "replica lag").level == "unknown"
    assert "geheim" not in str(report)


async def test_while_the_primary_hangs_the_replica_still_says_what_it_has(place: Place) -> None:
    await place.beat()
    await place.replayed()
    await place.database.hang_primary()
    async with asyncio.timeout(PATIENCE):
        report = await place.report(**BEATS)
    assert silent(report) == ["The primary database"]
    line = of(report, "replica lag")
    assert line.level == "met"
    assert "the primary could not be read" in line.evidence


# The bot's own record ---------------------------------------------------------------------------------------------------

PLAN = {"target": "t", "plan": {}, "digest": "d", "nonce": "n", "requested_by": "U", "requested_at": 0.0, "expires": 0.0}


async def remember(store: Store, run: str, scenario: str, state: str, *, took: float, ago: timedelta) -> None:
    ended = (datetime.now(UTC) - ago).timestamp()
    plan = PLAN | {"id": run, "scenario": scenario, "status": "approved", "channel": "C"}
    plan |= {"target": "backups of database shielda-prod"} if scenario == "backup verify" else {}
    row = {"id": run, "target": "t", "state": state, "says": "It ended.", "began": ended - took, "ended": ended}
    await store.do(lambda c: (c.execute(plans.insert().values(plan)), c.execute(runs.insert().values(row))))


async def remember_restore(store: Store, run: str, *, seconds: float, recovered: str = "done") -> None:
    """The steps of a run that restored a snapshot in so many seconds, of which the last tenth was its recovery."""
    kinds = ("rds.restore_snapshot", "rds.same_settings", "postgresql.recovered")
    stages = [[{"id": f"{number}.1", "step": kind}] for number, kind in enumerate(kinds, 1)]
    times = ((0.0, seconds * 0.8), (seconds * 0.8, seconds * 0.9), (seconds * 0.9, seconds))
    rows = [
        {"run_id": run, "step": f"{number}.1", "attempt": 1, "state": "done", "began": began, "ended": ended}
        for number, (began, ended) in enumerate(times, 1)
    ]
    rows[-1]["state"] = recovered
    await store.do(
        lambda c: (
            c.execute(plans.update().where(plans.c.id == run).values(plan={"stages": stages})),
            c.execute(steps.insert(), rows),
        )
    )


async def test_recoveries_and_verifications_come_from_the_record_of_runs(place: Place, tmp_path: Path) -> None:
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    await remember(store, "first", "database failover", "done", took=90, ago=timedelta(days=3))
    await remember(store, "second", "control-plane restart", "failed", took=60, ago=timedelta(days=2))
    await remember(store, "third", "backup verify", "done", took=1200, ago=timedelta(days=1))
    await remember_restore(store, "third", seconds=720)
    await remember(store, "earlier", "backup verify", "failed", took=1200, ago=timedelta(days=8))
    await remember_restore(store, "earlier", seconds=720, recovered="failed")
    await remember(store, "fourth", "backup verify", "running", took=1200, ago=timedelta(0))
    report = await place.report(memory=StoreMemory(store))
    assert (of(report, "RTO").level, of(report, "RTO").object) == ("met", "run first")
    assert "90 s from approval to end" in of(report, "RTO").says
    assert (of(report, "last run").level, of(report, "last run").object) == ("missed", "run second")
    assert (of(report, "verified restore").level, of(report, "verified restore").object) == ("met", "run third")
    status = await place.report("backup status", memory=StoreMemory(store))
    newest, earlier = sorted((one for one in status.findings if one.check == "verifications"), key=lambda one: one.object)[::-1]
    assert "after 20.0 min, 12.0 min of them for the restore." in newest.says
    assert earlier.says.endswith("after 20.0 min.")
    assert "The last verified restore took 12.0 min until it had recovered" in of(status, "restore time").says
    store.close()


async def test_a_state_that_cannot_be_opened_is_a_source_that_did_not_answer(place: Place) -> None:
    def cannot() -> Store:
        raise BadSettings("[state] url: the database can't be opened.")

    report = await place.report(memory=LateMemory(cannot))
    assert silent(report) == ["The bot's record of runs", "The bot's record of verifications"]
    assert of(report, "RTO").level == of(report, "verified restore").level == "unknown"
    assert of(report, "retention").level == "met"
