"""Faults of the data in a whole rehearsal, and the way back by hand: restore, new secret, restart."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from rehearsal.corruptions import DEFINITION
from rehearsal.migrations.project import HARMLESS
from rehearsal.postgres.bad_release import delete_records
from rehearsal.waiting import until
from rehearsal.world import Options, Rehearsal
from tests.world.drizzle import drizzle_modules
from tests.world.sql import query

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
NETWORK = {"DBSubnetGroupName": "shielda-private", "VpcSecurityGroupIds": ["sg-0d15ea5edb0000001"]}
APPLIED = "SELECT count(*) FROM drizzle.__drizzle_migrations"


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal without the bot."""
    options = Options(work_dir=work_dirs / "data", cache=cache, port=0, speed=1000, with_bot=False)
    async with Rehearsal(options) as world:
        yield world


async def aws(world: Rehearsal, service: str, method: str, /, **params: Any) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        client = boto3.client(service, region_name="us-west-2", endpoint_url=world.endpoints["us-west-2"], **KEYS)
        try:
            return dict(getattr(client, method)(**params))
        finally:
            client.close()

    return await asyncio.to_thread(ask)


async def counts(dsn: str) -> list[tuple[Any, ...]]:
    lost = "SELECT count(*) FROM records WHERE id < 0 AND organization_id IN (3, 11, 27)"
    return await query(dsn, f"SELECT ({lost}), (SELECT count(*) FROM organizations WHERE plan <> 'free')")


async def test_what_a_bad_release_deleted_comes_back_and_the_service_moves_over(world: Rehearsal) -> None:
    before = await counts(world.database.dsn("dr_bot"))
    await world.faults.put("bad-release")
    async with httpx.AsyncClient() as client:
        incident = (await client.get(f"{world.url}/rehearsal/incidents")).json()[-1]
    assert incident["deleted"] >= 300
    assert (await counts(world.database.dsn("dr_bot")))[0][0] == 0

    committed = world.faults.data.incidents[-1].committed_at
    moment = committed - timedelta(microseconds=1)
    await world.database.backups.archive.covers(committed)
    names = {"SourceDBInstanceIdentifier": "shielda-prod", "TargetDBInstanceIdentifier": "shielda-prod-restored"}
    await aws(world, "ecs", "update_service", cluster="shielda", service="control-plane", desiredCount=0)
    await aws(world, "rds", "restore_db_instance_to_point_in_time", **names, RestoreTime=moment, **NETWORK)
    await world.rds.settled()
    restored = world.rds.registry.instance("us-west-2", "shielda-prod-restored")
    assert restored.behind is not None
    password = world.database.password("shielda")
    url = f"postgresql://shielda:{password}@{restored.behind.host}:{restored.behind.port}/shielda"
    recovered = "SELECT NOT pg_is_in_recovery()"

    async def writable() -> bool:
        return (await query(url, recovered))[0][0] is True

    await until(writable, 20, "the end of recovery")
    await aws(world, "secretsmanager", "put_secret_value", SecretId="shielda/database-url", SecretString=url)
    await aws(world, "ecs", "update_service", cluster="shielda", service="control-plane", desiredCount=1)
    await world.witness.healthy(30)
    assert await counts(world.live_dsn("dr_bot")) == before
    used = "SELECT count(*) FROM records WHERE written_at > now() - interval '10 s' AND id > 0"

    async def written() -> bool:
        return (await query(world.live_dsn("dr_bot"), used))[0][0] > 0

    await until(written, 10, "rows written to the restored database")
    await world.restore()
    assert world.aws.secrets.current("shielda/database-url") == world.database.url("shielda")
    assert not world.database.backups.copies
    assert await counts(world.database.dsn("dr_bot")) == before
    assert (await world.witness.verify())["rows_lost"] == 0


async def test_the_next_incident_finds_everything_as_on_the_first_day(world: Rehearsal) -> None:
    before, views = await counts(world.database.dsn("dr_bot")), await aws(world, "rds", "describe_db_instances")
    await world.faults.put("bad-release")
    new = {"BackupRetentionPeriod": 7, "DeletionProtection": False, "VpcSecurityGroupIds": ["sg-0fe11ce0000000002"]}
    await aws(world, "rds", "modify_db_instance", DBInstanceIdentifier="shielda-prod", **new)
    await world.rds.settled()
    names = {"DBSnapshotIdentifier": "by-hand", "DBInstanceIdentifier": "shielda-prod"}
    await aws(world, "rds", "create_db_snapshot", **names)
    await aws(world, "ecs", "update_service", cluster="shielda", service="control-plane", desiredCount=0)
    await world.restore()
    assert await counts(world.database.dsn("dr_bot")) == before
    found = await aws(world, "rds", "describe_db_instances")
    moving = ("LatestRestorableTime",)
    assert [without(one, *moving) for one in found["DBInstances"]] == [without(one, *moving) for one in views["DBInstances"]]
    kinds = [one["SnapshotType"] for one in (await aws(world, "rds", "describe_db_snapshots"))["DBSnapshots"]]
    assert kinds == ["automated"]


def without(view: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name not in names}


async def test_every_fault_has_a_plain_title_and_can_be_undone(world: Rehearsal) -> None:
    async with httpx.AsyncClient(base_url=world.url) as client:
        listed = (await client.get("/rehearsal/faults")).json()
        names = {fault["name"] for fault in listed if fault["kind"] in ("data", "restore")}
        assert {"bad-release", "archive-stuck", "restore-incompatible", "restore-slow", "bad-migration"} <= names
        for name in sorted(names - {"bad-release", "migrated-release", "new-migration"}):
            assert (await client.post("/rehearsal/faults", json={"name": name})).json() == {"ok": True}
    assert world.rds.restore_faults.incompatible
    assert world.database.backups.archive.stuck
    assert [one.kind for one in world.rds.registry.snapshots.values() if one.damage] == ["automated"]
    assert len(world.migrations.migrations()) == 3
    await world.faults.put("heal")
    assert not [one for one in world.rds.registry.snapshots.values() if one.damage]
    assert not world.rds.restore_faults.incompatible
    assert world.rds.restore_faults.damage is None
    assert not world.database.backups.archive.stuck
    assert len(world.migrations.migrations()) == 2


async def test_a_table_goes_wrong_under_its_writers_at_a_recorded_moment(world: Rehearsal) -> None:
    before = await query(world.database.dsn("postgres"), "SELECT count(*) FROM records WHERE id < 0")
    await world.faults.put("table-corruption")
    done = world.faults.injuries.corruptions[-1]
    left = await query(
        world.database.dsn("postgres"), "SELECT id, t::text FROM records AS t WHERE id = ANY(%s)", [[*done.before]]
    )
    after = await query(world.database.dsn("postgres"), "SELECT count(*) FROM records WHERE id < 0")
    assert done.began_at < done.committed_at
    assert before[0][0] - after[0][0] == len(done.deleted) >= 200
    assert {key for key, row in left if row != done.before[key]} == set(done.changed) == {key for key, _ in left}


@pytest.mark.parametrize(("seed", "table", "lost"), [(2, "records", "dropped"), (5, "users", "emptied")])
async def test_a_table_is_lost_at_a_moment_before_which_all_is_committed(
    world: Rehearsal, seed: int, table: str, lost: str
) -> None:
    await world.restore()  # an earlier test may have led the service elsewhere,
    world.witness.forget_rows()  # or deleted rows of the witness
    dsn = world.database.dsn("postgres")
    world.random.seed(seed)
    await world.faults.put("table-dropped")
    gone = world.faults.injuries.corruptions[-1]
    assert (gone.table, gone.lost) == (table, lost)
    assert gone.began_at < gone.committed_at
    assert len(gone.before) >= 120
    if lost == "dropped":
        assert await query(dsn, "SELECT to_regclass('records')") == [(None,)]
        assert world.witness.acknowledged - {*gone.before} == set(), "a row was acknowledged before, and the moment lacks it"
    else:
        assert await query(dsn, "SELECT count(*) FROM users") == [(0,)]
    await world.restore()
    assert await query(dsn, DEFINITION.replace("%(table)s", f"'{table}'")) == [(gone.definition,)]
    rows = await query(dsn, f"SELECT id, t::text FROM {table} AS t WHERE id = ANY(%s)", [[*gone.before]])
    assert dict(rows) == gone.before


async def test_a_release_that_migrates_leaves_a_moment_before_that_lacks_it(world: Rehearsal) -> None:
    await world.restore()
    dsn, noted = world.database.dsn("postgres"), "SELECT count(*) FROM drizzle.__drizzle_migrations"
    await world.faults.put("migrated-release")
    incident = world.faults.data.incidents[-1]
    await world.faults.put("migrated-release")  # a second bad release has nothing to migrate
    newest = world.migrations.migrations()[-1]
    assert (incident.migration, incident.hash) == (newest.tag, newest.hash) == (HARMLESS.tag, HARMLESS.hash)
    assert await query(dsn, f"{noted} WHERE hash = '{newest.hash}'") == [(1,)]
    assert await query(dsn, "SELECT count(channel) FROM agents") == [(0,)]
    await world.restore()
    assert HARMLESS.tag not in [one.tag for one in world.migrations.migrations()]
    assert await query(dsn, noted) == [(2,)]


async def test_the_stand_in_for_drizzle_applies_all_that_is_pending_or_nothing(world: Rehearsal) -> None:
    await world.restore()
    dsn, noted = world.database.dsn("postgres"), "SELECT count(*) FROM drizzle.__drizzle_migrations"

    async def migrate() -> int:
        argv, environment = (
            [sys.executable, "-m", "rehearsal.migrations.stand_in"],
            {"DATABASE_URL": world.database.url("shielda")},
        )
        process = await asyncio.create_subprocess_exec(*argv, cwd=world.migrations.folder, env=environment)
        return await process.wait()

    world.migrations.release(replace(HARMLESS, sql="CREATE TABLE half (id int); --> statement-breakpoint\nSELECT 1/0"))
    assert await migrate() == 1
    assert await query(dsn, f"SELECT to_regclass('half')::text, ({noted})") == [(None, 2)]
    world.migrations.renew()
    world.migrations.release(HARMLESS)
    for _ in range(2):
        assert await migrate() == 0
        assert await query(dsn, f"SELECT count(channel), ({noted}) FROM agents") == [(0, 3)]
    world.faults.data.incidents.append(await delete_records(world.database))  # so that the schema is brought back
    await world.restore()
    assert await query(dsn, noted) == [(2,)]


async def test_the_database_has_every_migration_of_the_project_applied(world: Rehearsal) -> None:
    rows = await query(world.database.dsn("dr_bot"), "SELECT hash, created_at FROM drizzle.__drizzle_migrations ORDER BY id")
    assert rows == [(one.hash, one.made_at) for one in world.migrations.migrations()]


@pytest.fixture(scope="module")
def drizzle() -> Path:
    return drizzle_modules()


async def run_drizzle(world: Rehearsal, modules: Path, *words: str) -> tuple[int, str, str]:
    link = world.migrations.folder / "node_modules"
    if not link.exists():
        link.symlink_to(modules)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "DATABASE_URL": world.database.url("shielda")}
    argv, pipe = [shutil.which("node") or "node", str(modules / "drizzle-kit/bin.cjs"), *words], asyncio.subprocess.PIPE
    none = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=world.migrations.folder, env=environment, stdin=none, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_drizzle_itself_finds_the_schema_as_its_migrations_made_it(world: Rehearsal, drizzle: Path) -> None:
    code, out, err = await run_drizzle(world, drizzle, "push")
    assert (code, "No changes detected" in out) == (0, True), out + err
    code, out, _ = await run_drizzle(world, drizzle, "migrate")
    assert (code, "migrations applied successfully" in out) == (0, True)
    assert await query(world.database.dsn("dr_bot"), APPLIED) == [(2,)]


async def test_push_without_a_terminal_says_0_and_changes_nothing(world: Rehearsal, drizzle: Path) -> None:
    await world.faults.put("bad-migration")
    code, out, err = await run_drizzle(world, drizzle, "push")
    assert (code, "CAUSE DATA LOSS" in out, "require a TTY" in err) == (0, True, True)
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'slug'"
    assert await query(world.database.dsn("dr_bot"), columns) == [(0,)]
    assert await query(world.database.dsn("dr_bot"), "SELECT count(*) FROM organizations") == [(40,)]
    await world.faults.put("heal")


async def test_drizzle_runs_the_migration_that_a_release_brings(world: Rehearsal, drizzle: Path) -> None:
    await world.faults.put("new-migration")
    code, out, err = await run_drizzle(world, drizzle, "migrate")
    assert code == 0, out + err
    assert await query(world.database.dsn("dr_bot"), APPLIED) == [(3,)]
    rows = await query(world.database.dsn("dr_bot"), "SELECT hash FROM drizzle.__drizzle_migrations ORDER BY id DESC LIMIT 1")
    assert rows == [(world.migrations.migrations()[-1].hash,)]
    journal = json.loads((world.migrations.folder / "drizzle/meta/_journal.json").read_text())
    assert [entry["idx"] for entry in journal["entries"]] == [0, 1, 2]
