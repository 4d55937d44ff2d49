"""The scan against real databases: each injury is found and its object named, and a whole database raises no alarm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import commands
from actions.db import integrity_ask
from actions.db.scan import scan
from commands.report import REPORTS, Line, Mark, Report
from commands.scenario import BadCommand
from rehearsal.injuries import INJURIES, Patient, spoil_page
from rehearsal.machines.processes import Processes
from tests.world.injured import Ward, ward

assert commands  # importing it registers the reports
BROKEN = [injury.name for injury in INJURIES.values() if injury.breaks_a_rule]
LEVEL = {"broken-check": {Mark.STOP, Mark.WARN}}  # only a warning if the constraint says itself that it isn't valid
ADVICE = {
    "heap-page": "Rows of {table} are lost or wrong.",
    "index-entry": "plan `/dr corruption reindex index={object}`. No row is lost.",
    "duplicates": "{object} has duplicates: a person must decide which rows stay.",
    "orphans": "Rows of {table} are lost or wrong.",
    "broken-check": "Rows of {table} are lost or wrong.",
    "nulls": "Rows of {table} are lost or wrong.",
    "sequence-behind": "{object} is behind, so inserts into {table} will fail.",
}


@pytest.fixture(scope="module", name="ward")
async def the_ward(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Ward]:
    """One server for all of these tests."""
    async with ward(processes, work_dirs, cache) as opened:
        yield opened


async def scanned(ward: Ward, patient: Patient, **arguments: str) -> Report:
    memory: Any = None
    return await REPORTS["corruption scan"].make(ward.world_of(patient), memory, arguments)


def alarms(report: Report) -> list[Line]:
    return [one for one in report.findings if one.level in (Mark.STOP, Mark.WARN) and one.check != "what it means"]


def of(report: Report, check: str) -> Line:
    (found,) = [one for one in report.findings if one.check == check]
    return found


async def test_a_whole_database_raises_no_alarm(ward: Ward) -> None:
    report = await scanned(ward, await ward.patient())
    assert [one for one in report.findings if one.level is not Mark.OK] == []
    assert of(report, "what it means").says.startswith("No damage was found, and nothing needs to be done.")
    assert of(report, "coverage").says.startswith("7 of 7 tables could be read in full, 100 % of")
    assert of(report, "table").says == "7 tables checked, 4242 rows in full: no damage."
    assert report.findings[-1].check == "what it means"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("injury", BROKEN)
async def test_an_injury_is_found_and_its_object_named(ward: Ward, injury: str, seed: int) -> None:
    patient, wound = await ward.hurt(injury, seed)
    report = await scanned(ward, patient)
    named = [one for one in alarms(report) if one.object == wound.object]
    assert named, report.findings
    assert {one.level for one in named} <= LEVEL.get(injury, {Mark.STOP})
    assert {one.object for one in alarms(report)} <= {wound.object, wound.table, str(ward.ref(patient))}
    advice = [one.says for one in report.findings if one.check == "what it means"]
    assert any(ADVICE[injury].format(table=wound.table, object=wound.object) in says for says in advice), advice


async def test_the_damaged_page_is_named_and_what_can_still_be_read(ward: Ward) -> None:
    patient, wound = await ward.hurt("heap-page", 1)
    rows = await (await ward.patient()).value(f"SELECT count(*) FROM {wound.table}")
    block = wound.keys[0]
    async with patient.session() as connection:
        await connection.execute("SET enable_seqscan = off; SET enable_indexonlyscan = off; SET enable_indexscan = off")
        count = f"SELECT count(*) FROM {wound.table} WHERE ctid"
        found = await (await connection.execute(f"{count} < '({block},0)' UNION ALL {count} >= '({block + 1},0)'")).fetchall()
    left = sum(number for (number,) in found)
    assert 0 < left < rows
    (table,) = [one for one in (await scanned(ward, patient)).findings if one.check == "table" and one.level is Mark.STOP]
    assert f"Unreadable: block {block}, of " in table.says
    assert table.says.endswith(f" {left} rows can still be read.")


async def test_a_lost_long_value_is_told_by_the_place_of_its_row(ward: Ward) -> None:
    patient = await ward.patient()
    await patient.run(
        "CREATE TABLE long (id int, body text); ALTER TABLE long ALTER body SET STORAGE EXTERNAL;"
        " INSERT INTO long SELECT n, repeat('x', 9000) FROM generate_series(1, 20) AS n",
    )
    toast = await patient.value("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'long'")
    lost = await patient.value(f"SELECT count(DISTINCT chunk_id) FROM {toast} WHERE ctid < '(1,0)'")
    await spoil_page(patient, toast, 0)
    report = await scanned(ward, patient, tables="long")
    (table,) = [one for one in report.findings if one.check == "table" and one.level is Mark.STOP]
    named = ", ".join(f"(0,{line})" for line in range(1, lost + 1))
    assert f"Unreadable: the row at {named}, of 1 block. {20 - lost} rows can still be read." in table.says


async def test_only_the_chosen_tables_are_looked_at(ward: Ward) -> None:
    patient, wound = await ward.hurt("nulls", 1)
    other = next(name for name in ("agents", "users") if f"public.{name}" != wound.table)
    quiet = await scanned(ward, patient, tables=f"{other}, health_probe")
    assert alarms(quiet) == []
    assert of(quiet, "coverage").says.startswith("2 of 2 tables")
    assert [one.object for one in alarms(await scanned(ward, patient, tables=wound.table))] == [wound.object]


async def test_a_partitioned_table_stands_for_its_partitions(ward: Ward) -> None:
    patient = await ward.patient()
    await patient.run(
        "CREATE TABLE parts (id int NOT NULL) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF parts DEFAULT",
        "INSERT INTO parts VALUES (1)",
    )
    assert "public.low" in of(await scanned(ward, patient, tables="parts"), "table").object


async def test_a_table_that_is_not_there_is_refused(ward: Ward) -> None:
    with pytest.raises(BadCommand, match=r"^The database has no table nonsense\. .* Nothing was done\.$"):
        await scanned(ward, await ward.patient(), tables="users,nonsense")


async def test_a_missing_right_is_no_damage_and_is_told_with_its_grant(ward: Ward) -> None:
    patient = await ward.patient()
    await patient.run(
        "ALTER TABLE records ENABLE ROW LEVEL SECURITY; REVOKE EXECUTE ON FUNCTION verify_heapam FROM dr_bot",
    )
    report = await scanned(ward, patient)
    assert alarms(report) == []
    untold = " ".join(one.says for one in report.findings if one.level is Mark.UNKNOWN)
    assert "Run ALTER ROLE dr_bot BYPASSRLS." in untold
    assert "Run GRANT EXECUTE ON FUNCTION public.verify_heapam" in untold
    assert "could not be made" in of(report, "what it means").says


async def test_a_locked_table_is_no_damage_and_is_said_to_be_unread(ward: Ward) -> None:
    patient = await ward.patient()
    async with patient.session() as connection, connection.transaction():
        await connection.execute("LOCK TABLE agents")
        report = await scanned(ward, patient, tables="agents")
    assert alarms(report) == []
    assert "lock timeout" in next(one.says for one in report.findings if one.object == "public.agents")
    assert of(report, "coverage").level is Mark.UNKNOWN


async def test_when_the_time_is_over_the_rest_is_named_as_not_checked(ward: Ward) -> None:
    patient = await ward.patient()
    await patient.run(
        "CREATE FUNCTION slow(n int) RETURNS bool LANGUAGE sql AS 'SELECT true FROM pg_sleep(60)';"
        " CREATE TABLE a (n int); INSERT INTO a VALUES (1); ALTER TABLE a ADD CHECK (slow(n)) NOT VALID"
    )
    found = await scan(ward.world, ward.ref(patient), seconds=2.0)
    says = {one.object: one.says for one in found.results if one.verdict != "ok"}
    assert says["public.a (a_n_check)"] == "There was no answer: the time of 2 s is over."
    assert says["public.users_id_seq"] == "the time of 2 s is over."
    assert not [one for one in found.results if one.damage]


async def test_a_database_that_does_not_answer_comes_out_as_a_report(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = await ward.patient()
    monkeypatch.setattr(integrity_ask, "PATIENCE", 0.0)
    monkeypatch.setenv(patient.database.upper(), "host=127.0.0.1 port=1 user=x dbname=x")
    (only,) = (await scanned(ward, patient)).findings
    assert (only.level, only.check) == (Mark.STOP, "source")
    assert "plan `/dr database failover`" in only.says
    assert "onnection refused" in only.evidence
