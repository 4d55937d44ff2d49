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
    """A channel, or a direct conversation of the bot with one person (`person` is then set)."""

    id: str
    name: str
    person: str | None = None
    members: set[str] = field(default_factory=set)
    private: bool = False
    archived: bool = False
    shared: bool = False  # with another organisation
    topic: str = ""
    purpose: str = ""
    bookmarks: list[Json] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)

    @property
    def kind(self) -> tuple[str, str]:
        """Slack's word for the kind of channel, and the name of the event for messages in it."""
        if self.person:
            return "im", "message.im"
        return ("group", "message.groups") if self.private else ("channel", "message.channels")

    def has(self, person_id: str) -> bool:
        """Whether this person, or the bot, is a member."""
        return person_id in self.members

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
        self.canvases: dict[str, Json] = {}
        self._last = 0
        self._block_ids = itertools.count(1)
        for name in channel_names:
            self.add(Channel(id=f"C0{name.upper().replace('-', '')}", name=name))

    def add(self, channel: Channel) -> Channel:
        """Add a channel; returns it."""
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
        known = self.channels.get(channel_id)
        made = Channel(id=channel_id, name=f"dm-{person_id}", person=person_id, members={person_id, BOT_USER})
        return known or self.add(made)

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

    def react(self, message: Json, name: str, person_id: str) -> bool:
        """Add this person's reaction, or take it back if it's there; returns whether it was added."""
        reactions = message.setdefault("reactions", [])
        for reaction in reactions:
            if reaction["name"] == name and person_id in reaction["users"]:
                reaction["users"].remove(person_id)
                reaction["count"] -= 1
                message["reactions"] = [r for r in reactions if r["count"]]
                return False
            if reaction["name"] == name:
                reaction["users"].append(person_id)
                reaction["count"] += 1
                return True
        reactions.append({"name": name, "users": [person_id], "count": 1})
        return True

    def pins(self, channel: Channel) -> Iterator[Json]:
        """The pinned messages of a channel."""
        return (message for message in channel.messages if message["pinned"])


def is_outside(message: Json) -> bool:
    """Whether a message stands in its channel: it begins a thread, or is a reply that was broadcast."""
    return message.get("thread_ts") in (None, message["ts"]) or message.get("subtype") == "thread_broadcast"


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
