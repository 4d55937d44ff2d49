"""A table that was dropped or emptied comes back from a restored copy: whole, with all that belongs to it, or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actions.base import Result
from actions.db.table_copy import CopyTable
from rehearsal.machines.processes import Processes
from tests.world.fast_aws import fast_aws
from tests.world.injured import ward
from tests.world.test_repair import AT, ORDERS, Hospital, Repair

OF_TABLE = """
SELECT string_agg(told, E'\\n' ORDER BY told) FROM (
  SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'public.orders'::regclass
  UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'public.orders'::regclass
  UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'public.orders'::regclass AND NOT tgisinternal
  UNION ALL SELECT relacl::text || pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.orders'::regclass
  UNION ALL SELECT last_value || '/' || is_called FROM public.orders_id_seq
  UNION ALL SELECT attname || attidentity::text || attgenerated::text || attnotnull || format_type(atttypid, atttypmod)
    FROM pg_attribute WHERE attrelid = 'public.orders'::regclass AND attnum > 0
) AS all_ (told)
"""
MORE = (
    "CREATE INDEX ON orders (customer) WHERE total > 3; GRANT SELECT ON orders TO dr_bot",
    "ALTER TABLE orders ADD CHECK (total >= 0); INSERT INTO orders (customer, total) VALUES (1, 5)",
)


@pytest.fixture(scope="module")
async def hospital(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Hospital]:
    """Two servers for all of these tests, and pg_dump on the path."""
    async with (
        ward(processes, work_dirs, cache, "present-copy") as present,
        ward(processes, work_dirs, cache, "past-copy") as past,
        fast_aws(work_dirs / "copies.sqlite", tasks=False) as rig,
    ):
        with pytest.MonkeyPatch.context() as environment:
            folder = Path(present.server.binaries.program("pg_dump")).parent
            environment.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
            yield Hospital(present, past, rig)


def copy_of(repair: Repair) -> CopyTable:
    return CopyTable(**repair.names, copy=repair.copy, at=AT)


async def test_a_dropped_table_comes_back_with_all_that_belongs_to_it(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS, *MORE)
    before = await repair.present.value(OF_TABLE)
    await repair.present.run("DROP TABLE orders")
    assert await repair.does(copy_of(repair)) == "public.orders has all 1001 rows of the copy."
    assert await repair.rows() == await repair.rows(patient=repair.past)
    assert await repair.present.value(OF_TABLE) == before
    held = await repair.holds()
    assert held.result is Result.DONE, held.says
    assert "was copied already" in await repair.does(copy_of(repair), Result.ALREADY_DONE)


async def test_an_emptied_table_is_filled_and_its_sequence_stays(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    sequence = await repair.present.value("SELECT nextval('orders_id_seq'::regclass)")
    await repair.present.run("TRUNCATE orders")
    await repair.does(copy_of(repair))
    assert await repair.rows() == await repair.rows(patient=repair.past)
    assert await repair.present.value("SELECT last_value FROM orders_id_seq") == sequence
    assert await repair.present.value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch'") == "O"


async def test_a_table_with_rows_is_refused_and_stays(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("DELETE FROM orders WHERE id > 1")
    said = await repair.does(copy_of(repair), Result.FAILED)
    assert "public.orders has rows. `/dr corruption repair` puts missing ones back" in said
    assert len(await repair.rows()) == 1


async def test_a_constraint_that_fails_leaves_no_table_behind(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("DROP TABLE orders; DELETE FROM customers WHERE id = 7")
    said = await repair.does(copy_of(repair), Result.FAILED)
    assert "Nothing was changed: the database says: insert or update on table" in said
    assert await repair.present.value("SELECT to_regclass('orders') IS NULL AND to_regclass('dr_repair.cases') IS NULL")


async def test_a_table_that_the_copy_lacks_or_no_pg_dump_is_said(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    repair = await hospital.admit(ORDERS, tables=("ordres",))
    said = await repair.does(copy_of(repair), Result.FAILED)
    assert "has no table ordres either. Take another time or name." in said
    dropped = await hospital.admit(ORDERS)
    await dropped.present.run("DROP TABLE orders")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "pg_dump isn't on this machine." in await dropped.does(copy_of(dropped), Result.FAILED)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_bot_that_died_copies_the_table_once_and_wholly(hospital: Hospital, sent: bool) -> None:
    repair, run = await hospital.admit(ORDERS), f"died-copy-{sent}"
    await repair.present.run("DROP TABLE orders")
    await repair.rig.die_after(copy_of(repair), sent=sent, run=run)
    outcome = await repair.rig.carry_out(copy_of(repair), run=run)
    assert outcome.ok, outcome.says
    assert await repair.rows() == await repair.rows(patient=repair.past)
    assert await repair.present.value("SELECT array_agg(state) FROM dr_repair.cases") == ["copied"]
