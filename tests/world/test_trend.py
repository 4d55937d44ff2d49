"""The report of a verification has the trend of those before it, of the same database and no other."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.slack.look import Look
from bot.slack.uploads import report_files
from bot.state.database import open_engine
from bot.state.store import Store
from bot.state.tables import plans, runs
from tests.world.test_store import PLAN, offer

VERIFY = replace(PLAN, scenario="backup verify")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    yield store
    store.close()


async def ended(store: Store, run: str, after: float, target: str = PLAN.target, plan: object = VERIFY) -> None:
    """A verification that ended so many seconds after it was asked for."""
    at = time.time() + after
    await offer(store, run, plan=plan)  # type: ignore[arg-type]
    row = {"id": run, "target": target, "state": "done", "says": "", "began": at - 60, "ended": at}
    await store.do(
        lambda c: (c.execute(update(plans).where(plans.c.id == run).values(target=target)), c.execute(runs.insert(), row))
    )


async def files(store: Store, run: str) -> list[str]:
    story = await store.story(run)
    assert story is not None
    written = await report_files(None, store, story, Look())
    assert all(content for _, _, content in written)
    return [name for name, _, _ in written]


async def test_a_verification_has_the_trend_from_the_second_one_on(store: Store) -> None:
    await ended(store, "first", 100)
    await ended(store, "second", 200)
    assert await files(store, "first") == ["run-first.md", "run-first.png"]
    assert await files(store, "second") == ["run-second.md", "run-second.png", "run-second-trend.png"]


async def test_another_databases_verification_and_another_run_are_no_part_of_it(store: Store) -> None:
    await ended(store, "other", 100, target="backups of another database")
    await ended(store, "mine", 200)
    await ended(store, "restart", 300, plan=PLAN)
    assert await files(store, "mine") == ["run-mine.md", "run-mine.png"]
    assert await files(store, "restart") == ["run-restart.md", "run-restart.png"]
