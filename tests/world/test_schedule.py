"""The schedule of verifications in the bot's state: one request for each due time, and one alert for what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from actions.site import DatabaseSection
from bot.engine.schedule import NAME, Schedule
from bot.engine.watch import Watch
from bot.settings import Backups, Settings, load
from bot.state.database import open_engine
from bot.state.requests import note_schedule
from bot.state.store import Store
from bot.state.tables import outbox, plans, runs, schedules

EVERY_MINUTE = "* * * * *"
DAILY = "0 4 * * *"
NOW = datetime(2099, 1, 15, 6, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "dr.toml"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """Two bots' memories in one state."""
    made = [Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")) for _ in range(2)]
    yield made[0], made[1]
    for store in made:
        store.close()


def settings(cron: str) -> Settings:
    return load(EXAMPLE).model_copy(update={"backups": Backups(verify=cron)})


async def alerts(store: Store) -> list[str]:
    return await store.do(lambda c: list(c.execute(select(outbox.c.text).where(outbox.c.kind == "alert")).scalars()))


async def test_a_due_time_is_requested_once_by_two_bots_and_after_a_crash(stores: tuple[Store, Store]) -> None:
    known = [Schedule(settings(EVERY_MINUTE), store) for store in stores]
    await stores[0].do(note_schedule, NAME, EVERY_MINUTE)
    await stores[0].do(lambda c: c.execute(update(schedules).values(since=0.0)))
    moment = NOW.isoformat()
    await asyncio.gather(*(schedule.request(moment, NOW + timedelta(seconds=9)) for schedule in (*known, *known)))
    (item,) = await stores[1].unhandled()
    assert item.id == f"request/schedule/backup-verify/{moment}"
    assert (item.person, item.payload["text"]) == ("schedule:", "backup verify")


@pytest.mark.parametrize("minutes", [1, 5, 60 * 24 * 3])
async def test_a_due_time_that_is_past_another_is_passed_over(stores: tuple[Store, Store], minutes: int) -> None:
    schedule = Schedule(settings(EVERY_MINUTE), stores[0])
    await stores[0].do(note_schedule, NAME, EVERY_MINUTE)
    await stores[0].do(lambda c: c.execute(update(schedules).values(since=0.0)))
    at = NOW - timedelta(minutes=minutes)
    await schedule.request(at.isoformat(), NOW)
    assert await stores[0].unhandled() == []


async def test_every_database_that_is_named_is_verified_and_missed_by_itself(stores: tuple[Store, Store]) -> None:
    both = {"primary": DatabaseSection(instance="shielda-prod"), "billing": DatabaseSection(instance="billing-prod")}
    named = settings(DAILY).model_copy(update={"databases": both, "backups": Backups(verify=DAILY, databases=tuple(both))})
    schedule = Schedule(named, stores[0])
    await stores[0].do(note_schedule, NAME, DAILY)
    await stores[0].do(lambda c: c.execute(update(schedules).values(since=0.0)))
    at = NOW.replace(hour=4)
    await schedule.request(at.isoformat(), NOW)
    found = {item.payload["text"]: item.id for item in await stores[0].unhandled()}
    assert sorted(found) == ["backup verify database=billing", "backup verify database=primary"]
    assert len(set(found.values())) == 2
    await Watch(named, stores[0], schedule).look(NOW)
    missed = await alerts(stores[0])
    assert sorted(says.split(" that was")[0] for says in missed) == [
        "The verification of backups of billing",
        "The verification of backups of primary",
    ]


async def test_what_was_due_before_the_schedule_was_set_raises_no_alert(stores: tuple[Store, Store]) -> None:
    watch = Watch(settings(DAILY), stores[0], Schedule(settings(DAILY), stores[0]))
    await stores[0].do(note_schedule, NAME, DAILY)
    await stores[0].do(lambda c: c.execute(update(schedules).values(since=NOW.timestamp() - 60)))
    await watch.look(NOW)
    assert await alerts(stores[0]) == []
    await stores[0].do(note_schedule, NAME, DAILY)  # the next start of the bot changes nothing
    await watch.look(NOW + timedelta(days=1))
    assert len(await alerts(stores[0])) == 1


async def test_a_missing_verification_alerts_once_for_each_due_time(stores: tuple[Store, Store]) -> None:
    watches = [Watch(settings(DAILY), store, Schedule(settings(DAILY), store)) for store in stores]
    await stores[0].do(note_schedule, NAME, DAILY)
    await stores[0].do(lambda c: c.execute(update(schedules).values(since=0.0)))
    for hours in (0, 1, 5):
        for watch in watches:
            await watch.look(NOW + timedelta(hours=hours))
    (says,) = await alerts(stores[0])
    assert says.startswith(
        "The verification of backups that was due at 2099-01-15 04:00 UTC did not begin. "
        "Look at `/dr runs` and `/dr backup status`, and "
    )
    await watches[0].look(NOW + timedelta(days=1))
    assert len(await alerts(stores[0])) == 2


PLAN = {"plan": {}, "digest": "d", "nonce": "n", "requested_at": 0.0, "expires": 0.0, "status": "approved", "channel": "C"}


@pytest.mark.parametrize(
    ("database", "person", "state", "counts"),
    [
        ("shielda-prod", "U0ALICE", "done", True),
        ("shielda-prod", "schedule:daily", "failed", True),  # it has an alert of its own
        ("shielda-prod", "U0ALICE", "failed", False),
        ("another", "U0ALICE", "done", False),
    ],
)
async def test_only_a_verification_of_the_due_database_is_the_due_one(
    stores: tuple[Store, Store], database: str, person: str, state: str, counts: bool
) -> None:
    store, target = stores[0], f"backups of database {database}"
    plan = PLAN | {"id": "run1", "scenario": "backup verify", "target": target, "requested_by": person}
    run = {
        "id": "run1",
        "target": target,
        "state": state,
        "says": "It ended.",
        "began": NOW.timestamp(),
        "ended": NOW.timestamp(),
    }
    await store.do(lambda c: (c.execute(plans.insert().values(plan)), c.execute(runs.insert().values(run))))
    await store.do(note_schedule, NAME, DAILY)
    await store.do(lambda c: c.execute(update(schedules).values(since=0.0)))
    await Watch(settings(DAILY), store, Schedule(settings(DAILY), store)).look(NOW + timedelta(hours=5))
    missing = [says for says in await alerts(store) if "did not begin" in says]
    assert (missing == []) == counts
