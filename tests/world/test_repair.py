"""Repairs against two real servers: what is put back, what is left alone, and how it goes if answers are lost or the bot dies."""

from __future__ import annotations

import copy
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import commands
from actions.db.repair_case import read_rights
from actions.db.repair_collect import ChooseRepair
from actions.values import Level, Result
from commands.report import REPORTS, Mark
from rehearsal.injuries import INJURIES
from rehearsal.machines.processes import Processes
from tests.conftest import SetVariable
from tests.world.repairs import COPY, DAMAGE, ORDERS, QUIETLY, Hospital, open_hospital
from tests.world.test_diff import sides

assert commands  # importing it registers the reports


@pytest.fixture(scope="module")
async def hospital(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Hospital]:
    """Two servers for all of these tests."""
    async with open_hospital(processes, work_dirs, cache, "mended") as hospital:
        yield hospital


async def test_what_is_lost_and_wrong_comes_back_and_newer_work_stays(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    damaged, before = await repair.rows(), await repair.rows(patient=repair.past)
    sequence = await repair.present.value("SELECT last_value FROM orders_id_seq")
    await repair.does(repair.collect)
    assert await repair.counts() == {"public.orders": {"missing": 40, "changed": 20, "touched": 10, "extra": 30}}
    assert await repair.rows() == damaged
    said = await repair.does(repair.put_back)
    assert said.startswith("40 missing rows are back, and 20 changed rows are as before. Writers waited for ")
    newer = {row for row in damaged if ",new," in row or ",newer," in row}
    older = {row for row in before if int(row.strip("(").split(",")[0]) % 100 != 5}
    assert await repair.rows() == older | newer
    assert await repair.present.value("SELECT last_value FROM orders_id_seq") == sequence
    assert await repair.present.value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch'") == "O"
    held = await repair.holds()
    assert held.result is Result.DONE, held.says
    assert await repair.does(repair.undo) == (
        f"60 rows are as before repair {repair.names['case']}. Sequences stay where they are."
    )
    assert await repair.rows() == damaged


async def test_the_question_shows_counts_and_samples_of_each_kind(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    await repair.does(repair.collect)
    asks, attached = ChooseRepair(**repair.names), dict[str, str]()

    async def attach(name: str, text: str) -> None:
        attached[name] = text

    world = copy.copy(repair.rig.world)
    world.attach = attach
    missing, changed, touched, extra, where = await asks.evidence(world)
    listed = attached["Rows that differ, 100 in all"].splitlines()
    assert (len(listed), listed[0][:44]) == (100, "missing  public.orders key 103: then (103,4,")
    assert missing.says.startswith("40 rows missing: the copy has them, and the table doesn't.")
    assert missing.says.endswith("By table: public.orders 40.")
    assert "key 103: then (103,4,1.03" in missing.evidence
    assert changed.level is Level.WARN
    assert "now (104,5,-1.04,-2.08" in changed.evidence
    assert "then (104,5,1.04,2.08" in changed.evidence
    assert (touched.says[:2], extra.says[:2]) == ("10", "30")
    assert f"WHERE case_id = '{repair.names['case']}'" in where.says


async def test_with_nothing_to_put_back_yes_is_not_offered(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("INSERT INTO orders (customer) VALUES (1)")
    await repair.does(repair.collect)
    found = await ChooseRepair(**repair.names).evidence(repair.rig.world)
    assert (found[0].level, found[0].says[:28]) == (Level.STOP, "There is nothing to put back")


async def test_rows_that_changed_after_they_were_listed_are_left_alone(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    await repair.does(repair.collect)
    await repair.present.run(
        f"{QUIETLY} UPDATE orders SET note = 'just now' WHERE id = 54",
        f"{QUIETLY} INSERT INTO orders (id, note) OVERRIDING SYSTEM VALUE VALUES (3, 'again')",
    )
    said = await repair.does(repair.put_back)
    assert said.startswith("39 missing rows are back, and 19 changed rows are as before. 2 rows have changed since")
    rows = await repair.rows()
    assert {row.split(",")[0] for row in rows if "just now" in row or "again" in row} == {"(54", "(3"}


async def test_rows_that_do_not_tell_when_they_changed_stay_unless_asked(hospital: Hospital) -> None:
    statements = (ORDERS, "ALTER TABLE orders DROP COLUMN updated_at; DROP FUNCTION touch CASCADE")
    for revert, wanted in (("", {"untold": 20, "missing": 40}), ("all", {"changed": 20, "missing": 40})):
        repair = await hospital.admit(*statements, revert=revert)
        await repair.present.run(DAMAGE[0])
        await repair.does(repair.collect)
        assert await repair.counts() == {"public.orders": wanted}
        await repair.does(repair.put_back)
        held = await repair.holds()
        assert held.result is Result.DONE, held.says
        assert (await repair.rows() == await repair.rows(patient=repair.past)) is bool(revert)


async def test_parents_come_before_their_children(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS, tables=("orders", "customers"))
    await repair.present.run(f"{QUIETLY} DELETE FROM customers WHERE id < 9; DELETE FROM orders WHERE customer < 9")
    damaged = await repair.rows(), await repair.rows("customers")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    for table in ("orders", "customers"):
        assert await repair.rows(table) == await repair.rows(table, repair.past)
    await repair.does(repair.undo)
    assert (await repair.rows(), await repair.rows("customers")) == damaged


async def test_a_child_without_its_parent_stops_the_repair(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(f"{QUIETLY} DELETE FROM customers WHERE id < 9; DELETE FROM orders WHERE customer < 9")
    damaged = await repair.rows()
    await repair.does(repair.collect)
    said = await repair.does(repair.put_back, Result.FAILED)
    assert 'Nothing was changed: the database says: insert or update on table "orders" violates foreign key constraint' in said
    assert await repair.rows() == damaged


async def test_an_undo_that_would_make_orphans_again_names_the_foreign_key_that_forbids_it(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS, tables=("customers",))
    await repair.present.run(f"{QUIETLY} DELETE FROM customers WHERE id < 9")
    damaged = await repair.rows("customers")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    mended = await repair.rows("customers")
    said = await repair.does(repair.undo, Result.FAILED)
    assert "rows of orders refer to rows of public.customers that the undo would take away" in said
    assert "the foreign key orders_customer_fkey forbids that" in said
    assert await repair.rows("customers") == mended
    await repair.present.run("ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey")
    await repair.does(repair.undo)
    assert await repair.rows("customers") == damaged


CIRCLE = """
SET ROLE shielda; CREATE TABLE a (id int PRIMARY KEY, b int);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a, mother int REFERENCES b);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE; INSERT INTO a VALUES (1), (2);
INSERT INTO b VALUES (1, 1, NULL), (2, 2, 1);
UPDATE a SET b = id
"""


async def test_tables_that_refer_to_each_other_in_a_circle_come_back(hospital: Hospital) -> None:
    repair = await hospital.admit(CIRCLE, tables=("a", "b"))
    await repair.present.run(f"{QUIETLY} DELETE FROM a; DELETE FROM b")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert (await repair.rows("a"), await repair.rows("b")) == ({"(1,1)", "(2,2)"}, {"(1,1,)", "(2,2,1)"})
    await repair.does(repair.undo)
    assert (await repair.rows("a"), await repair.rows("b")) == ({""}, {""})


@given(sides())
@settings(max_examples=5)
async def test_a_repair_of_any_table_does_what_a_naive_one_does(hospital: Hospital, drawn: Any) -> None:
    key_types, types, now, then = drawn
    names = [f"k{n}" for n in range(len(key_types))] + [f"v{n}" for n in range(len(types))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, key_types + types, strict=True))
    create = f"SET ROLE shielda; CREATE TABLE t ({columns}, PRIMARY KEY ({', '.join(names[: len(key_types)])}))"
    repair = await hospital.admit(create, tables=("t",), revert="all")
    for patient, rows in ((repair.present, now), (repair.past, then)):
        async with patient.session() as connection, connection.cursor() as cursor:
            holes = ", ".join(["%s"] * len(names))
            await cursor.executemany(f"INSERT INTO t VALUES ({holes})", [[*k, *v] for k, v in rows.items()])
    damaged, before = await repair.rows("t"), await repair.rows("t", repair.past)
    key = f"ROW({', '.join(names[: len(key_types)])})::text"
    known = await repair.past.value(f"SELECT array_agg({key}) FROM t") or []
    newer = set(await repair.present.value(f"SELECT array_agg(t::text) FROM t WHERE NOT {key} = ANY(%s)", known) or [])
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert await repair.rows("t") - {""} == (before | newer) - {""}
    await repair.does(repair.undo)
    assert await repair.rows("t") == damaged


KEYS = """
SET ROLE shielda; CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE odd (a uuid, "b c" text, m mood, n numeric, f float8, j jsonb, y bytea, r int[], big text, gone int,
  PRIMARY KEY (a, "b c", m)); ALTER TABLE odd DROP COLUMN gone; ALTER TABLE odd ADD COLUMN late int DEFAULT 7;
INSERT INTO odd SELECT md5(n::text)::uuid, 'it''s, "(' || n, 'bad', -n / 3.0, 0.1 * n, '{"a": [1, null]}', decode('00ff', 'hex'),
  ARRAY[n, NULL], repeat(md5(n::text), 500) FROM generate_series(1, 40) AS n
"""


async def test_rows_of_all_kinds_of_types_come_back_exactly(hospital: Hospital) -> None:
    repair = await hospital.admit(KEYS, tables=("odd",), revert="all")
    await repair.present.run("DELETE FROM odd WHERE n > -5", "UPDATE odd SET n = -n, big = NULL, j = '1' WHERE n < -10")
    damaged = await repair.rows("odd")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert await repair.rows("odd") == await repair.rows("odd", repair.past)
    await repair.does(repair.undo)
    assert await repair.rows("odd") == damaged


PARTS = """
SET ROLE shielda; CREATE TABLE parts (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF parts
FOR VALUES FROM (1) TO (5); CREATE TABLE high PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT n, n FROM generate_series(1, 9) AS n
"""


async def test_a_partitioned_table_is_repaired_through_its_root(hospital: Hospital) -> None:
    repair = await hospital.admit(PARTS, tables=("parts",), revert="all")
    await repair.present.run("DELETE FROM parts WHERE id IN (2, 7)", "UPDATE parts SET n = 0 WHERE id IN (3, 8)")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert await repair.rows("parts") == await repair.rows("parts", repair.past)
    await repair.does(repair.undo)
    assert len(await repair.rows("parts")) == 7


async def test_a_sequence_behind_rows_that_come_back_moves_forward(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("DELETE FROM orders WHERE id > 900", "SELECT setval('orders_id_seq', 10)")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert await repair.present.value("SELECT last_value FROM orders_id_seq") == 1000


async def test_a_table_without_a_key_is_refused(hospital: Hospital) -> None:
    repair = await hospital.admit("SET ROLE shielda; CREATE TABLE bare (n int); INSERT INTO bare VALUES (1)", tables=("bare",))
    said = await repair.does(repair.collect, Result.FAILED)
    assert "public.bare has no primary key, so no row of it can be put back." in said
    assert await repair.present.value("SELECT to_regclass('dr_repair.rows') IS NULL")


async def test_a_copy_with_other_columns_is_refused_and_nothing_is_listed(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.past.run("ALTER TABLE orders DROP COLUMN note")
    said = await repair.does(repair.collect, Result.FAILED)
    assert "Nothing was changed: Column note of public.orders is only in the database that serves." in said
    assert await repair.present.value("SELECT to_regclass('dr_repair.rows') IS NULL")


async def test_a_table_of_a_stranger_is_refused_with_the_grant(hospital: Hospital) -> None:
    repair = await hospital.admit("CREATE TABLE foreign_ (id int PRIMARY KEY)", tables=("foreign_",))
    said = await repair.does(repair.collect, Result.FAILED)
    assert 'Run GRANT "postgres" TO "dr_bot" WITH INHERIT FALSE.' in said


async def test_a_table_that_does_not_exist_is_named_in_one_sentence(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS, tables=("orders", "ordres"))
    rights = await read_rights(repair.rig.world, repair.ref, ("orders", "ordres"))
    assert rights.refusal == (
        "There is no table ordres; write it as SCHEMA.TABLE if it isn't on the search path. "
        "If it was dropped, plan `/dr corruption copy table=ordres time=TIME`."
    )
    assert rights.tables == ("public.orders",)
    said = await repair.does(repair.collect, Result.FAILED)
    assert said == f"{rights.refusal} Nothing was done."


async def test_a_table_that_stays_locked_ends_the_repair_unchanged(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    await repair.does(repair.collect)
    async with repair.present.session() as connection, connection.transaction():
        await connection.execute("UPDATE orders SET note = '' WHERE id = 1")
        said = await repair.does(repair.put_back, Result.FAILED)
    assert "Nothing was changed: the database says: canceling statement due to lock timeout." in said
    await repair.does(repair.put_back)


# --- a scan beside a copy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("injury", [one.name for one in INJURIES.values() if not one.breaks_a_rule])
async def test_a_scan_beside_a_copy_finds_rows_that_break_no_rule(
    hospital: Hospital, set_variable: SetVariable, injury: str, seed: int
) -> None:
    repair = await hospital.admit()
    set_variable("DATABASE_URL", hospital.present.dsn(repair.present.database))
    memory: Any = None
    tables = {"against": COPY, "tables": "records,agents,users,organizations"}
    whole = await REPORTS["corruption scan"].make(repair.rig.world, memory, tables)
    assert [one for one in whole.findings if one.level is not Mark.OK] == []
    wound = await INJURIES[injury].inflict(repair.present, random.Random(f"{injury}/{seed}"))
    found = await REPORTS["corruption scan"].make(repair.rig.world, memory, tables)
    (rows,) = [one for one in found.findings if one.level is Mark.WARN]
    kind = "missing" if injury == "deleted-rows" else "changed"
    assert (rows.object, rows.check) == (wound.object, "rows")
    assert f"{len(wound.keys)} {kind} (such as key " in rows.says
    assert f"plan `/dr corruption repair table={wound.table} time=TIME`" in found.findings[-1].says
