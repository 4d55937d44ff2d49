"""The outbox sends Slack what the tables say is still to be sent: in order, once, through crashes and outages.

Each method of Slack's has its own lane and pace (pace.py), so that an edit never delays a post, and what only one person
is told never delays the timeline. Runs take turns in a lane, and so do people. What Slack refuses rests and holds up only its own
run; a method that Slack limits pauses alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError

from bot.settings import Settings
from bot.slack.errors import LOST, code, is_limited, is_unsure, retry_after, status
from bot.slack.pace import Lane, Pace, lane_of
from bot.slack.sender import Sender, method_of
from bot.state.messages import Row, close_ephemerals, due_rows, post_card_again
from bot.state.plans import redraw_clocks
from bot.state.store import Store

log = structlog.get_logger(__name__)
POLL_SECONDS = 0.25
TICK_SECONDS = 15.0
REFUSED_SECONDS = 3.0  # how long a run rests in a lane in which Slack refused a message of it
REPEAT_POSTS = 10  # the same sentence goes to the same person once in the time that this many posts take
EPHEMERAL_SECONDS = 120.0  # after that a person has moved on, and the sentence would only confuse
TURN_SECONDS = 60.0  # how long it is remembered who had a turn
CARD_SECONDS = 3.0  # how long a card lets the lines of its run go first
GONE = ("message_not_found", "cannot_reply_to_message", "thread_not_found")  # somebody deleted the card


class Outbox:
    """`run()` sends until cancelled; `wake()` says that there is something new. No card calls any of the `outsiders`."""

    def __init__(self, store: Store, slack: Any, settings: Settings, outsiders: Callable[[], Collection[str]] = tuple) -> None:
        speed = settings.slack.posts_per_second
        self._store = store
        self._pace = Pace(speed)
        self._sender = Sender(store, slack, settings, self._pace, outsiders)
        self._repeat_seconds = REPEAT_POSTS / speed
        self._new = asyncio.Event()
        self._ticked = time.monotonic()
        self._at_work: dict[Lane, Row] = {}
        self._served: dict[tuple[Lane, str], float] = {}  # when a run or a person last had its turn in a lane
        self._yielding: dict[str, float] = {}  # runs whose card lets their lines go first, and since when
        self._resting: dict[tuple[str, ...], float] = {}  # until when a run rests in a lane, or a sentence isn't repeated

    def wake(self) -> None:
        """There is something to send."""
        self._new.set()

    async def run(self) -> None:
        """Send what is to be sent until cancelled; never gives up."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._tick()
                self._new.clear()
                pause = await self._start_what_is_due(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):  # asyncio.wait_for of Python 3.11 may swallow a cancellation
                        await self._new.wait()

    async def _tick(self) -> None:
        if time.monotonic() - self._ticked > TICK_SECONDS:
            self._ticked = time.monotonic()
            await self._store.do(redraw_clocks)

    async def _start_what_is_due(self, group: asyncio.TaskGroup) -> float:
        """Give every free lane a row, the timeline's first; returns the seconds until there may be more to start."""
        at_work = {row["seq"] for row in self._at_work.values()}  # before the question: its answer may be older than their end
        rows = self._in_turn(await self._fresh(await self._store.do(due_rows)))
        behind = {row["run_id"] for row in rows if row["kind"] == "reply"}
        pause = POLL_SECONDS
        for row in rows:
            lane = _lane(row)
            if row["seq"] in at_work or lane in self._at_work or _rest_key(row) in self._resting or self._yields(row, behind):
                continue
            if wait := self._pace.wait(lane):
                pause = min(pause, wait)
            else:
                group.create_task(self._work(lane, row))
                self._count(lane, row)
        return pause

    def _count(self, lane: Lane, row: Row) -> None:
        self._pace.take(lane)
        self._at_work[lane] = row
        self._served[lane, _owner(row)] = time.monotonic()
        if lane[0] == "chat.update":
            self._yielding.pop(row["run_id"], None)

    def _yields(self, row: Row, behind: set[str]) -> bool:
        """Whether a card lets the lines of its run go first, so that the thread already says why; it does not wait for long."""
        if method_of(row) != "chat.update" or row["run_id"] not in behind:
            return False
        now = time.monotonic()
        return now - self._yielding.setdefault(row["run_id"], now) < CARD_SECONDS

    def _in_turn(self, rows: list[Row]) -> list[Row]:
        """The timeline before what only one person is told; then whoever has waited longest since the last turn."""
        now = time.monotonic()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        self._served = {key: at for key, at in self._served.items() if at > now - TURN_SECONDS}

        def turn(row: Row) -> tuple[bool, float, int]:
            return row["kind"] == "ephemeral", self._served.get((_lane(row), _owner(row)), 0.0), row["seq"]

        return sorted(rows, key=turn)

    async def _fresh(self, rows: list[Row]) -> list[Row]:
        """The rows without the sentences that come too late to be of use to their person; those are dropped."""
        too_old = [row for row in rows if row["kind"] == "ephemeral" and row["at"] < time.time() - EPHEMERAL_SECONDS]
        if not too_old:
            return rows
        for row in too_old:
            log.warning("ephemeral_dropped", key=row["key"], person=row["person"], tries=row["tries"], error="too late")
        await self._store.do(close_ephemerals, too_old)
        return [row for row in rows if row not in too_old]

    # One row ---------------------------------------------------------------------------------------------------------

    async def _work(self, lane: Lane, row: Row) -> None:
        try:
            await self._send(lane, row)
        except Exception:  # a defect in one run's message must not silence the others
            log.exception("telling_broke", key=row["key"])
            self._rest(row)
        finally:
            del self._at_work[lane]
            self.wake()

    async def _send(self, lane: Lane, row: Row) -> None:
        try:
            await self._sender.send(row)
        except SlackApiError as error:
            await self._handle_refusal(lane, row, error)
        except LOST as error:
            self._handle_silence(lane, row, f"{type(error).__name__}: {error}")
        else:
            self._pace.answered(lane)
            if row["kind"] == "ephemeral":
                self._rest(row)

    async def _handle_refusal(self, lane: Lane, row: Row, error: SlackApiError) -> None:
        """Slack answered with an error: wait if it says so, drop what only one person would have seen, else try again."""
        if is_limited(error):
            seconds = retry_after(error)
            log.warning("slack_limits", lane=lane, next_try_seconds=seconds)
            self._pace.pause(lane, seconds)
        elif is_unsure(error):
            self._handle_silence(lane, row, code(error) or f"HTTP {status(error)} without an answer of Slack's")
        elif row["kind"] == "ephemeral":
            log.warning("ephemeral_dropped", key=row["key"], person=row["person"], tries=row["tries"], error=code(error))
            await self._store.do(close_ephemerals, [row])
        elif code(error) in GONE:
            log.warning("card_gone", run=row["run_id"], key=row["key"], error=code(error))
            await self._store.do(post_card_again, row["run_id"], row["thread"] or row["ts"])
            await self._sender.mark(row, in_flight=False)
        else:
            log.warning("slack_refused", key=row["key"], error=code(error), next_try_seconds=REFUSED_SECONDS)
            self._rest(row)

    def _rest(self, row: Row) -> None:
        seconds = self._repeat_seconds if row["kind"] == "ephemeral" else REFUSED_SECONDS
        self._resting[_rest_key(row)] = time.monotonic() + seconds

    def _handle_silence(self, lane: Lane, row: Row, why: str) -> None:
        seconds = self._pace.back_off(lane)
        log.warning("slack_not_told", key=row["key"], why=why, next_try_seconds=seconds)


def _lane(row: Row) -> Lane:
    return lane_of(method_of(row), row["channel"])


def _owner(row: Row) -> str:
    """Who takes turns in a lane: runs, and the people who are told something alone."""
    return str(row["person"] or row["run_id"])


def _rest_key(row: Row) -> tuple[str, ...]:
    """What rests: a run in one lane, or one sentence for one person about one thing."""
    if row["kind"] == "ephemeral":
        return row["person"], row["channel"], row["run_id"], row["text"]
    return row["run_id"], method_of(row)
