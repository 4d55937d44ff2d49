"""The inbox: what one person does a lot of delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.slack.inbox import AT_ONCE, EACH, Inbox
from bot.state.database import open_engine
from bot.state.store import Item, Store, record_items
from tests.story.conftest import until


class Handled:
    """Handles items: a stranger's hang until they are let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.at_work = 0
        self.most = 0
        self.done: list[str] = []

    async def handle(self, item: Item) -> None:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        if item.person.startswith("U0DAVE"):
            await self.let_go.wait()
        self.at_work -= 1
        self.done.append(item.id)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    yield store
    store.close()


def clicks(person: str, count: int, kind: str = "click") -> list[Item]:
    return [Item(id=f"{kind}/{person}/{n}", kind=kind, person=person, channel="C0", payload={}) for n in range(count)]


@pytest.mark.parametrize("kind", sorted(AT_ONCE))
@pytest.mark.parametrize("recorded_before", [False, True], ids=["arriving", "left over from a crash"])
async def test_forty_of_a_stranger_delay_nobody_else(store: Store, kind: str, recorded_before: bool) -> None:
    handled, inbox = Handled(), Inbox(store)
    items = [*clicks("U0DAVE", 40, kind), *clicks("U0BOB", 3, kind)]
    if recorded_before:
        await store.do(record_items, items)
        await inbox.open(handled.handle)
    else:
        await inbox.open(handled.handle)
        await asyncio.gather(*(inbox.record(item) for item in items))
    await until(lambda: len(handled.done) == 3, 5)
    assert all("U0BOB" in done for done in handled.done)
    assert handled.most <= 2 * EACH
    handled.let_go.set()
    await until(lambda: len(handled.done) == 43, 5)
    await inbox.close()


async def test_many_people_share_the_places(store: Store) -> None:
    handled, inbox = Handled(), Inbox(store)
    await inbox.open(handled.handle)
    await asyncio.gather(*(inbox.record(item) for n in range(20) for item in clicks(f"U0DAVE{n}", 3)))
    await until(lambda: handled.most == AT_ONCE["click"], 5)
    handled.let_go.set()
    await until(lambda: len(handled.done) == 60, 5)
    assert handled.most == AT_ONCE["click"]
    await inbox.close()
