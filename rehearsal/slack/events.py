"""The Events API: which events the app gets, and what happens to those that it doesn't acknowledge.

An app gets what its manifest subscribes to, if it has the scope and, for events of a channel, is a member. An event that isn't
acknowledged comes again at once, after a minute and after five minutes, also if the app wasn't connected.
https://docs.slack.dev/apis/events-api
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.slack import payloads
from rehearsal.slack.manifest import events, scopes
from rehearsal.slack.members import BOT_USER
from rehearsal.slack.sockets import Ack, Sockets
from rehearsal.slack.store import Channel, api_message

Json = dict[str, Any]
RETRY_SECONDS = (0.0, 60.0, 300.0)
NEEDS: Mapping[str, str | None] = {
    "app_home_opened": None,
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "member_joined_channel": "channels:read",
    "member_left_channel": "channels:read",
    "channel_archive": "channels:read",
    "channel_unarchive": "channels:read",
    "channel_created": "channels:read",
    "pin_added": "pins:read",
    "pin_removed": "pins:read",
    "user_change": "users:read",
    "subteam_members_changed": "usergroups:read",
}


class Events:
    """Tells the app what happens in the workspace."""

    def __init__(self, manifest: Json, sockets: Sockets, retry_seconds: Sequence[float] = RETRY_SECONDS) -> None:
        self._manifest = manifest
        self._sockets = sockets
        self._retry_seconds = retry_seconds
        self._tasks: set[asyncio.Task[Any]] = set()

    def subscribed(self, name: str) -> bool:
        """Whether the app gets events of this name."""
        return name in events(self._manifest) and NEEDS.get(name) in (None, *scopes(self._manifest))

    async def send(self, name: str, body: Json, *, person: str) -> Ack:
        """Deliver one event; returns the ack of the first try. Further tries go on in the background."""
        event_id = f"Ev{secrets.token_hex(5).upper()}"
        payload = payloads.event(name, body, event_id=event_id, now=int(time.time()))
        ack = await self._deliver(payload, person)
        if not ack.acked:
            self._later(self._again(payload, person))
        return ack

    def tell(self, name: str, channel: Channel | None, body: Json, *, person: str, subscription: str = "") -> None:
        """Deliver one event in the background, if the app has subscribed to it and is in the channel."""
        if not self.subscribed(subscription or name) or (channel is not None and not channel.has(BOT_USER)):
            return
        self._later(self.send(name, body, person=person))

    def message(self, channel: Channel, message: Json) -> None:
        """Tell the app of a message that somebody wrote, and of the mention of the app in it."""
        said = api_message(message, channel, metadata=False)
        body = {name: value for name, value in said.items() if name != "type"} | {
            "channel": channel.id,
            "event_ts": message["ts"],
        }
        kind, name = channel.kind
        self.tell("message", channel, body | {"channel_type": kind}, person=message["user"], subscription=name)
        if f"<@{BOT_USER}" in message["text"]:
            self.tell("app_mention", channel, body, person=message["user"])

    def changed(self, channel: Channel, message: Json, previous: Json | None) -> None:
        """Tell the app that a message was changed, or deleted if `previous` is None."""
        kind, name = channel.kind
        ts = message["ts"]
        body: Json = {"channel": channel.id, "channel_type": kind, "hidden": True, "ts": ts, "event_ts": ts}
        if previous is None:
            body |= {"subtype": "message_deleted", "deleted_ts": ts, "previous_message": api_message(message, channel)}
        else:
            body |= {"subtype": "message_changed", "message": api_message(message, channel), "previous_message": previous}
        self.tell("message", channel, body, person=message["user"], subscription=name)

    def reaction(self, channel: Channel, message: Json, name: str, person: str, *, added: bool, event_ts: str) -> None:
        """Tell the app of a reaction that somebody added or removed."""
        item = {"type": "message", "channel": channel.id, "ts": message["ts"]}
        body = {"user": person, "reaction": name, "item_user": message["user"], "item": item, "event_ts": event_ts}
        self.tell("reaction_added" if added else "reaction_removed", channel, body, person=person)

    async def close(self) -> None:
        """Give up what hasn't been delivered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, payload: Json, person: str, attempt: int = 0) -> Ack:
        reason = "timeout" if attempt else ""
        retry = {"retry_attempt": attempt, "retry_reason": reason}
        name, event_id = payload["event"]["type"], payload["event_id"]
        return await self._sockets.deliver(
            "events_api", payload, accepts_response=False, envelope=retry, person=person, says=name, event_id=event_id, **retry
        )

    async def _again(self, payload: Json, person: str) -> None:
        for attempt, seconds in enumerate(self._retry_seconds, 1):
            await asyncio.sleep(seconds)
            if (await self._deliver(payload, person, attempt)).acked:
                return

    def _later(self, doing: Any) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
