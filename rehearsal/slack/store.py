"""What the workspace stores: channels, their messages, pins, and what only one person sees."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import APP, BOT, BOT_USER, TEAM

Json = dict[str, Any]
OURS_ONLY = ("pinned", "channel", "reactions_by")


@dataclass(kw_only=True)
class Channel:
    """A public channel, or a direct conversation of the bot with one person (`person` is then set)."""

    id: str
    name: str
    person: str | None = None
    messages: list[Json] = field(default_factory=list)

    def find(self, ts: str) -> Json:
        """The message with this ts; refused with message_not_found."""
        for message in self.messages:
            if message["ts"] == ts:
                return message
        raise RefusedError("message_not_found")

    def thread(self, ts: str) -> list[Json]:
        """The parent and its replies, oldest first."""
        return [m for m in self.messages if m["ts"] == ts or m.get("thread_ts") == ts]


class Store:
    """All channels of the workspace, the clock of their messages, and the ephemeral ones."""

    def __init__(self, channel_names: list[str]) -> None:
        self.channels: dict[str, Channel] = {}
        self.ephemerals: dict[str, list[Json]] = {}
        self._last = 0
        self._block_ids = itertools.count(1)
        for name in channel_names:
            self._add(Channel(id=f"C0{name.upper().replace('-', '')}", name=name))

    def _add(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        return channel

    def next_ts(self) -> str:
        """A time stamp such as "1736937000.000123": unique in the workspace and always rising."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def channel(self, name_or_id: str) -> Channel:
        """The channel by id or name (with or without #); refused with channel_not_found."""
        wanted = str(name_or_id or "").removeprefix("#")
        for channel in self.channels.values():
            if wanted in (channel.id, channel.name):
                return channel
        raise RefusedError("channel_not_found")

    def direct(self, person_id: str) -> Channel:
        """The bot's direct conversation with one person, created when it's first asked for."""
        channel_id = "D" + person_id.removeprefix("U")
        return self.channels.get(channel_id) or self._add(Channel(id=channel_id, name=f"dm-{person_id}", person=person_id))

    def with_block_ids(self, blocks: list[Json]) -> list[Json]:
        """A copy of the blocks in which each has a block_id, as Slack returns them."""
        named = copy.deepcopy(blocks)
        for block in named:
            block.setdefault("block_id", f"b{next(self._block_ids):05d}")
        return named

    def bot_message(self, channel: Channel, text: str, blocks: list[Json], **more: Any) -> Json:
        """Store a message of the bot in this channel; returns it as stored."""
        return self._put(channel, BOT_USER, text, blocks, bot_id=BOT, app_id=APP, **more)

    def person_message(self, channel: Channel, person_id: str, text: str, **more: Any) -> Json:
        """Store a message that a person wrote; returns it as stored."""
        return self._put(channel, person_id, text, [], **more)

    def _put(self, channel: Channel, user: str, text: str, blocks: list[Json], **more: Any) -> Json:
        message: Json = {
            "type": "message",
            "user": user,
            "team": TEAM,
            "text": text,
            "blocks": self.with_block_ids(blocks),
            "ts": self.next_ts(),
            "channel": channel.id,
            "pinned": False,
            **{name: value for name, value in more.items() if value is not None},
        }
        channel.messages.append(message)
        return message

    def ephemeral(self, person_id: str, channel: Channel, text: str, blocks: list[Json]) -> Json:
        """Store a message that only this person sees, in this channel; returns it as stored."""
        message: Json = {
            "type": "message",
            "user": BOT_USER,
            "bot_id": BOT,
            "text": text,
            "blocks": self.with_block_ids(blocks),
            "ts": self.next_ts(),
            "channel": channel.id,
            "is_ephemeral": True,
        }
        self.ephemerals.setdefault(person_id, []).append(message)
        return message

    def drop(self, message: Json) -> None:
        """Delete a message and its pin, wherever it's stored."""
        self.channels[message["channel"]].messages = [m for m in self.channels[message["channel"]].messages if m is not message]
        for person, kept in self.ephemerals.items():
            self.ephemerals[person] = [m for m in kept if m is not message]

    def pins(self, channel: Channel) -> Iterator[Json]:
        """The pinned messages of a channel."""
        return (message for message in channel.messages if message["pinned"])


def api_message(message: Json, channel: Channel, *, metadata: bool = True) -> Json:
    """The message as the Web API returns it: without our own marks, with reply counts on a thread's parent."""
    public = {name: value for name, value in message.items() if name not in OURS_ONLY}
    if not public["blocks"]:
        del public["blocks"]
    if not metadata:
        public.pop("metadata", None)
    if message.get("pinned"):
        public["pinned_to"] = [channel.id]
    replies = [m for m in channel.messages if m.get("thread_ts") == message["ts"] and m is not message]
    if replies:
        public |= {
            "thread_ts": message["ts"],
            "reply_count": len(replies),
            "reply_users": sorted({m["user"] for m in replies}),
            "latest_reply": replies[-1]["ts"],
        }
    return copy.deepcopy(public)
