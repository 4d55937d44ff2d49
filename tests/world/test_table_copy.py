"""A table that was dropped or emptied comes back from a restored copy: whole, with all that belongs to it, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actions.db.choose_copy import ChooseCopy
from actions.db.repair_case import MAKE
from actions.db.table_copy import CopyTable
from actions.values import Level, Outcome, Result
from rehearsal.machines.processes import Processes
from rehearsal.machines.proxy import Proxy
from tests.conftest import SetVariable
from tests.world.aws_world import until
from tests.world.fast_aws import fast_aws
from tests.world.injured import ward
from tests.world.repairs import AT, ORDERS, Hospital, Repair

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
    assert await repair.does(copy_of(repair)) == (
        "public.orders has all 1001 rows of the copy. The way back: `DROP TABLE public.orders`, by hand. "
        "It takes newer rows along, and is refused as long as other tables refer to it."
    )
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


# --- the question before ------------------------------------------------------------------------------------------------

REFERS = (
    "SET ROLE shielda; CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders)",
    "SET ROLE shielda; CREATE VIEW totals AS SELECT sum(total) FROM orders",
)


async def asked(repair: Repair) -> list[tuple[Level, str, str]]:
    found = await ChooseCopy(**repair.names, copy=repair.copy, at=AT).evidence(repair.rig.world)
    return [(one.level, one.says, one.evidence) for one in found]


async def test_the_question_shows_what_comes_back_and_what_does_not(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS, *REFERS)
    await repair.present.run("DROP TABLE orders CASCADE")
    now, past, made, strangers, lost, back = await asked(repair)
    assert now[:2] == (Level.WARN, "There is no table public.orders now. A Yes makes it again, with 1000 rows.")
    assert past[1].startswith("In shielda-prod-repair, as of 2026-01-15 10:00:00 UTC, it has 1000 rows, ")
    assert past[2].startswith("(1,2,0.01,0.02,é,")
    assert made[1] == "It's made for shielda, with its grants and 7 columns, 1 index, 2 constraints, 1 trigger, 1 sequence."
    assert "sequence: orders_id_seq" in made[2]
    assert strangers == (
        Level.WARN,
        "2 views and foreign keys that the copy has on it are not made again: do that by hand.",
        "items_order_id_fkey of items, view totals",
    )
    assert "after 2026-01-15 10:00:00 UTC is not in the copy. I don't stop what dropped it" in lost[1]
    assert back[1].startswith("The way back: `DROP TABLE public.orders`, by hand.")


async def test_the_question_about_an_empty_table_makes_nothing(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("TRUNCATE orders")
    now, _, made, _, back = await asked(repair)
    assert now[1] == "public.orders is there and empty. A Yes fills it with 1000 rows."
    assert made[1].startswith("Only rows are added.")
    assert "`TRUNCATE public.orders`" in back[1]
    assert len(await repair.rows()) == 1
    await repair.past.run("TRUNCATE orders")
    assert await asked(repair) == [
        (Level.STOP, "public.orders has no row in shielda-prod-repair, either. Take an earlier time.", "")
    ]


async def test_a_table_that_has_rows_by_then_can_not_be_answered_yes(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    ((level, says, _),) = await asked(repair)
    assert (level, says[:26]) == (Level.STOP, "public.orders has rows. `/")


# --- the connection is lost at COMMIT -----------------------------------------------------------------------------------


@asynccontextmanager
async def commit_waits(hospital: Hospital, repair: Repair) -> AsyncIterator[asyncio.Task[Outcome]]:
    """The copy has sent its COMMIT, and the server is busy with it until this ends: it waits for a standby that isn't there."""
    server, waits = hospital.present.server, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await server.reload(synchronous_standby_names="nobody")
    await until(lambda: repair.present.value("SELECT current_setting('synchronous_standby_names') = 'nobody'"), 10, "the setting")
    try:
        doing = asyncio.create_task(repair.rig.carry_out(copy_of(repair), run="lost-commit"))
        await until(lambda: repair.present.value(waits), 30, "a session that waits for a standby")
        yield doing
    finally:
        await server.reload(synchronous_standby_names="")


async def test_a_lost_answer_to_commit_is_read_back_as_done(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("DROP TABLE orders")
    async with commit_waits(hospital, repair) as doing:
        await repair.present.value("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        outcome = await doing
    assert outcome.result is Result.DONE
    assert outcome.says.startswith("COMMIT was sent, and its answer got lost: ")
    assert "Reading back shows that it happened: public.orders was copied." in outcome.says
    assert await repair.rows() == await repair.rows(patient=repair.past)


@pytest.mark.parametrize("reachable", [True, False])
async def test_a_commit_that_is_still_under_way_is_unknown_and_asks(
    hospital: Hospital, set_variable: SetVariable, reachable: bool
) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run("DROP TABLE orders")
    proxy = Proxy()
    proxy.switch(hospital.present.server.port)
    await proxy.accept()
    name, dsn = repair.ref.dsn_env, hospital.present.dsn(repair.present.database)
    set_variable(name, dsn.replace(f"port={hospital.present.server.port}", f"port={proxy.port}"))
    async with commit_waits(hospital, repair) as doing:
        if reachable:
            proxy.abort()
        else:
            await proxy.refuse()
            proxy.abort()
        outcome = await doing
    assert outcome.result is Result.UNKNOWN
    why = "The database is still busy with a COMMIT of mine." if reachable else "The database gave no connection"
    assert why in outcome.says
    await proxy.close()
    set_variable(name, dsn)
    await until(lambda: repair.present.value("SELECT to_regclass('orders') IS NOT NULL"), 30, "the end of that COMMIT")
    again = await repair.rig.carry_out(copy_of(repair), run="lost-commit", attempt=2)
    assert again.result is Result.ALREADY_DONE, again.says
    assert await repair.rows() == await repair.rows(patient=repair.past)
    assert await repair.present.value("SELECT count(*) FROM dr_repair.cases") == 1


async def test_a_connection_that_is_lost_in_commit_is_read_back_as_not_done(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    dies = "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
    await repair.present.run(
        f"DROP TABLE orders; SET ROLE shielda; {MAKE}",
        f"CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {dies}",
        "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON dr_repair.cases DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION die()",
    )
    said = await repair.does(copy_of(repair), Result.FAILED)
    assert said.startswith("COMMIT was sent, and its answer got lost: ")
    assert said.endswith("I read it back. Nothing changed: no table was copied.")
    assert await repair.present.value("SELECT to_regclass('orders') IS NULL AND NOT EXISTS (SELECT FROM dr_repair.cases)")
    await repair.present.run("DROP FUNCTION die CASCADE")
    await repair.does(copy_of(repair))
