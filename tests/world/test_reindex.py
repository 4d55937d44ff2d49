"""Rebuilds of indexes on a real server: proven, beside writers, and with what broken ones leave behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actions.db.indexes import read_index
from actions.db.reindex import DropLeftOvers, IndexHolds, RebuildIndex
from actions.step import Action
from actions.values import Level, Result
from commands.corruption_reindex import plan_for
from commands.facts import read
from rehearsal.injuries import INJURIES, Patient
from rehearsal.machines.processes import Processes
from tests.world.aws_world import until
from tests.world.fast_aws import Rig, fast_aws
from tests.world.injured import Ward, ward

TABLE = "SET ROLE shielda; CREATE TABLE goods (id int PRIMARY KEY, code text); CREATE INDEX by_code ON goods (code);"
FILLED = f"{TABLE} INSERT INTO goods SELECT n, 'c' || n % 900 FROM generate_series(1, 1000) AS n"
GOING = "SELECT count(*) FROM pg_stat_progress_create_index"


@pytest.fixture(scope="module", name="ward")
async def the_ward(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Ward]:
    async with ward(processes, work_dirs, cache, "reindexed") as opened:
        yield opened


@pytest.fixture(scope="module")
async def rig(work_dirs: Path) -> AsyncIterator[Rig]:
    async with fast_aws(work_dirs / "reindex.sqlite", tasks=False) as rig:
        yield rig


class Case:
    """An index of a patient, and the steps about it."""

    def __init__(self, ward: Ward, rig: Rig, patient: Patient, index: str, table: str) -> None:
        self.rig, self.patient, self.ref = rig, patient, ward.ref(patient)
        self.names: Any = {"database": self.ref, "index": index, "table": table, "owner": "shielda"}

    async def does(self, action: Action, result: Result = Result.DONE) -> str:
        outcome = await self.rig.carry_out(action)
        assert outcome.result is result, outcome.says
        return outcome.says

    async def plan(self) -> Any:
        seen = await read("The database", read_index(self.rig.world, self.ref, self.names["index"]))
        return plan_for(self.ref, self.names["index"], seen, {})

    async def invalid(self) -> list[str]:
        sql = "SELECT array_agg(indexrelid::regclass::text ORDER BY 1) FROM pg_index WHERE NOT indisvalid"
        return list(await self.patient.value(sql) or [])


async def goods(ward: Ward, rig: Rig, *statements: str, index: str = "public.by_code") -> Case:
    patient = await ward.patient()
    await patient.run(FILLED, *statements)
    return Case(ward, rig, patient, index, "public.goods")


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_an_index_that_lacks_a_row_has_it_after_the_rebuild(ward: Ward, rig: Rig, seed: int) -> None:
    patient = await ward.patient()
    wound = await INJURIES["index-entry"].inflict(patient, random.Random(f"index-entry/{seed}"))
    case = Case(ward, rig, patient, wound.object, wound.table)
    before = await IndexHolds(**case.names).look(rig.world)
    assert before.result is Result.FAILED
    assert "is rebuilt" in await case.does(RebuildIndex(**case.names))
    after = await IndexHolds(**case.names).look(rig.world)
    assert after.result is Result.DONE
    assert f"has an entry for every row of {wound.table}" in after.says


async def test_writers_go_on_during_a_rebuild(ward: Ward, rig: Rig) -> None:
    case = await goods(ward, rig)
    async with case.patient.session() as connection, connection.transaction():
        await connection.execute("INSERT INTO goods VALUES (2000, 'new')")  # the rebuild waits for this
        rebuilding = asyncio.create_task(case.does(RebuildIndex(**case.names)))
        await until(lambda: case.patient.value(GOING), 30, "a rebuild")
        await case.patient.run("INSERT INTO goods VALUES (2001, 'newer')")
    await rebuilding
    assert (await IndexHolds(**case.names).look(rig.world)).result is Result.DONE
    assert await case.invalid() == []


async def test_duplicates_end_a_rebuild_with_the_index_as_it_was(ward: Ward, rig: Rig) -> None:
    patient = await ward.patient()
    wound = await INJURIES["duplicates"].inflict(patient, random.Random("duplicates/1"))
    case = Case(ward, rig, patient, wound.object, wound.table)
    said = await case.does(RebuildIndex(**case.names), Result.FAILED)
    assert f"{wound.object} is as it was: the database says: could not create unique index" in said
    assert [finding.says for finding in (await case.plan()).findings if "left" in finding.says]
    assert "is gone" in await case.does(DropLeftOvers(**case.names))
    assert await case.invalid() == []
    assert "nothing left" in await case.does(DropLeftOvers(**case.names), Result.ALREADY_DONE)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_bot_that_died_rebuilds_once(ward: Ward, rig: Rig, sent: bool) -> None:
    case = await goods(ward, rig)
    await rig.die_after(RebuildIndex(**case.names), sent=sent, run=f"reindex-{sent}")
    before = await case.patient.value("SELECT 'by_code'::regclass::oid::int8")
    assert (await rig.carry_out(RebuildIndex(**case.names), run=f"reindex-{sent}")).ok
    assert (await case.patient.value("SELECT 'by_code'::regclass::oid::int8") == before) is sent


async def test_a_rebuild_that_is_cut_off_is_read_back_and_its_rest_dropped(ward: Ward, rig: Rig) -> None:
    case = await goods(ward, rig)
    async with case.patient.session() as connection, connection.transaction():
        await connection.execute("INSERT INTO goods VALUES (2000, 'new')")
        rebuilding = asyncio.create_task(rig.carry_out(RebuildIndex(**case.names)))
        waits = "FROM pg_stat_activity WHERE starts_with(query, 'REINDEX') AND wait_event_type = 'Lock'"
        await until(lambda: case.patient.value(f"SELECT count(*) {waits}"), 30, "a rebuild that waits")
        await case.patient.run(f"SELECT pg_terminate_backend(pid) {waits}")
        outcome = await rebuilding
    assert not outcome.ok
    assert await case.invalid() == ["by_code_ccnew"]
    assert "They are dropped." in " ".join(finding.says for finding in (await case.plan()).findings)
    await case.does(DropLeftOvers(**case.names))
    await case.does(RebuildIndex(**case.names))
    assert await case.invalid() == []


async def test_what_cannot_be_rebuilt_beside_its_users_is_refused_at_once(ward: Ward, rig: Rig) -> None:
    more = "ALTER TABLE goods ADD EXCLUDE USING btree (id WITH =)"
    case = await goods(ward, rig, f"SET ROLE shielda; {more}")
    for index, says in (
        ("public.goods_id_excl", "enforces an exclusion constraint"),
        ("pg_catalog.pg_class_oid_index", "belongs to PostgreSQL itself"),
        ("public.nothing", "There is no index public.nothing."),
    ):
        case.names["index"] = index
        plan = await case.plan()
        assert not plan.stages
        assert says in next(finding.says for finding in plan.findings if finding.level is Level.STOP)


async def test_a_rebuild_under_way_is_not_joined_by_another(ward: Ward, rig: Rig) -> None:
    case = await goods(ward, rig)
    async with await psycopg.AsyncConnection.connect(ward.dsn(case.patient.database, "postgres"), autocommit=True) as theirs:
        async with case.patient.session() as connection, connection.transaction():
            await connection.execute("INSERT INTO goods VALUES (2000, 'new')")
            rebuilding = asyncio.create_task(theirs.execute("REINDEX INDEX CONCURRENTLY by_code"))
            await until(lambda: case.patient.value(GOING), 30, "a rebuild")
            assert "is being built right now" in await case.does(RebuildIndex(**case.names), Result.FAILED)
        await rebuilding
