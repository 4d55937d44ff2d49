"""What the page shows of the workspace, to one person: channels, messages, forms and the app's home."""

from __future__ import annotations

from typing import Any

from rehearsal.slack.manifest import features, home_tab
from rehearsal.slack.store import Channel, api_message
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]


def state(workspace: Workspace, person: str | None = None) -> Json:
    """Everything the page shows; ephemerals, views, home and direct messages only for the given person."""
    who = workspace.person(person).id if person else None
    channels = [c for c in workspace.store.channels.values() if (c.person is None if who is None else c.has(who))]
    return {
        "people": [p.profile() | {"title": p.title} for p in workspace.people.values()],
        "channels": [_channel(c) for c in channels],
        "commands": workspace.commands(),
        "command_hints": features(workspace.manifest, "slash_commands"),
        "shortcuts": features(workspace.manifest, "shortcuts"),
        "connected": len(workspace.sockets.open),
        "away": workspace.faults.away,
        "messages": {c.id: [_with_replies(c, m) for m in workspace.messages(c.id)] for c in channels},
        "ephemerals": workspace.ephemerals(who) if who else [],
        "views": workspace.views(who) if who else [],
        "home": workspace.modals.homes.get(who) if who else None,
        "home_tab": home_tab(workspace.manifest),
        "selections": workspace.selections.of(who) if who else {},
    }


def _channel(channel: Channel) -> Json:
    described = {"id": channel.id, "name": channel.name, "members": sorted(channel.members), "topic": channel.topic}
    return described | {"person": channel.person, "private": channel.private, "archived": channel.archived}


def _with_replies(channel: Channel, message: Json) -> Json:
    replies = [m for m in channel.thread(message["ts"]) if m is not message]
    return api_message(message, channel) | {
        "pinned": message["pinned"],
        "replies": [api_message(r, channel) for r in replies],
    }
