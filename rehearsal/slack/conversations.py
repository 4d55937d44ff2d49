"""Web API methods about channels: conversations.*, which list, describe and change them, and who is in them."""

from __future__ import annotations

import re
from typing import Any

from rehearsal.slack.chat import truth
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import BOT_USER, TEAM
from rehearsal.slack.reading import paged
from rehearsal.slack.store import Channel
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
NAME = re.compile(r"[a-z0-9_-]{1,80}")
MOST_TOPIC = 250


def info(workspace: Workspace, arguments: Json) -> Json:
    """conversations.info: one channel; a private one only if the bot is in it."""
    channel = _channel(workspace, arguments)
    described = _described(channel)
    return {"channel": described | ({"num_members": len(channel.members)} if truth(arguments.get("include_num_members")) else {})}


def channels(workspace: Workspace, arguments: Json) -> Json:
    """conversations.list: the public channels, and the private ones that the bot is in if `types` has them."""
    types = str(arguments.get("types") or "public_channel").replace(" ", "").split(",")
    hidden = truth(arguments.get("exclude_archived"))
    listed = [
        _described(c)
        for c in workspace.store.channels.values()
        if not c.person and _type(c) in types and not (hidden and c.archived) and (not c.private or c.has(BOT_USER))
    ]
    page, cursor = paged(listed, arguments, 100)
    return {"channels": page, "response_metadata": {"next_cursor": cursor}}


def of_bot(workspace: Workspace, arguments: Json) -> Json:
    """users.conversations: the channels that the bot is in."""
    mine = [_described(c) for c in workspace.store.channels.values() if not c.person and c.has(BOT_USER)]
    page, cursor = paged(mine, arguments, 100)
    return {"channels": page, "response_metadata": {"next_cursor": cursor}}


def members(workspace: Workspace, arguments: Json) -> Json:
    """conversations.members: the ids of those in a channel."""
    inside = sorted(_channel(workspace, arguments).members)
    page, cursor = paged([{"id": one} for one in inside], arguments, 100)
    return {"members": [one["id"] for one in page], "response_metadata": {"next_cursor": cursor}}


def open_direct(workspace: Workspace, arguments: Json) -> Json:
    """conversations.open: the bot's direct conversation with one person."""
    person = str(arguments.get("users") or "")
    if person not in workspace.people:
        raise RefusedError("user_not_found")
    return {"channel": {"id": workspace.store.direct(person).id}}


def create(workspace: Workspace, arguments: Json) -> Json:
    """conversations.create: a new channel with the bot in it; name_taken if there is one with the name."""
    name = str(arguments.get("name") or "")
    if not NAME.fullmatch(name):
        raise RefusedError("invalid_name_specials" if name else "invalid_name_required")
    if any(c.name == name for c in workspace.store.channels.values()):
        raise RefusedError("name_taken")
    private = truth(arguments.get("is_private"))
    made = Channel(id=f"C0{name.upper().replace('-', '').replace('_', '')}", name=name, private=private, members={BOT_USER})
    workspace.store.add(made)
    return _done(workspace, made)


def archive(workspace: Workspace, arguments: Json) -> Json:
    """conversations.archive: nobody can write in the channel any more."""
    channel = _inside(workspace, arguments)
    if channel.archived:
        raise RefusedError("already_archived")
    if channel.name == "general":
        raise RefusedError("cant_archive_general")
    channel.archived = True
    event = {"channel": channel.id, "user": BOT_USER, "event_ts": workspace.store.next_ts()}
    workspace.events.tell("channel_archive", channel, event, person="dr")
    return _done(workspace, channel, told=False)


def unarchive(workspace: Workspace, arguments: Json) -> Json:
    """conversations.unarchive: the channel is open again."""
    channel = _channel(workspace, arguments)
    if not channel.archived:
        raise RefusedError("not_archived")
    channel.archived = False
    return _done(workspace, channel, told=False)


def join(workspace: Workspace, arguments: Json) -> Json:
    """conversations.join: the bot enters a public channel."""
    channel = _channel(workspace, arguments)
    if channel.archived:
        raise RefusedError("is_archived")
    known = channel.has(BOT_USER)
    workspace.join(BOT_USER, channel.id)
    return _done(workspace, channel) | ({"warning": "already_in_channel"} if known else {})


def leave(workspace: Workspace, arguments: Json) -> Json:
    """conversations.leave: the bot goes out of a channel."""
    channel = _channel(workspace, arguments)
    if not channel.has(BOT_USER):
        return {"not_in_channel": True}
    workspace.join(BOT_USER, channel.id, leave=True)
    return {}


def invite(workspace: Workspace, arguments: Json) -> Json:
    """conversations.invite: people are put into a channel that the bot is in."""
    channel = _inside(workspace, arguments)
    ids = [one for one in str(arguments.get("users") or "").split(",") if one]
    if not ids:
        raise RefusedError("no_user")
    if BOT_USER in ids:
        raise RefusedError("cant_invite_self")
    for one in ids:
        if one not in workspace.people or workspace.people[one].deleted:
            raise RefusedError("user_not_found")
        if channel.has(one):
            raise RefusedError("already_in_channel")
    for one in ids:
        workspace.join(one, channel.id)
    return _done(workspace, channel)


def kick(workspace: Workspace, arguments: Json) -> Json:
    """conversations.kick: a person is put out of a channel."""
    channel = _inside(workspace, arguments)
    person = str(arguments.get("user") or "")
    if person == BOT_USER:
        raise RefusedError("cant_kick_self")
    if channel.name == "general":
        raise RefusedError("cant_kick_from_general")
    if not channel.has(person):
        raise RefusedError("not_in_channel")
    workspace.join(person, channel.id, leave=True)
    return {}


def set_topic(workspace: Workspace, arguments: Json) -> Json:
    """conversations.setTopic: what is written beside the channel's name."""
    channel = _inside(workspace, arguments)
    channel.topic = _line(arguments, "topic")
    return _done(workspace, channel)


def set_purpose(workspace: Workspace, arguments: Json) -> Json:
    """conversations.setPurpose: what the channel is for."""
    channel = _inside(workspace, arguments)
    channel.purpose = _line(arguments, "purpose")
    return _done(workspace, channel)


def _channel(workspace: Workspace, arguments: Json) -> Channel:
    channel = workspace.store.channel(str(arguments.get("channel")))
    if channel.private and not channel.has(BOT_USER):
        raise RefusedError("channel_not_found")
    return channel


def _inside(workspace: Workspace, arguments: Json) -> Channel:
    channel = _channel(workspace, arguments)
    if not channel.has(BOT_USER):
        raise RefusedError("not_in_channel")
    return channel


def _line(arguments: Json, name: str) -> str:
    line = str(arguments.get(name) or "")
    if len(line) > MOST_TOPIC:
        raise RefusedError("too_long")
    return line


def _done(workspace: Workspace, channel: Channel, *, told: bool = True) -> Json:
    workspace.journal.changed("channel", channel=channel.id)
    return {"channel": _described(channel)} if told else {}


def _type(channel: Channel) -> str:
    return "private_channel" if channel.private else "public_channel"


def _described(channel: Channel) -> Json:
    if channel.person:
        return {"id": channel.id, "is_im": True, "user": channel.person, "is_archived": False, "is_org_shared": False}
    return {
        "id": channel.id,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": not channel.private,
        "is_group": channel.private,
        "is_im": False,
        "is_mpim": False,
        "is_private": channel.private,
        "is_archived": channel.archived,
        "is_general": channel.name == "general",
        "is_member": channel.has(BOT_USER),
        "is_shared": channel.shared,
        "is_org_shared": False,
        "is_ext_shared": channel.shared,
        "is_ext_shared_channel": channel.shared,
        "is_pending_ext_shared": False,
        "context_team_id": TEAM,
        "creator": BOT_USER,
        "created": 1736899200,
        "topic": {"value": channel.topic, "creator": "", "last_set": 0},
        "purpose": {"value": channel.purpose, "creator": "", "last_set": 0},
    }
