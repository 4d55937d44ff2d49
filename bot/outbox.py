"""The outbox: one worker tells Slack what the tables say is still to be told, in order, once, through crashes and outages.

New messages go before edits. A message is marked in flight before it is sent and carries its key as metadata, so that after
a crash or a lost answer the channel itself is asked whether it is there. A card is drawn when it is sent: the latest wins.
What Slack refuses rests for a while and holds up only its own run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackClientError
from sqlalchemy import Connection, and_, or_, select, update

from bot import cards
from bot.mrkdwn import escape
from bot.settings import Settings
from bot.store import ENDS, Store
from bot.tables import outbox, plans, runs

log = structlog.get_logger(__name__)
LOST = (ClientError, OSError, TimeoutError, SlackClientError)  # SlackApiError is caught before these: it is an answer
EVENT = "dr_timeline"
TICK_SECONDS = 15.0
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # while Slack is away
REFUSED_SECONDS = 3.0  # how long a run rests when Slack refused a message of it
GONE = ("message_not_found", "cannot_reply_to_message", "thread_not_found")  # somebody deleted the card
UNSURE = ("fatal_error", "internal_error", "request_timeout", "service_unavailable")  # "part of it may have succeeded"
PAGES, PAGE = 10, 200  # of a thread or a channel, in which a message in flight is looked for


class Outbox:
    """`run()` tells until cancelled; `wake()` says that there is something new."""

    def __init__(self, store: Store, slack: Any, settings: Settings) -> None:
        self._store = store
        self._slack = slack
        self._settings = settings
        self._new = asyncio.Event()
        self._failures = 0
        self._resting: dict[str, float] = {}  # runs, and until when

    def wake(self) -> None:
        """There is something to tell."""
        self._new.set()

    async def run(self) -> None:
        """Tell what is to be told until cancelled; never gives up."""
        pause = 1.0 / self._settings.slack.posts_per_second
        ticked = time.monotonic()
        while True:
            if time.monotonic() - ticked > TICK_SECONDS:
                ticked = time.monotonic()
                await self._store.do(_tick, self._store)
            self._new.clear()
            self._resting = {run: until for run, until in self._resting.items() if until > time.monotonic()}
            row = await self._store.do(_next, list(self._resting))
            if row is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._new.wait(), 0.25)
                continue
            try:
                await self._tell(row)
            except Exception:  # a defect in one run's message must not silence the others
                log.exception("telling_broke", key=row["key"])
                self._rest(row)
            await asyncio.sleep(pause)

    async def drained(self) -> bool:
        """Whether everything has been told."""
        return await self._store.do(_next, []) is None

    async def _tell(self, row: Any) -> None:
        try:
            await self._deliver(row)
            self._failures = 0
        except SlackApiError as error:
            await self._refused(row, error)
        except LOST as error:
            await self._wait(row, f"{type(error).__name__}: {error}")

    async def _deliver(self, row: Any) -> None:
        """Bring one row one step on: settle a message in flight, post it, edit it, or pin it."""
        if row["kind"] == "ephemeral":
            await self._slack.chat_postEphemeral(channel=row["channel"], user=row["person"], text=escape(row["text"]))
            await self._mark(row, sent_rev=row["rev"])
        elif row["ts"] and row["sent_rev"] == row["rev"]:
            await self._pin(row)
        elif row["ts"]:
            await self._slack.chat_update(channel=row["channel"], ts=row["ts"], **await self._content(row))
            await self._mark(row, sent_rev=row["rev"])
        elif row["in_flight"]:
            await self._settle(row)
        else:
            await self._post(row)

    async def _post(self, row: Any) -> None:
        content = await self._content(row)
        thread = await self._thread(row)
        await self._mark(row, in_flight=True)
        try:
            answer = await self._slack.chat_postMessage(channel=row["channel"], thread_ts=thread, **content)
        except SlackApiError as error:
            if not _unsure(error):
                await self._mark(row, in_flight=False)
            raise
        await self._mark(row, ts=answer["ts"], sent_rev=row["rev"], in_flight=False)

    async def _settle(self, row: Any) -> None:
        """Ask the channel whether a message whose answer we never saw is there; adopt it, or free it to be sent."""
        try:
            found = await self._find(row)
        except SlackApiError as error:
            if _code(error) != "missing_scope":
                raise
            log.warning("channel_unreadable", key=row["key"])  # `dr check` names the scope; told twice is better than never
            found = None
        log.info("message_settled", key=row["key"], found=bool(found))
        await self._mark(row, ts=found or "", sent_rev=0, in_flight=False)

    async def _find(self, row: Any) -> str | None:
        cursor = None
        for _ in range(PAGES):
            answer = await self._page(row, cursor)
            for message in answer["messages"]:
                metadata = message.get("metadata") or {}
                if metadata.get("event_type") == EVENT and metadata.get("event_payload", {}).get("key") == row["key"]:
                    return str(message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                break
        return None

    async def _page(self, row: Any, cursor: str | None) -> Any:
        """A page of the messages among which this one would stand."""
        question = {"channel": row["channel"], "include_all_metadata": True, "limit": PAGE, "cursor": cursor}
        thread = await self._thread(row)
        if thread:
            return await self._slack.conversations_replies(ts=thread, **question)
        return await self._slack.conversations_history(**question)

    async def _pin(self, row: Any) -> None:
        try:
            await self._slack.pins_add(channel=row["channel"], timestamp=row["ts"])
        except SlackApiError as error:
            if _limited(error) or _unsure(error):
                raise
            if _code(error) == "too_many_pins" and await self._unpin_oldest(row["channel"]):
                return  # there is room now, and the card is pinned at the next step
            log.info("not_pinned", key=row["key"], error=_code(error))
        await self._mark(row, pinned=True)

    async def _unpin_oldest(self, channel: str) -> bool:
        """Take the pin off the oldest card of ours whose run is over; False if there is none. A channel takes 100 pins."""
        oldest = await self._store.do(_oldest_pinned, channel)
        if oldest is None:
            return False
        try:
            await self._slack.pins_remove(channel=channel, timestamp=oldest["ts"])
        except SlackApiError as error:
            if _limited(error) or _unsure(error):
                raise  # else somebody has taken it off, or deleted the card
        await self._mark(oldest, pinned=False, pin_wanted=False)
        return True

    async def _content(self, row: Any) -> dict[str, Any]:
        metadata = {"event_type": EVENT, "event_payload": {"key": row["key"], "rev": row["rev"]}}
        if row["kind"] == "reply":
            return {"text": cards.reply(row["mark"], row["text"]), "metadata": metadata}
        story = await self._store.story(row["run_id"])
        assert story is not None, row["run_id"]
        needed = self._settings.authority.rule(story.offer.plan.scenario).approvals
        text, blocks = cards.render(story, self._settings.targets.rto_minutes, needed)
        return {"text": text, "blocks": blocks, "metadata": metadata}

    async def _thread(self, row: Any) -> str | None:
        if row["kind"] != "reply":
            return None
        return await self._store.do(lambda c: c.execute(select(outbox.c.ts).where(outbox.c.key == row["run_id"])).scalar_one())

    async def _refused(self, row: Any, error: SlackApiError) -> None:
        """Slack answered with an error: wait where it says so, drop what only one person would have seen, else try again."""
        code = _code(error)
        if _limited(error):
            await asyncio.sleep(float(error.response.headers.get("Retry-After", 1)))
        elif _unsure(error):
            await self._wait(row, code or f"HTTP {_status(error)} without an answer of Slack's")
        elif row["kind"] == "ephemeral":
            log.warning("whisper_dropped", key=row["key"], error=code)
            await self._mark(row, sent_rev=row["rev"])
        elif code in GONE:
            log.warning("card_gone", run=row["run_id"], key=row["key"], error=code)
            await self._store.do(_post_card_anew, row["run_id"])
            await self._mark(row, in_flight=False)
        else:
            log.warning("slack_refused", key=row["key"], error=code, next_try_seconds=REFUSED_SECONDS)
            self._rest(row)

    def _rest(self, row: Any) -> None:
        self._resting[row["run_id"]] = time.monotonic() + REFUSED_SECONDS

    async def _wait(self, row: Any, why: str) -> None:
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        log.warning("slack_not_told", key=row["key"], why=why, next_try_seconds=pause)
        await asyncio.sleep(pause)

    async def _mark(self, row: Any, **values: Any) -> None:
        await self._store.do(lambda c: c.execute(update(outbox).where(outbox.c.seq == row["seq"]).values(**values)))


def _code(error: SlackApiError) -> str:
    """Slack's own word for what is wrong; "" where what came back is no answer of Slack's, but a proxy's page, say."""
    data = getattr(error.response, "data", None)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def _status(error: SlackApiError) -> int:
    """The HTTP status; the client hands over another kind of response where the body is broken."""
    return int(getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0))


def _limited(error: SlackApiError) -> bool:
    """Whether Slack was asked too often."""
    return _code(error) == "ratelimited" or _status(error) == 429


def _unsure(error: SlackApiError) -> bool:
    """Whether Slack may have done what it was asked to, although no good answer came."""
    code = _code(error)
    return code in UNSURE or _status(error) >= 500 or not (code or _limited(error))


def _next(connection: Connection, resting: list[str]) -> Any:
    """The next row to bring on, but for the runs that rest: new messages in order, then edits and pins."""
    due = or_(outbox.c.sent_rev < outbox.c.rev, and_(outbox.c.pin_wanted, ~outbox.c.pinned))
    rows = select(outbox).where(due, outbox.c.run_id.not_in(resting)).order_by(outbox.c.ts != "", outbox.c.seq)
    return connection.execute(rows.limit(1)).mappings().first()


def _oldest_pinned(connection: Connection, channel: str) -> Any:
    """The oldest pinned card of a channel whose run is over."""
    over = runs.c.id == outbox.c.run_id, runs.c.state.in_(ENDS)
    rows = select(outbox).where(outbox.c.channel == channel, outbox.c.pinned, *over).order_by(outbox.c.seq)
    return connection.execute(rows.limit(1)).mappings().first()


def _post_card_anew(connection: Connection, run_id: str) -> None:
    """The card is posted once more, and what follows in the thread stands under the new one."""
    connection.execute(update(outbox).where(outbox.c.key == run_id).values(ts="", sent_rev=0, in_flight=False, pinned=False))


def _tick(connection: Connection, store: Store) -> None:
    """Redraw the clocks of runs under way, and close plans whose time is over."""
    for run_id in connection.execute(select(runs.c.id).where(runs.c.state.not_in(ENDS))).scalars().all():
        store.redraw(connection, run_id)
    over = select(plans.c.id).where(plans.c.status == "offered", plans.c.expires < time.time())
    for plan in connection.execute(over).scalars().all():
        connection.execute(update(plans).where(plans.c.id == plan).values(status="expired"))
        store.redraw(connection, plan)
