"""Web API methods that write messages: chat.*, pins.*, reactions.*."""

from __future__ import annotations

import json
import time
from typing import Any

from rehearsal.slack.blocks import problems, too_long
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import BOT_USER
from rehearsal.slack.store import Channel, api_message
from rehearsal.slack.uploads import uploaded
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
TEXT_CHARACTERS = 40_000
METADATA_CHARACTERS = 8_000
MOST_PINS = 100


def truth(value: Any) -> bool:
    """Whether a Web API argument means yes; the SDKs send booleans as "1" or "true"."""
    return value in (True, 1, "1", "true", "True")


def _contents(workspace: Workspace, arguments: Json) -> tuple[str, list[Json]]:
    """The text and the blocks of a message to write, refused as Slack refuses them."""
    text, blocks = str(arguments.get("text") or ""), arguments.get("blocks") or []
    if not isinstance(blocks, list):
        raise RefusedError("invalid_blocks_format")
    if not text.strip() and not blocks:
        raise RefusedError("no_text")
    if len(text) > TEXT_CHARACTERS:
        raise RefusedError("msg_too_long")
    if workspace.strict:
        complaints = problems(blocks) or [
            f"unsupported block: {one['type']}" for one in blocks if one["type"] in workspace.faults.refused_blocks
        ]
        if complaints:
            raise RefusedError("invalid_blocks", errors=complaints, response_metadata={"messages": complaints})
        if too_long(blocks):
            raise RefusedError("msg_blocks_too_long")
    return text, blocks


def _metadata(arguments: Json) -> Json | None:
    given = arguments.get("metadata")
    if given in (None, ""):
        return None
    if not isinstance(given, dict) or not isinstance(given.get("event_payload"), dict) or not given.get("event_type"):
        raise RefusedError("invalid_metadata_format")
    if len(json.dumps(given)) > METADATA_CHARACTERS:
        raise RefusedError("metadata_too_large")
    return {"event_type": given["event_type"], "event_payload": given["event_payload"]}


def _channel(workspace: Workspace, arguments: Json) -> Channel:
    """The channel of a call, in which the bot must be."""
    name = str(arguments.get("channel") or arguments.get("channel_id") or "")
    if name in workspace.people:
        return workspace.store.direct(name)
    channel = workspace.store.channel(name)
    if workspace.strict and not channel.has(BOT_USER):
        raise RefusedError("not_in_channel")
    if channel.archived:
        raise RefusedError("is_archived")
    return channel


def _changed_message(workspace: Workspace, channel: Channel, message: Json) -> Json:
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])
    return {"channel": channel.id, "ts": message["ts"], "message": api_message(message, channel)}


def post_message(workspace: Workspace, arguments: Json) -> Json:
    """chat.postMessage: a new message, in a thread if `thread_ts` names one; with `reply_broadcast` in the channel, too."""
    channel = _channel(workspace, arguments)
    text, blocks = _contents(workspace, arguments)
    thread_ts = str(arguments.get("thread_ts") or "") or None
    if thread_ts and not any(m["ts"] == thread_ts for m in channel.messages):
        raise RefusedError("cannot_reply_to_message")
    broadcast = truth(arguments.get("reply_broadcast"))
    if broadcast and not thread_ts:
        raise RefusedError("cannot_reply_to_message")
    subtype = "thread_broadcast" if broadcast else None
    more = {"metadata": _metadata(arguments), "thread_ts": thread_ts, "subtype": subtype}
    message = workspace.store.bot_message(channel, text, blocks, **more)
    workspace.events.message(channel, message)
    return _changed_message(workspace, channel, message)


def update(workspace: Workspace, arguments: Json) -> Json:
    """chat.update: new contents for a message of the bot; text without blocks removes its blocks, and `file_ids` adds files."""
    channel = _channel(workspace, arguments)
    message = channel.find(str(arguments.get("ts")))
    if message["user"] != BOT_USER:
        raise RefusedError("cant_update_message")
    text, blocks = _contents(workspace, arguments)
    files = uploaded(workspace, arguments.get("file_ids"))
    previous = api_message(message, channel, metadata=False)
    if files:
        message["files"] = [*message.get("files", []), *files]
    message |= {"text": text, "blocks": workspace.store.with_block_ids(blocks)}
    if not blocks:
        message["edited"] = {"user": BOT_USER, "ts": workspace.store.next_ts()}
    metadata = _metadata(arguments)
    if metadata is not None:
        message["metadata"] = metadata
    workspace.events.changed(channel, message, previous)
    return _changed_message(workspace, channel, message) | {"text": text}


def delete(workspace: Workspace, arguments: Json) -> Json:
    """chat.delete: delete a message of the bot."""
    channel = _channel(workspace, arguments)
    message = channel.find(str(arguments.get("ts")))
    if message["user"] != BOT_USER:
        raise RefusedError("cant_delete_message")
    workspace.store.drop(message)
    workspace.events.changed(channel, message, None)
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])
    return {"channel": channel.id, "ts": message["ts"]}


def post_ephemeral(workspace: Workspace, arguments: Json) -> Json:
    """chat.postEphemeral: a message that only one person sees."""
    channel = _channel(workspace, arguments)
    person = str(arguments.get("user") or "")
    if not channel.has(person):
        raise RefusedError("user_not_in_channel")
    text, blocks = _contents(workspace, arguments)
    message = workspace.store.ephemeral(person, channel, text, blocks)
    workspace.journal.changed("ephemeral", person=person)
    return {"message_ts": message["ts"]}


def _pinnable(workspace: Workspace, arguments: Json) -> tuple[Channel, Json]:
    if not arguments.get("timestamp"):
        raise RefusedError("no_item_specified")
    channel = _channel(workspace, arguments)
    return channel, channel.find(str(arguments["timestamp"]))


def pins_add(workspace: Workspace, arguments: Json) -> Json:
    """pins.add: pin a message to its channel; already_pinned if it is already."""
    channel, message = _pinnable(workspace, arguments)
    if message["pinned"]:
        raise RefusedError("already_pinned")
    if len(list(workspace.store.pins(channel))) >= MOST_PINS:
        raise RefusedError("too_many_pins")
    message["pinned"] = True
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])
    return {}


def pins_remove(workspace: Workspace, arguments: Json) -> Json:
    """pins.remove: unpin a message; no_pin if it isn't pinned."""
    channel, message = _pinnable(workspace, arguments)
    if not message["pinned"]:
        raise RefusedError("no_pin")
    message["pinned"] = False
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])
    return {}


def pins_list(workspace: Workspace, arguments: Json) -> Json:
    """pins.list: the pinned messages of a channel."""
    channel = _channel(workspace, arguments)
    return {
        "items": [
            {
                "type": "message",
                "channel": channel.id,
                "created": int(time.time()),
                "created_by": BOT_USER,
                "message": api_message(message, channel),
            }
            for message in workspace.store.pins(channel)
        ]
    }


def _reaction(workspace: Workspace, arguments: Json, *, add: bool) -> Json:
    name = str(arguments.get("name") or "").strip(":")
    if not name:
        raise RefusedError("invalid_name")
    channel, message = _pinnable(workspace, arguments)
    mine = any(r["name"] == name and BOT_USER in r["users"] for r in message.get("reactions", []))
    if mine == add:
        raise RefusedError("already_reacted" if add else "no_reaction")
    workspace.store.react(message, name, BOT_USER)
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])
    workspace.events.reaction(channel, message, name, BOT_USER, added=add, event_ts=workspace.store.next_ts())
    return {}


def reactions_add(workspace: Workspace, arguments: Json) -> Json:
    """reactions.add: the bot's reaction to a message; already_reacted if it's there."""
    return _reaction(workspace, arguments, add=True)


def reactions_remove(workspace: Workspace, arguments: Json) -> Json:
    """reactions.remove: take the bot's reaction back; no_reaction if it isn't there."""
    return _reaction(workspace, arguments, add=False)


def reactions_get(workspace: Workspace, arguments: Json) -> Json:
    """reactions.get: a message with its reactions."""
    channel, message = _pinnable(workspace, arguments)
    return {"type": "message", "channel": channel.id, "message": api_message(message, channel)}


def permalink(workspace: Workspace, arguments: Json) -> Json:
    """chat.getPermalink: an address that leads to a message."""
    channel = _channel(workspace, arguments)
    message = channel.find(str(arguments.get("message_ts")))
    path = f"archives/{channel.id}/p{message['ts'].replace('.', '')}"
    return {"channel": channel.id, "permalink": f"https://shielda.rehearsal.invalid/{path}"}
