"""The lease on both databases that the state may be in: one leads, and who was deposed commits and sends nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, text, update
from sqlalchemy.exc import OperationalError

from bot.state import database, leader
from bot.state.away import Patience
from bot.state.database import open_engine
from bot.state.leader import TTL_SECONDS, Leadership
from bot.state.store import Store
from bot.state.tables import lease, locks
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import ServerPair
from tests.story.link import Link

ELSEWHERE = "elsewhere/1/2/word"  # a process that cannot be looked up


class Deposed(Exception):
    """Raised at the point at which a bot would start over."""


@dataclass
class Bots:
    """Leaderships on one state, each with an engine of its own, as two processes have them."""

    url: str
    made: list[Leadership] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    deposed: list[Leadership] = field(default_factory=list)

    async def add(self, url: str = "") -> Leadership:
        engine = await asyncio.to_thread(open_engine, url or self.url)

        def depose() -> NoReturn:
            self.deposed.append(made)
            raise Deposed

        made = Leadership(engine, depose)
        self.made.append(made)
        self.engines.append(engine)
        return made

    async def hide_holder(self) -> None:
        """The leader counts as a process of another machine, as in earnest."""
        await Store(self.engines[-1]).do(lambda c: c.execute(update(lease).values(holder=ELSEWHERE)))

    async def silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The leader renews no more, as if it were frozen."""
        monkeypatch.setattr(leader, "BEAT_SECONDS", 60.0)
        await asyncio.sleep(0.5)
        await self.hide_holder()


@pytest.fixture(scope="module")
async def server(work_dirs: Path, cache: Path, processes: Processes) -> AsyncIterator[ServerPair]:
    """The server of the state, for these tests alone: they hang it, restart it and take it away."""
    async with ServerPair(processes, work_dirs / "lease", cache=cache, zones=("lease-a", "lease-b")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def bots(request: pytest.FixtureRequest, tmp_path: Path, server: ServerPair) -> AsyncIterator[Bots]:
    made = Bots(f"sqlite:///{tmp_path / 'state.sqlite'}" if request.param == "sqlite" else server.url("postgres"))
    yield made
    await ended(made)


async def ended(bots: Bots) -> None:
    for each, engine in zip(bots.made, bots.engines, strict=True):
        await asyncio.to_thread(each.release)
        engine.dispose()


async def leads(bot: Leadership, seconds: float) -> float:
    """How long it takes until this one leads."""
    began = time.monotonic()
    await asyncio.wait_for(bot.take(), seconds)
    return time.monotonic() - began


async def test_one_leads_and_the_other_takes_over_at_once_when_it_gives_up(bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await bots.add(), await bots.add()
    assert await first.try_to_take()
    await bots.hide_holder()
    assert not await second.try_to_take()
    await asyncio.sleep(TTL_SECONDS + 0.3)
    assert first.leads()
    assert not second.leads()
    monkeypatch.setattr(leader, "TTL_SECONDS", 60.0)  # so that nobody leads because a lease expired
    await asyncio.to_thread(first.release)
    assert not first.leads()
    await leads(second, 10.0)
    assert second.epoch == first.epoch + 1


async def test_a_leader_that_stopped_renewing_may_not_send_after_a_takeover(bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await bots.add(), await bots.add()
    assert await first.try_to_take()
    await bots.silence(monkeypatch)
    await second.try_to_take()
    sure: list[bool] = []
    taking = asyncio.create_task(second.take())
    while not taking.done():
        sure.append(first.leads())
        await asyncio.sleep(0.01)
    assert sure[0]
    assert not any(sure[-10:])  # for a while before the other leads
    assert second.leads()


async def test_a_deposed_leader_commits_nothing(bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await bots.add(), await bots.add()
    assert await first.try_to_take()
    first.fence(bots.engines[0])
    store = Store(bots.engines[0])
    lock = {"run_id": "r", "person": "U0BOB", "since": 0.0}
    await store.do(lambda c: c.execute(insert(locks).values(target="before", **lock)))
    await bots.silence(monkeypatch)
    await second.try_to_take()
    await leads(second, 4.0)
    with pytest.raises(Deposed):
        await store.do(lambda c: c.execute(insert(locks).values(target="after", **lock)))
    of_second = Store(bots.engines[1])
    assert await of_second.do(lambda c: list(c.execute(select(locks.c.target)).scalars())) == ["before"]
    await of_second.do(lambda c: c.execute(delete(locks)))
    assert bots.deposed == [first]


async def test_a_leader_that_renews_late_keeps_the_lead_when_nobody_took_it(bots: Bots, monkeypatch: pytest.MonkeyPatch) -> None:
    only = await bots.add()
    assert await only.try_to_take()
    monkeypatch.setattr(leader, "BEAT_SECONDS", TTL_SECONDS + 0.5)
    await asyncio.sleep(0.5)
    epoch, sure = only.epoch, []
    monkeypatch.setattr(leader, "BEAT_SECONDS", 0.4)
    ends = time.monotonic() + TTL_SECONDS + 1.5
    while time.monotonic() < ends:
        sure.append(only.leads())
        await asyncio.sleep(0.02)
    assert not all(sure)
    assert sure[-1]
    assert only.epoch == epoch
    assert bots.deposed == []


# The server of the state ----------------------------------------------------------------------------------------------


@pytest.fixture
async def link(server: ServerPair) -> AsyncIterator[Link]:
    made = await Link(server.port).open()
    yield made
    await made.close()


def over(server: ServerPair, link: Link) -> str:
    return server.url("postgres").replace(f":{server.port}/", f":{link.port}/")


async def test_a_server_that_falls_silent_is_noticed_within_seconds(
    server: ServerPair, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1.0)
    engine = await asyncio.to_thread(open_engine, over(server, link))
    connection = await asyncio.to_thread(engine.connect)
    link.vanish()
    began = time.monotonic()
    with pytest.raises(OperationalError, match="did not answer within") as raised:
        await asyncio.to_thread(connection.execute, text("SELECT 1"))
    assert raised.value.connection_invalidated
    assert time.monotonic() - began < 3.0
    engine.dispose()


async def test_a_fenced_transaction_that_loses_its_server_is_tried_again(server: ServerPair, link: Link) -> None:
    bots = Bots(over(server, link))
    first = await bots.add()
    assert await first.try_to_take()
    first.fence(bots.engines[0])
    tries = []

    def work(connection: Connection) -> None:
        tries.append(connection)
        connection.execute(delete(locks))
        if len(tries) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await Store(bots.engines[0]).do(work)
    assert len(tries) == 2
    await ended(bots)


async def test_what_was_to_be_written_is_written_once_the_server_is_back(
    server: ServerPair, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1.0)
    patience = Patience()
    engine = await asyncio.to_thread(open_engine, over(server, link), patience)
    store = Store(engine, patience)
    await store.unfinished()
    link.vanish()
    writing = asyncio.create_task(store.ephemeral("late", "U0BOB", "C0", "It is late."))
    await asyncio.sleep(2.0)
    assert not writing.done()
    link.come_back()
    await asyncio.wait_for(writing, 5)
    await asyncio.to_thread(store.close)


async def test_a_server_that_is_away_for_a_while_costs_nobody_the_lead(server: ServerPair) -> None:
    bots = Bots(server.url("postgres"))
    first, second = await bots.add(), await bots.add()
    assert await first.try_to_take()
    await bots.hide_holder()
    assert not await second.try_to_take()
    await server.kill_primary()
    await asyncio.sleep(TTL_SECONDS + 1.0)
    assert not first.leads()
    await server.heal()
    await asyncio.sleep(TTL_SECONDS + 0.5)
    assert first.leads()
    assert not second.leads()
    await ended(bots)


async def test_a_transaction_of_a_leader_that_vanished_does_not_hold_up_the_next_one(server: ServerPair, link: Link) -> None:
    """It holds the row of the epoch, and the server does not know that its owner is gone."""
    bots = Bots(server.url("postgres"))
    first, second = await bots.add(over(server, link)), await bots.add()
    assert await first.try_to_take()
    await bots.hide_holder()
    assert not await second.try_to_take()
    connection = await asyncio.to_thread(bots.engines[0].connect)
    await asyncio.to_thread(connection.execute, text("SELECT epoch FROM dr_lease FOR SHARE"))
    link.vanish()
    assert await leads(second, 10.0) < 8.0
    link.come_back()
    connection.invalidate()
    await ended(bots)


async def test_a_leader_that_froze_within_its_renewal_does_not_hold_up_the_next_one(
    server: ServerPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the epoch is locked until its owner's connection ends, and a frozen process keeps its connection."""
    thaw = threading.Event()
    bots = Bots(server.url("postgres"))
    first, second = await bots.add(), await bots.add()
    assert await first.try_to_take()
    await bots.hide_holder()
    assert not await second.try_to_take()
    monkeypatch.setattr(first._records, "_end", lambda _well: thaw.wait(20.0))
    took = await leads(second, 10.0)
    thaw.set()
    await ended(bots)
    assert took < 4.0
