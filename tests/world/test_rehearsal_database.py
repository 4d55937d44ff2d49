"""The rehearsal's database world: real processes, real failovers, a real witness."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from aiohttp import web

from rehearsal.aws.clock import Clock
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import AwsError, Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.rds.api import Rds
from rehearsal.machines import reaper
from rehearsal.machines.processes import ProcessError, Processes, eventually
from rehearsal.postgres.binaries import PostgresMissing, find
from rehearsal.postgres.pair import Database
from rehearsal.witness import Ledger, Track, Witness

OWNER = """
import asyncio, signal, sys
from pathlib import Path
from rehearsal.postgres.pair import Database
from rehearsal.machines.processes import Processes
async def main():
    processes = Processes(Path(sys.argv[1]))
    family = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
    await processes.start("family", [sys.executable, "-c", family])
    await processes.start("stopped", ["sleep", "600"])
    database = Database(processes, Path(sys.argv[2], "owner"), cache=Path(sys.argv[2], "cache"))
    await database.start()
    await database.hang_primary()
    await processes.signal("stopped", signal.SIGSTOP)
    print(processes.reaper_pid, *processes.pids().values(), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rehearsal-test-"))
    path.chmod(0o755)  # The account of the servers must get in.
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
async def processes(room: Path) -> AsyncIterator[Processes]:
    async with Processes(room / "processes.json") as processes:
        yield processes


@pytest.fixture(scope="module")
async def world(room: Path, processes: Processes) -> AsyncIterator[Database]:
    async with Database(processes, room / "world", cache=room / "cache").running() as database:
        yield database


@pytest.fixture
async def database(world: Database) -> AsyncIterator[Database]:
    """The one database of these tests, healthy before and after."""
    yield world
    await world.heal()
    await world.redundant()


@pytest.fixture
async def rds(database: Database) -> AsyncIterator[Rds]:
    rds = Rds(database, Clock(speed=200))
    yield rds
    await rds.settled()
    await rds.close()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[str]:
    """A stand-in for the control plane: writes rows through the endpoint, one connection for each request."""

    async def write(request: web.Request) -> web.Response:
        row = await request.json()
        try:
            await run(database.dsn("shielda"), "INSERT INTO records VALUES (%s, %s)", [row["id"], row["body"]])
        except psycopg.Error as error:
            return web.Response(status=503, text=str(error))
        return web.Response(status=201)

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/api/records", write), web.get("/api/health", health)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def run(dsn: str, query: str, arguments: list[Any] | None = None) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=3) as connection:
        cursor = await connection.execute(query, arguments)
        return await cursor.fetchall() if cursor.description else []


async def started(database: Database) -> Any:
    return (await run(database.dsn("postgres"), "SELECT pg_postmaster_start_time()"))[0][0]


async def test_a_failover_keeps_every_acknowledged_row_and_moves_the_zone(database: Database) -> None:
    zone, standby, port, before = database.zone, database.standby_zone, database.port, await started(database)
    await run(database.dsn("shielda"), "INSERT INTO records SELECT n, 'kept' FROM generate_series(1, 500) n")

    await database.failover()

    assert await run(database.dsn("shielda"), "SELECT count(*) FROM records WHERE body = 'kept'") == [(500,)]
    assert (database.zone, database.port) == (standby, port)
    assert await started(database) > before
    await database.redundant()
    assert database.standby_zone == zone


async def test_a_failover_works_when_the_primary_hangs_and_again_right_after_it(database: Database) -> None:
    zone = database.zone
    await run(database.dsn("shielda"), "INSERT INTO records VALUES (1001, 'before the hang')")
    await database.hang_primary()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(database.dsn("dr_bot"), "SELECT 1"), 0.4)

    await database.failover()
    assert database.zone != zone
    await run(database.dsn("shielda"), "INSERT INTO records VALUES (1002, 'between')")
    await database.failover()

    assert database.zone == zone
    rows = await run(database.dsn("dr_bot"), "SELECT id FROM records WHERE id BETWEEN 1001 AND 1002 ORDER BY id")
    assert rows == [(1001,), (1002,)]


async def test_a_dead_primary_refuses_connections_until_the_failover(database: Database) -> None:
    await database.kill_primary()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await run(database.dsn("shielda"), "SELECT 1")
    await database.failover()
    assert await run(database.dsn("shielda"), "SELECT 1") == [(1,)]


async def test_used_up_slots_lock_the_application_out_and_let_the_bot_in(database: Database) -> None:
    held = await database.fill_connections()
    with pytest.raises(psycopg.OperationalError, match=r"slots are reserved|too many connections"):
        await run(database.dsn("shielda"), "SELECT 1")
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightly-report' AND state LIKE 'idle in%%'"
    assert await run(database.dsn("dr_bot"), query) == [(held,)]
    assert "53300" in database.primary.log.read_text()

    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'nightly-report'"
    await asyncio.sleep(0.6)
    assert await run(database.dsn("dr_bot"), ended) == [(held,)]
    assert await run(database.dsn("shielda"), "SELECT 1") == [(1,)]
    assert any("pg_terminate_backend" in line for line in database.statements())


async def test_a_primary_that_hung_or_died_goes_on_after_healing(database: Database) -> None:
    zone = database.zone
    await database.hang_primary()
    await database.heal()
    await run(database.dsn("shielda"), "INSERT INTO records VALUES (2001, 'after the hang')")
    await database.kill_primary()
    await database.heal()
    assert await run(database.dsn("shielda"), "SELECT count(*) FROM records WHERE id = 2001") == [(1,)]
    assert database.zone == zone


def test_without_postgresql_the_error_names_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_PG_BIN", str(tmp_path))
    with pytest.raises(PostgresMissing, match=re.escape(f"DR_PG_BIN ({tmp_path})")):
        find(tmp_path)


async def test_a_wrong_password_is_refused(database: Database) -> None:
    wrong = psycopg.conninfo.make_conninfo(database.dsn("dr_bot"), password="guessed")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await run(wrong, "SELECT 1")


def described(rds: Rds, **params: str) -> dict[str, Any]:
    answer = rds.handlers["DescribeDBInstances"]("us-west-2", params)
    assert isinstance(answer, dict)
    return dict(answer["DBInstances"][0])


def messages(rds: Rds) -> list[str]:
    answer = rds.handlers["DescribeEvents"]("us-west-2", {})
    assert isinstance(answer, dict)
    return [event["Message"] for event in answer["Events"]]


async def reboot(rds: Rds, *, force: bool) -> dict[str, Any]:
    answer = rds.handlers["RebootDBInstance"]("us-west-2", {"DBInstanceIdentifier": "shielda-prod", "ForceFailover": force})
    assert not isinstance(answer, dict)
    return dict((await answer)["DBInstance"])


async def test_a_forced_reboot_fails_over_and_a_second_one_meanwhile_is_refused(rds: Rds, database: Database) -> None:
    before, zones = await started(database), (database.zone, database.standby_zone)
    assert (await reboot(rds, force=True))["DBInstanceStatus"] == "rebooting"
    with pytest.raises(AwsError) as refused:
        await reboot(rds, force=True)
    assert refused.value.code == "InvalidDBInstanceState"
    assert described(rds)["AvailabilityZone"] == zones[0]

    await rds.settled()

    view = described(rds, DBInstanceIdentifier="shielda-prod")
    assert (view["DBInstanceStatus"], view["SecondaryAvailabilityZone"]) == ("available", zones[0])
    assert view["AvailabilityZone"] == zones[1]
    assert messages(rds) == [
        "Multi-AZ instance failover started.",
        "DB instance restarted",
        "Multi-AZ instance failover completed",
    ]
    assert await started(database) > before


async def test_boto3_sees_the_failover_over_the_wire(rds: Rds, database: Database) -> None:
    front = Front(regions={"us-west-2": 0}, clock=rds.clock, journal=Journal(), faults=Faults())
    front.add("rds", rds.handlers)
    address = (await front.start())["us-west-2"]
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
    client = boto3.client("rds", region_name="us-west-2", endpoint_url=address, **keys)
    began, zone = rds.clock.now(), database.zone
    try:
        answer = await asyncio.to_thread(client.reboot_db_instance, DBInstanceIdentifier="shielda-prod", ForceFailover=True)
        assert answer["DBInstance"]["DBInstanceStatus"] == "rebooting"
        await rds.settled()
        view = (await asyncio.to_thread(client.describe_db_instances))["DBInstances"][0]
        assert view["AvailabilityZone"] != zone == view["SecondaryAvailabilityZone"]
        window = {"SourceIdentifier": "shielda-prod", "SourceType": "db-instance", "StartTime": began}
        events = await asyncio.to_thread(lambda: client.describe_events(**window, EventCategories=["failover"]))
        assert [event["Message"] for event in events["Events"]] == [messages(rds)[0], messages(rds)[2]]
        await asyncio.to_thread(client.describe_db_snapshots, DBInstanceIdentifier="shielda-prod")
        await asyncio.to_thread(client.list_tags_for_resource, ResourceName=view["DBInstanceArn"])
    finally:
        client.close()
        await front.close()


async def test_a_plain_reboot_restarts_and_stays_in_its_zone(rds: Rds, database: Database) -> None:
    before, zone = await started(database), database.zone
    await reboot(rds, force=False)
    await rds.settled()
    assert (database.zone, described(rds)["AvailabilityZone"]) == (zone, zone)
    assert messages(rds) == ["DB instance restarted"]
    assert await started(database) > before


async def test_rds_refuses_what_aws_refuses(rds: Rds) -> None:
    rds.single_az()
    with pytest.raises(AwsError, match="InvalidParameterCombination"):
        await reboot(rds, force=True)
    assert "SecondaryAvailabilityZone" not in described(rds)
    with pytest.raises(AwsError, match="DBInstanceNotFound"):
        described(rds, DBInstanceIdentifier="shielda-test")
    rds.heal()
    rds.stick("storage-full")
    with pytest.raises(AwsError, match="InvalidDBInstanceState"):
        await reboot(rds, force=True)


async def test_rds_fails_over_by_itself_and_tells_late(rds: Rds, database: Database) -> None:
    rds.event_lag(60)  # 0.3 s
    rds.stale_reads(60)
    await database.kill_primary()
    rds.automatic_failover()
    assert messages(rds) == []
    assert described(rds)["DBInstanceStatus"] == "available"
    await rds.settled()
    await asyncio.sleep(0.35)
    assert messages(rds)[-1] == "Multi-AZ instance failover completed"
    assert described(rds)["AvailabilityZone"] == database.zone


async def test_the_witness_measures_an_outage_and_counts_a_lost_row(database: Database, service: str) -> None:
    witness = Witness(service, database.dsn("postgres"), interval=0.03)
    await witness.start()
    await witness.healthy()
    await database.kill_primary()
    await eventually(lambda: witness.report()["state"] == "down", 5)
    await database.failover()
    await witness.healthy()
    await witness.stop()

    report = await witness.verify()
    assert (report["state"], len(report["outages"]), report["rows_lost"]) == ("healthy", 1, 0)
    assert 0 < report["outage_seconds"] < 5
    assert report["rpo_seconds"] == 0.0
    newest = max(witness.acknowledged)  # a row whose answer was cut off at the end is nobody's loss
    await run(database.dsn("postgres"), f"DELETE FROM records WHERE id = {newest}")
    report = await witness.verify()
    assert report["rows_lost"] == 1
    assert 0 < report["rpo_seconds"] < 5
    assert json.loads(json.dumps(report)) == report


def test_an_outage_ends_at_the_beginning_of_sustained_success_of_every_kind() -> None:
    ledger = Ledger({"write": Track(), "health": Track()})
    for at in (1, 2):
        ledger.note("health", True, at, at)
        ledger.note("write", True, at, at)
    ledger.note("write", False, 3, 4)
    ledger.note("write", True, 5, 5)
    ledger.note("write", False, 6, 7)
    for at in range(8, 13):
        assert not ledger.healthy
        ledger.note("write", True, at, at)
        ledger.note("health", True, at, at)
    assert [(outage.began, outage.ended) for outage in ledger.outages] == [(3, 8)]


def owner(record: Path, room: Path) -> tuple[subprocess.Popen[str], int, list[int]]:
    """A rehearsal in a process of its own: that process, its reaper, and what it started."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(record), str(room)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        reaper_pid, *pids = map(int, said.readline().split())
    return process, reaper_pid, [member for pid in pids for member in reaper.family(pid)]


async def test_what_a_rehearsal_started_is_gone_after_it_was_killed(tmp_path: Path, room: Path) -> None:
    process, _, children = owner(tmp_path / "processes.json", room)
    assert len(children) > 10  # Two servers with their backends, one of them stopped, a family, a stopped process.
    process.kill()
    process.wait()
    await eventually(lambda: not any(map(reaper.identity, children)), 5)


async def test_the_next_start_kills_what_a_crash_left(tmp_path: Path, room: Path) -> None:
    record = tmp_path / "processes.json"
    process, reaper_pid, children = owner(record, room)
    with pytest.raises(ProcessError, match="running already"):
        await Processes(record).open()
    os.kill(reaper_pid, signal.SIGKILL)
    process.kill()
    process.wait()
    assert all(map(reaper.identity, children))
    async with Processes(record):
        await eventually(lambda: not any(map(reaper.identity, children)), 5)


async def test_a_recycled_process_number_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    earlier = {"owner": [1, "long ago"], "mark": "none", "processes": [[stranger.pid, "another boot:1"]]}
    record.write_text(json.dumps(earlier))
    async with Processes(record):
        await asyncio.sleep(0.1)
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()
