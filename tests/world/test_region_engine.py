"""What the engine gained for regions: plans that hold several targets, texts beside steps, typed words, facts that are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from actions.errors import Unreachable
from actions.world import World
from bot.choices import DESTROY, Question
from bot.settings import load
from bot.slack.attachments import Attachments
from bot.state import approvals
from bot.state.attached import attachments_of
from bot.state.database import open_engine
from bot.state.items import items_of
from bot.state.kept import Keeper, LateShelf, Shelf
from bot.state.store import Refusal, Store
from bot.state.story import WHOLE, is_unread
from bot.state.tables import locks, outbox, runs
from commands import keeping
from tests.world.test_store import PLAN, offer

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(await asyncio.to_thread(open_engine, f"sqlite:///{tmp_path / 'state.sqlite'}"))
    yield store
    await asyncio.to_thread(store.close)


async def approve(store: Store, run: str, *held: str) -> bool:
    click = await offer(store, run, plan=replace(PLAN, locks=held))
    return await store.do(approvals.approve, click, "U0BOB", 1)


async def test_a_run_holds_all_its_targets_and_frees_them_together(store: Store) -> None:
    assert await approve(store, "region", "database east", "record app")
    assert (await store.holder("database east"))["run_id"] == "region"
    with pytest.raises(Refusal, match="Run region has been working on database east since"):
        await approve(store, "second", "record other", "database east")
    with pytest.raises(Refusal, match="working on record app"):
        await store.do(approvals.require_free, ["x", "record app"])
    assert await store.holder("record other") is None, "who is refused holds nothing"
    await store.set_run("region", "end", "ok", "Done.", release=True, state="done", ended=time.time())
    assert await store.do(lambda c: c.execute(select(locks)).all()) == []


async def test_plans_for_any_of_its_targets_are_set_aside_when_a_run_begins(store: Store) -> None:
    click = await offer(store, "older", plan=replace(PLAN, locks=("database east",)))
    await approve(store, "region", "database east")
    with pytest.raises(Refusal, match="no longer holds"):
        await store.do(approvals.approve, click, "U0BOB", 1)


async def test_a_text_is_stored_whole_and_a_yes_waits_until_it_is_in_the_thread(store: Store) -> None:
    await approve(store, "region")
    attachments, text = Attachments(store), "\n".join(f"+ resource {n}" for n in range(600))
    with items_of("region", "5.1", 1):
        await attachments.add("terraform plan (dr)", text)
        await attachments.add("terraform plan (dr)", text)  # gathered again after a crash
    (stored,) = await store.do(attachments_of, "region")
    assert (stored["step"], stored["name"], stored["text"]) == ("5.1", "terraform plan (dr)", text)
    parts = await store.do(lambda c: list(c.execute(select(outbox.c.text).where(outbox.c.mark == WHOLE)).scalars()))
    assert all(line in "\n".join(parts) for line in text.splitlines())
    assert len(parts) == len(set(parts))
    assert await store.do(is_unread, "region")


async def test_what_destroys_is_only_answered_by_the_typed_word(store: Store) -> None:
    await approve(store, "region")
    question = Question(run_id="region", name="stage5-1", nonce="n", choices=("hold_destroy", "hold_no"), steps=("5.1",))
    await store.ask("region", question, "Shall it?")
    click = approvals.Click(run_id="region", question="stage5-1", nonce="n")
    with pytest.raises(Refusal, match=r"'yes please', and 'destroy' is expected\. Nothing was done"):
        await store.do(approvals.answer, click, "U0BOB", "hold_destroy", "yes please")
    with pytest.raises(Refusal, match="is not an answer to this question"):
        await store.do(approvals.answer, click, "U0BOB", "hold_yes", "")
    await store.do(approvals.answer, click, "U0BOB", "hold_destroy", DESTROY)


async def test_kept_facts_are_the_latest_and_know_their_age(store: Store) -> None:
    shelf = Shelf(store)
    assert await shelf.get("region of primary") is None
    await shelf.put("region of primary", {"tasks": {"web": 1}})
    await shelf.put("region of primary", {"tasks": {"web": 2}})
    kept = await shelf.get("region of primary")
    assert kept
    assert kept.facts == {"tasks": {"web": 2}}
    assert kept.age < 60
    late = LateShelf(lambda: Store(store.engine))
    assert (await late.get("region of primary")) == kept


async def test_nothing_is_kept_while_something_is_wrong_or_a_run_is_at_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, world, answers = Shelf(store), World(load(ROOT / "dr.toml")), [{"rows": 1}]

    async def reads(_: World) -> list[keeping.Named]:
        if not answers:
            raise Unreachable("The region does not answer.")
        return [("facts", answers.pop())]

    async def idle() -> bool:
        return False

    async def busy() -> bool:
        return True

    monkeypatch.setattr(keeping, "KEEPERS", [reads])
    monkeypatch.setattr("bot.state.kept.KEEPERS", keeping.KEEPERS)
    assert not await Keeper(world, shelf, busy).keep()
    assert await Keeper(world, shelf, idle).keep()
    assert not await Keeper(world, shelf, idle).keep()
    kept = await shelf.get("facts")
    assert kept
    assert kept.facts == {"rows": 1}
    assert kept.at <= datetime.now(UTC)


async def test_a_state_without_these_tables_gets_them(tmp_path: Path) -> None:
    old = await asyncio.to_thread(open_engine, f"sqlite:///{tmp_path / 'old.sqlite'}")
    with old.begin() as connection:
        connection.exec_driver_sql("DROP TABLE dr_kept")
        connection.execute(insert(runs).values(id="r", target="t", state="done", says="", began=1.0, stop_by=""))
    old.dispose()
    store = Store(await asyncio.to_thread(open_engine, f"sqlite:///{tmp_path / 'old.sqlite'}"))
    await Shelf(store).put("facts", {})
    store.close()
