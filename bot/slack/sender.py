"""What is sent to Slack: one row of the outbox is brought one step on. `bot/slack/outbox.py` decides which row, and when.

A message is marked in flight before it is sent and carries its key as metadata, so that after a crash or a lost answer the
channel itself is asked whether the message is there. A card is drawn when it is sent: the latest wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError

from actions.scrub import plain
from bot.settings import Settings
from bot.slack import cards
from bot.slack.alerts import alert_text
from bot.slack.canvas import canvas_link
from bot.slack.end_card import end_blocks
from bot.slack.errors import code, is_limited, is_unsure
from bot.slack.folding import fold
from bot.slack.look import Look, look_at
from bot.slack.mrkdwn import escape
from bot.slack.pace import Pace, lane_of
from bot.slack.question_card import question_message
from bot.slack.report_card import blocks_of
from bot.slack.uploads import NotWritten, by_hand, shares, upload_report
from bot.state.approvals import decision_on
from bot.state.messages import close_ephemerals, end_row, oldest_pinned, record_sent, revision
from bot.state.notes import SIMPLE, note, note_once
from bot.state.store import Connection, Store
from bot.state.story import WHOLE, Story
from bot.state.timeline import redraw, tell
from bot.state.usual import read_usual

log = structlog.get_logger(__name__)
EVENT = "dr_timeline"
DRAWN = ("card", "question")  # kinds of messages that are drawn when they are sent
MOST_UPLOADS = 6  # of one report; before each but the first, Slack has said that the report isn't there
PAGES, PAGE = 10, 200  # of a thread or a channel, in which a message in flight is looked for


def method_of(row: Any) -> str:
    """The method of Slack's that brings a row one step on: settle a message in flight, post it, edit it, or pin it."""
    if row["kind"] == "ephemeral":
        return "chat.postEphemeral"
    if row["kind"] == "file":
        return "conversations.replies" if row["in_flight"] else "files.completeUploadExternal"
    if row["ts"]:
        return "chat.update" if row["sent_rev"] < row["rev"] else "pins.add"
    if row["in_flight"]:
        return "conversations.replies" if row["kind"] == "reply" else "conversations.history"
    return "chat.postMessage"


class Sender:
    """`send(row)` makes the calls and records what came of them. Slack's errors are the caller's to judge."""

    def __init__(
        self, store: Store, slack: Any, settings: Settings, pace: Pace, outsiders: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._store = store
        self._outsiders = outsiders
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
            "files.completeUploadExternal": self._share,
        }

    async def send(self, row: Any) -> None:
        """Bring a row one step on. Raises `SlackApiError` if Slack refuses, one of `LOST` if no answer came."""
        await self._steps[method_of(row)](row)

    async def mark(self, row: Any, **values: Any) -> None:
        """Record what came of a row; nothing is recorded about a message that was replaced in the meantime."""

        def work(connection: Connection) -> None:
            record_sent(connection, row, **values)
            if row["mark"] == WHOLE and values.get("ts"):
                redraw(connection, row["run_id"])  # once all of a plan is in its thread, it can be approved

        await self._store.do(work)

    async def _post_ephemeral(self, row: Any) -> None:
        text, blocks = blocks_of(row["text"])
        content = {"text": _ephemeral_text(row | {"text": text})} | ({"blocks": blocks} if blocks else {})
        await self._slack.chat_postEphemeral(channel=row["channel"], user=row["person"], **content)
        await self._store.do(close_ephemerals, [row])

    async def _post(self, row: Any) -> None:
        if row["kind"] == "reply":
            row = await self._store.do(fold, row)
        content = await self._content(row)
        await self.mark(row, in_flight=True)
        try:
            answer = await self._slack.chat_postMessage(channel=row["channel"], thread_ts=row["thread"], **content)
        except SlackApiError as error:
            if not is_unsure(error):
                await self.mark(row, in_flight=False)
            if await self._simplify(row, error):
                return
            raise
        await self.mark(row, ts=answer["ts"], sent_rev=row["rev"], in_flight=False)

    async def _share(self, row: Any) -> None:
        """Upload a run's report and hang it on the message of the end: no message of its own, and an edit notifies nobody.

        It's a convenience: what Slack refuses isn't tried again, and what gets no answer isn't tried for ever.
        """
        if not self._settings.slack.report:
            await self.mark(row, ts="not wanted", sent_rev=row["rev"])
            return
        hint = by_hand(row["run_id"])
        if row["uploads"] >= MOST_UPLOADS:
            await self._give_up_report(row, f"uploaded: Slack didn't confirm it in {MOST_UPLOADS} tries. {hint}")
            return
        story, look = await self._look(row["run_id"])
        await self.mark(row, in_flight=True, uploads=row["uploads"] + 1)
        try:
            shared = await self._hang_on_end(row, await upload_report(self._slack, self._store, story, look))
        except NotWritten as error:
            await self._give_up_report(row, str(error))
            return
        except SlackApiError as error:
            if is_unsure(error):
                raise
            if is_limited(error):
                await self.mark(row, in_flight=False, uploads=row["uploads"])
                raise
            await self._give_up_report(row, f"uploaded: Slack refused it ({code(error)}). {hint}")
            return
        await self.mark(row, ts=shared, sent_rev=row["rev"], in_flight=False)

    async def _give_up_report(self, row: Any, why: str) -> None:
        """Say in the thread that the report isn't there, and why; it's not tried again."""
        log.warning("report_not_shared", key=row["key"], why=why)

        def work(connection: Connection) -> None:
            tell(connection, row["run_id"], "report:not-shared", "warn", f"The report couldn't be {why}")
            record_sent(connection, row, ts="given up", sent_rev=row["rev"], in_flight=False)

        await self._store.do(work)

    async def _hang_on_end(self, row: Any, files: list[str]) -> str:
        """Add files to the message that says how the run ended; returns the id of the first."""
        end = await self._store.do(end_row, row["run_id"])
        await self._pace.turn(lane_of("chat.update", row["channel"]))
        await self._slack.chat_update(channel=end["channel"], ts=end["ts"], file_ids=files, **await self._content(end))
        return files[0]

    async def _edit(self, row: Any) -> None:
        """Edit a card, unless there is news since it was found to be due: a line about it may have to go first."""
        content = await self._content(row)
        if await self._store.do(revision, row) == row["rev"]:
            try:
                await self._slack.chat_update(channel=row["channel"], ts=row["ts"], **content)
            except SlackApiError as error:
                if not await self._simplify(row, error):
                    raise
                return  # it is drawn again at the next step
            await self.mark(row, sent_rev=row["rev"])

    async def _simplify(self, row: Any, error: SlackApiError) -> bool:
        """Whether Slack refused blocks that a simpler card does without: the workspace is remembered as one of those."""
        if code(error) != "invalid_blocks" or row["kind"] not in DRAWN or await self._store.do(note, SIMPLE):
            return False
        log.warning("cards_simplified", key=row["key"], says=plain(error))
        await self._store.do(note_once, SIMPLE, True)
        return True

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
        sent_rev = row["rev"] if found and row["kind"] not in DRAWN else 0  # a card may have changed since
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
                if row["kind"] == "file" and shares(message, row["run_id"]):
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
        oldest = await self._store.do(oldest_pinned, channel)
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
            return await self._reply(row) | {"metadata": metadata}
        if row["kind"] == "alert":
            return {"text": alert_text(row["text"], self._settings.backups.alert), "metadata": metadata}
        text, blocks = await self._draw(row)
        return {"text": text, "blocks": blocks, "metadata": metadata}

    async def _draw(self, row: Any) -> tuple[str, list[Any]]:
        """A card, or a question's message, as it stands."""
        story, look = await self._look(row["run_id"])
        if row["kind"] != "question" or story.run is None:
            return cards.render(story, look)
        name = row["key"].removeprefix(f"{row['run_id']}/").removesuffix(":message")
        decision = await self._store.do(decision_on, f"{row['run_id']}/{name}")
        return question_message(story, story.run, name, decision, look)

    async def _look(self, run_id: str) -> tuple[Story, Look]:
        story = await self._store.story(run_id)
        assert story is not None, run_id
        usual = await self._store.do(read_usual, story.offer.plan)
        simple, canvas = bool(await self._store.do(note, SIMPLE)), await self._store.do(canvas_link, run_id)
        return story, look_at(self._settings, story, usual, simple=simple, canvas=canvas, outsiders=self._outsiders())

    async def _reply(self, row: Any) -> dict[str, Any]:
        """A line of the thread; the last one stands in the channel, too, with what the run came to."""
        text, blocks = cards.reply(row["mark"], row["text"]), cards.reply_blocks(row["text"])
        if row["key"] == f"{row['run_id']}/end":
            story, look = await self._look(row["run_id"])
            if story.run is not None:
                return {"text": text, "blocks": end_blocks(story, story.run, row["text"], look), "reply_broadcast": True}
        return {"text": text, "blocks": blocks} if blocks else {"text": text}


def _ephemeral_text(row: Any) -> str:
    text = escape(row["text"])
    return text if row["tries"] == 1 else f"{text} (You tried {row['tries']} times; the answer is the same each time.)"
