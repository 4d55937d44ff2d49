"""A repair is undone, loses its answers, or loses its bot: it's wholly there or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actions.values import Result
from rehearsal.machines.processes import Processes
from tests.world.aws_world import until
from tests.world.repairs import DAMAGE, ORDERS, QUIETLY, Hospital, Repair, open_hospital


@pytest.fixture(scope="module")
async def hospital(processes: Processes, work_dirs: Path, cache: Path) -> AsyncIterator[Hospital]:
    """Two servers for all of these tests."""
    async with open_hospital(processes, work_dirs, cache, "undone") as hospital:
        yield hospital


# --- the undo -----------------------------------------------------------------------------------------------------------


async def test_an_undo_refuses_if_a_mended_row_has_changed_since(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    await repair.present.run(
        f"{QUIETLY} UPDATE orders SET note = 'newest' WHERE id = 3", f"{QUIETLY} DELETE FROM orders WHERE id = 4"
    )
    rows = await repair.rows()
    said = await repair.does(repair.undo, Result.FAILED)
    assert "Nothing was changed: rows of public.orders have changed since the repair: {3}, {4}." in said
    assert await repair.rows() == rows


async def test_an_undo_takes_no_newer_rows_along(hospital: Hospital) -> None:
    cascade = "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey,"
    cascade += " ADD FOREIGN KEY (customer) REFERENCES customers ON DELETE CASCADE"
    repair = await hospital.admit(ORDERS, cascade, tables=("customers",))
    await repair.present.run("DELETE FROM customers WHERE id = 7")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    await repair.present.run("INSERT INTO orders (customer) VALUES (7)")
    said = await repair.does(repair.undo, Result.FAILED)
    assert "1 newer row of public.orders would go or change with rows of public.customers" in said


async def test_an_undo_of_what_was_never_done_is_refused(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    said = await repair.does(repair.undo, Result.FAILED)
    assert f"Repair {repair.names['case']} is not there, so there is nothing to undo." in said


# --- lost answers and a bot that dies -----------------------------------------------------------------------------------


STEPS = ("collect", "put_back", "undo")
STATES = dict(zip(STEPS, ("collected", "repaired", "undone"), strict=True))


async def begun(hospital: Hospital, step: str) -> Repair:
    """A repair of which this step is the next one."""
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    for earlier in STEPS[: STEPS.index(step)]:
        await repair.does(getattr(repair, earlier))
    return repair


@pytest.mark.parametrize("step", STEPS)
async def test_a_lost_answer_to_commit_is_read_back(hospital: Hospital, step: str) -> None:
    repair = await begun(hospital, step)
    ended: list[Any] = []

    async def end_it() -> bool:
        """End the session that has committed and waits for a standby which isn't there."""
        async with repair.present.session() as connection:
            sql = "SELECT pg_terminate_backend(pid), query FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ended.extend(await (await connection.execute(sql)).fetchall())
        return bool(ended)

    server = hospital.present.server
    await server.reload(synchronous_standby_names="nobody")
    await until(lambda: repair.present.value("SELECT current_setting('synchronous_standby_names') = 'nobody'"), 10, "the setting")
    try:
        doing = asyncio.create_task(repair.does(getattr(repair, step)))
        await until(end_it, 30, "a session that waits for a standby")
        await doing
    finally:
        await server.reload(synchronous_standby_names="")
    assert [query for _, query in ended] == ["COMMIT"]
    assert await repair.present.value("SELECT state FROM dr_repair.cases") == STATES[step]


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_bot_that_died_does_it_once_and_wholly(hospital: Hospital, step: str, sent: bool) -> None:
    repair, run = await begun(hospital, step), f"died-{step}-{sent}"
    await repair.rig.die_after(getattr(repair, step), sent=sent, run=run)
    rows = await repair.rows()
    outcome = await repair.rig.carry_out(getattr(repair, step), run=run)
    assert outcome.ok, outcome.says
    assert await repair.present.value("SELECT state FROM dr_repair.cases") == STATES[step]
    assert (await repair.rows() == rows) is (sent or step == "collect")


async def test_a_connection_that_is_lost_before_commit_changes_nothing(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    repair = await hospital.admit(ORDERS)
    await repair.present.run(*DAMAGE)
    await repair.does(repair.collect)
    damaged = await repair.rows()
    dies = "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END'"
    kill = f"CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {dies}"
    await repair.present.run(f"{kill}; CREATE TRIGGER die BEFORE UPDATE ON dr_repair.cases FOR EACH ROW EXECUTE FUNCTION die()")
    said = await repair.does(repair.put_back, Result.FAILED)
    assert "Nothing was changed: the database says: terminating connection" in said
    assert await repair.rows() == damaged
    await repair.present.run("DROP FUNCTION die CASCADE")
    await repair.does(repair.put_back)


async def test_a_table_that_was_emptied_is_filled_again_and_its_sequence_stays(hospital: Hospital) -> None:
    repair = await hospital.admit(ORDERS)
    sequence = await repair.present.value("SELECT nextval('orders_id_seq'::regclass)")
    await repair.present.run("TRUNCATE orders")
    await repair.does(repair.collect)
    await repair.does(repair.put_back)
    assert await repair.rows() == await repair.rows(patient=repair.past)
    assert await repair.present.value("SELECT last_value FROM orders_id_seq") == sequence
