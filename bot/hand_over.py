"""`dr run`: hand a request over to the bot that serves, through the state, and wait for the end of what came of it.

There is only ever one executor, the bot that leads. This program puts its request into the inbox and reads the tables.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

from bot.actors import this_terminal
from bot.engine.planner import plan_id
from bot.engine.unattended import STALE_SECONDS, require_policy
from bot.settings import Settings
from bot.state.database import Engine
from bot.state.leader import TTL_SECONDS, Records, Seen
from bot.state.requests import refusal_of
from bot.state.store import Item, Store, record_items
from bot.state.story import Story
from commands.scenario import BadCommand, parse

LOOK_SECONDS = 0.5
AWAY_SECONDS = 10.0  # without a beat: a bot that starts over needs some
GIVE_UP_SECONDS = 60.0  # without a bot, as long as nothing has begun
Say = Callable[[str], None]


class Refused(Exception):
    """Nothing was handed over, or nothing came of it. The message says why."""


async def hand_over(settings: Settings, engine: Engine, words: str, say: Say) -> bool:
    """Have the bot carry out what the words ask for; returns whether it ended well. Raises `BadCommand` or `Refused`."""
    request = parse(words)
    if request.scenario is None:
        raise BadCommand(f"`dr run` takes a scenario, and {request.words!r} isn't one; `/dr help` lists them.")
    require_policy(settings, request.words)
    store, bot = Store(engine), Bot(Records(engine))
    try:
        if not await bot.serves():
            raise Refused(
                "No bot serves on this state ([state] url), and `dr run` needs one. Start `dr serve`, then run this again."
            )
        item = Item(
            id=f"request/terminal/{uuid.uuid4()}",
            kind="request",
            person=this_terminal(),
            channel=settings.slack.channel,
            payload={"text": words},
        )
        await store.do(record_items, [item])
        say(f"Handed `/dr {words}` over to the bot that serves.")
        story = await _follow(store, bot, item, say)
    finally:
        bot.close()
        store.close()
    assert story.run is not None
    return ended_well(story)


def ended_well(story: Story) -> bool:
    """Whether a run is done, and every step of it proven: none skipped, none left behind."""
    proven = {state.step for state in story.steps if state.state in ("done", "already done")}
    done = story.run is not None and story.run.state == "done"
    return done and all(step in proven for step, _ in story.offer.plan.steps())


async def _follow(store: Store, bot: Bot, item: Item, say: Say) -> Story:
    """Say every line of the run as it comes; returns its story once it is over. Raises `Refused` if there is none."""
    run_id, told = plan_id(item.id), 0
    async for says in bot.watched():
        story = await store.story(run_id)
        if story is None or story.run is None:
            refusal = await store.do(refusal_of, item.id)
            if refusal:
                raise Refused(refusal)
            if bot.silent > GIVE_UP_SECONDS:
                until = f"{datetime.fromtimestamp(item.at + STALE_SECONDS, UTC):%H:%M:%S} UTC"
                raise Refused(
                    f"No bot has served for {GIVE_UP_SECONDS:.0f} s, and nothing has begun. The request is recorded: a bot "
                    f"that starts before {until} carries it out, a later one doesn't. `dr runs` shows it."
                )
        else:
            for line in story.timeline[told:]:
                say(f"{datetime.fromtimestamp(line.at, UTC):%H:%M:%S}  {line.mark:5}  {line.text}")
            if told == 0:
                say(f"This is run {run_id}. It goes on if you end this program; `dr show {run_id}` shows it.")
            told = len(story.timeline)
            if story.run.over:
                return story
        if says:
            say(says)
    raise AssertionError("unreachable: it is watched for ever")


class Bot:
    """The bot that serves on this state, as its lease shows it: a beat that moves."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._seen: Seen | None = None
        self._moved = float("-inf")

    @property
    def silent(self) -> float:
        """Seconds since its beat moved."""
        return time.monotonic() - self._moved

    async def serves(self) -> bool:
        """Whether somebody leads: its beat moves within the time that a lease lives."""
        ends = time.monotonic() + 2 * TTL_SECONDS
        await self._look()
        self._moved = float("-inf")
        while time.monotonic() < ends and self.silent > AWAY_SECONDS:
            await asyncio.sleep(0.1)
            await self._look()
        return self.silent <= AWAY_SECONDS

    async def watched(self) -> AsyncIterator[str]:
        """Look every half second, for ever; what comes is news about the bot, "" if there is none."""
        away = False
        while True:
            await self._look()
            news = "".join(self._news(away))
            away = self.silent > AWAY_SECONDS
            yield news
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End the connection."""
        self._records.drop()

    def _news(self, was_away: bool) -> Iterator[str]:
        is_away = self.silent > AWAY_SECONDS
        if is_away and not was_away:
            yield "The bot is silent. A run that has begun goes on when one serves again; waiting."
        elif was_away and not is_away:
            yield "A bot serves again."

    async def _look(self) -> None:
        try:
            seen = await asyncio.to_thread(self._records.look)
        except Exception:  # the state is away, for whatever reason: then it isn't known
            self._records.drop()
            return
        if seen.holder and seen != self._seen:
            self._moved = time.monotonic()
        self._seen = seen
