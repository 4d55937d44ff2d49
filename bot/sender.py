"""What is sent to Slack: one row of the outbox is brought one step on. `bot/outbox.py` decides which row, and when.

A message is marked in flight before it is sent and carries its key as metadata, so that after a crash or a lost answer the
channel itself is asked whether the message is there. A card is drawn when it is sent: the latest wins.
"""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackClientError
from sqlalchemy import Connection, select, update

from bot import cards
from bot.alerts import alert_text
from bot.authority import approvals_needed
from bot.mrkdwn import escape
from bot.pace import Pace, lane_of
from bot.settings import Settings
from bot.store import Store
from bot.story import ENDS, WHOLE
from bot.tables import outbox, runs

log = structlog.get_logger(__name__)
LOST = (ClientError, OSError, TimeoutError, SlackClientError)  # SlackApiError is caught before these: it is an answer
EVENT = "dr_timeline"
UNSURE = ("fatal_error", "internal_error", "request_timeout", "service_unavailable")  # "part of it may have succeeded"
PAGES, PAGE = 10, 200  # of a thread or a channel, in which a message in flight is looked for
LONGEST_PAUSE = 300  # seconds: no Retry-After silences the bot for longer


def method_of(row: Any) -> str:
    """The method of Slack's that brings a row one step on: settle a message in flight, post it, edit it, or pin it."""
    if row["kind"] == "ephemeral":
        return "chat.postEphemeral"
    if row["ts"]:
        return "chat.update" if row["sent_rev"] < row["rev"] else "pins.add"
    if row["in_flight"]:
        return "conversations.replies" if row["kind"] == "reply" else "conversations.history"
    return "chat.postMessage"


class Sender:
    """`send(row)` makes the calls and records what came of them. Slack's errors are the caller's to judge."""

    def __init__(self, store: Store, slack: Any, settings: Settings, pace: Pace) -> None:
        self._store = store
        self._slack = slack
        self._settings = settings
        self._pace = pace
        self._steps = {
            "chat.postEphemeral": self._post_ephemeral,
            "chat.postMessage": self._post,
            "chat.update": self._edit,
            "pins.add": self._pin,
            "conversations.history": self._settle,
            "conversations.replies": self._settle,
        }

    async def send(self, row: Any) -> None:
        """Bring a row one step on. Raises `SlackApiError` if Slack refuses, one of `LOST` if no answer came."""
        await self._steps[method_of(row)](row)

    async def mark(self, row: Any, **values: Any) -> None:
        """Record what came of a row; nothing is recorded about a message that was replaced in the meantime."""
        same = outbox.c.seq == row["seq"], outbox.c.ts == row["ts"]

        def work(connection: Connection) -> None:
            connection.execute(update(outbox).where(*same).values(**values))
            if row["mark"] == WHOLE and values.get("ts"):
                self._store.redraw(connection, row["run_id"])  # once all of a plan is in its thread, it can be approved

        await self._store.do(work)

    async def _post_ephemeral(self, row: Any) -> None:
        await self._slack.chat_postEphemeral(channel=row["channel"], user=row["person"], text=_ephemeral_text(row))
        await self._store.do(close_ephemerals, [row])

    async def _post(self, row: Any) -> None:
        content = await self._content(row)
        await self.mark(row, in_flight=True)
        try:
            answer = await self._slack.chat_postMessage(channel=row["channel"], thread_ts=row["thread"], **content)
        except SlackApiError as error:
            if not is_unsure(error):
                await self.mark(row, in_flight=False)
            raise
        await self.mark(row, ts=answer["ts"], sent_rev=row["rev"], in_flight=False)

    async def _edit(self, row: Any) -> None:
        """Edit a card, unless there is news since it was found to be due: a line about it may have to go first."""
        content = await self._content(row)
        if await self._store.do(_rev, row["seq"]) == row["rev"]:
            await self._slack.chat_update(channel=row["channel"], ts=row["ts"], **content)
            await self.mark(row, sent_rev=row["rev"])

    async def _settle(self, row: Any) -> None:
        """Ask the channel if a message whose answer we never saw is there; adopt it, or free it to be sent."""
        try:
            found = await self._find(row)
        except SlackApiError as error:
            if code(error) != "missing_scope":
                raise
            log.warning("channel_unreadable", key=row["key"])  # `dr check` names the scope; told twice is better than never
            found = None
        log.info("message_settled", key=row["key"], found=bool(found))
        sent_rev = row["rev"] if found and row["kind"] != "card" else 0  # a card may have changed since
        await self.mark(row, ts=found or "", sent_rev=sent_rev, in_flight=False)

    async def _find(self, row: Any) -> str | None:
        cursor = None
        for page in range(PAGES):
            if page:
                await self._pace.turn(lane_of(method_of(row), row["channel"]))
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
        """A page of the messages among which this one would be."""
        question = {"channel": row["channel"], "include_all_metadata": True, "limit": PAGE, "cursor": cursor}
        if row["thread"]:
            return await self._slack.conversations_replies(ts=row["thread"], **question)
        return await self._slack.conversations_history(**question)

    async def _pin(self, row: Any) -> None:
        try:
            await self._slack.pins_add(channel=row["channel"], timestamp=row["ts"])
        except SlackApiError as error:
            if is_limited(error) or is_unsure(error):
                raise
            if code(error) == "too_many_pins" and await self._unpin_oldest(row["channel"]):
                return  # there is room now, and the card is pinned at the next step
            log.info("not_pinned", key=row["key"], error=code(error))
        await self.mark(row, pinned=True)

    async def _unpin_oldest(self, channel: str) -> bool:
        """Take the pin off the oldest card of ours whose run is over; False if there is none. A channel takes 100 pins."""
        oldest = await self._store.do(_oldest_pinned, channel)
        if oldest is None:
            return False
        try:
            await self._slack.pins_remove(channel=channel, timestamp=oldest["ts"])
        except SlackApiError as error:
            if is_limited(error) or is_unsure(error):
                raise  # else somebody has taken it off, or deleted the card
        await self.mark(oldest, pinned=False, pin_wanted=False)
        return True

    async def _content(self, row: Any) -> dict[str, Any]:
        metadata = {"event_type": EVENT, "event_payload": {"key": row["key"], "rev": row["rev"]}}
        if row["kind"] == "reply":
            return {"text": cards.reply(row["mark"], row["text"]), "metadata": metadata}
        if row["kind"] == "alert":
            return {"text": alert_text(row["text"], self._settings.backups.alert), "metadata": metadata}
        story = await self._store.story(row["run_id"])
        assert story is not None, row["run_id"]
        needed = approvals_needed(self._settings.authority, story.offer.plan)
        text, blocks = cards.render(story, self._settings.targets.rto_minutes, needed)
        return {"text": text, "blocks": blocks, "metadata": metadata}


# What Slack's errors mean -------------------------------------------------------------------------------------------------


def code(error: SlackApiError) -> str:
    """Slack's own word for what is wrong; "" if what came back is no answer of Slack's, but a proxy's page, say."""
    data = getattr(error.response, "data", None)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def status(error: SlackApiError) -> int:
    """The HTTP status; the client hands over another kind of response if the body is broken."""
    return int(getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0))


def is_limited(error: SlackApiError) -> bool:
    """Whether Slack was asked too often."""
    return code(error) == "ratelimited" or status(error) == 429


def retry_after(error: SlackApiError) -> int:
    """The seconds that Slack asks us to wait; 1 if it does not say."""
    seconds = str(error.response.headers.get("Retry-After", ""))
    return min(int(seconds), LONGEST_PAUSE) if seconds.isdecimal() else 1


def is_unsure(error: SlackApiError) -> bool:
    """Whether Slack may have done what it was asked to, although no good answer came."""
    return code(error) in UNSURE or status(error) >= 500 or not (code(error) or is_limited(error))


# Helpers ------------------------------------------------------------------------------------------------------------------


def close_ephemerals(connection: Connection, rows: list[Any]) -> None:
    """What these rows stand for is not sent any more: each is a sentence for a person, up to the row `last`."""
    for row in rows:
        same = [outbox.c[name] == row[name] for name in ("kind", "person", "channel", "run_id", "text")]
        connection.execute(update(outbox).where(*same, outbox.c.seq <= row["last"]).values(sent_rev=outbox.c.rev))


def _ephemeral_text(row: Any) -> str:
    text = escape(row["text"])
    return text if row["tries"] == 1 else f"{text} (You tried {row['tries']} times; the answer is the same each time.)"


def _rev(connection: Connection, seq: int) -> int:
    return int(connection.execute(select(outbox.c.rev).where(outbox.c.seq == seq)).scalar_one())


def _oldest_pinned(connection: Connection, channel: str) -> Any:
    """The oldest pinned card of a channel whose run is over."""
    over = runs.c.id == outbox.c.run_id, runs.c.state.in_(ENDS)
    rows = select(outbox).where(outbox.c.channel == channel, outbox.c.pinned, *over).order_by(outbox.c.seq)
    return connection.execute(rows.limit(1)).mappings().first()
