"""`dr run` beside a state: without a bot that serves nothing is handed over, and what is handed over ends with an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

import bot.hand_over
from bot.hand_over import Refused, hand_over
from bot.settings import Settings, load
from bot.state.database import open_engine
from bot.state.leader import Leadership
from bot.state.requests import refuse_request
from bot.state.store import Refusal, Store
from bot.state.tables import inbox
from commands.scenario import BadCommand
from rehearsal.waiting import until

EXAMPLE = Path(__file__).parents[2] / "dr.toml"
RESTART = "control-plane restart"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def settings() -> Settings:
    known = load(EXAMPLE)
    return known.model_copy(update={"authority": known.authority.model_copy(update={"unattended": (RESTART,)})})


@pytest.fixture
async def leads(engine: Engine) -> AsyncIterator[Leadership]:
    """A bot that leads and does nothing else."""
    lead = Leadership(open_engine(str(engine.url)))
    assert await lead.try_to_take()
    yield lead
    await asyncio.to_thread(lead.release)


def requests(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(inbox.c.id)).scalars())


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ("nonsense", BadCommand, "`/dr nonsense` is not a command."),
        ("targets", BadCommand, "`dr run` takes a scenario"),
        (f"{RESTART} servce=web", BadCommand, "Did you mean `service`?"),
        ("database failover", Refusal, "needs an approval: \\[authority\\] unattended"),
        (RESTART, Refused, "No bot serves on this state"),
    ],
)
async def test_without_the_right_words_or_a_bot_nothing_is_handed_over(
    engine: Engine, settings: Settings, words: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await hand_over(settings, engine, words, print)
    assert requests(engine) == []


async def test_a_lease_whose_holder_is_silent_is_no_bot(engine: Engine, settings: Settings, leads: Leadership) -> None:
    leads._ended.set()  # as a process that hangs: it holds the lease and renews it no more
    await asyncio.to_thread(leads._keeper.join)
    with pytest.raises(Refused, match="No bot serves on this state"):
        await hand_over(settings, engine, RESTART, print)


async def test_the_bots_refusal_is_the_answer(engine: Engine, settings: Settings, leads: Leadership) -> None:
    handing = asyncio.create_task(hand_over(settings, open_engine(str(engine.url)), RESTART, print))
    await until(lambda: requests(engine))
    store, (request,) = Store(engine), requests(engine)
    await store.do(refuse_request, request, "It was refused.")
    with pytest.raises(Refused, match=r"It was refused\."):
        await handing


async def test_a_bot_that_goes_away_before_it_begins_is_said(
    engine: Engine, settings: Settings, leads: Leadership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.hand_over, "AWAY_SECONDS", 1.5)
    monkeypatch.setattr(bot.hand_over, "GIVE_UP_SECONDS", 3.0)
    said: list[str] = []
    handing = asyncio.create_task(hand_over(settings, open_engine(str(engine.url)), RESTART, said.append))
    await until(lambda: requests(engine))
    await asyncio.to_thread(leads.release)
    with contextlib.suppress(Refused):
        await handing
    assert said[-1] == "The bot is silent. A run that has begun goes on when one serves again; waiting."
    with pytest.raises(Refused, match=r"a bot that starts before .* UTC carries it out, a later one doesn't"):
        handing.result()
