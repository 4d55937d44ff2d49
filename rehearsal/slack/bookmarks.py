"""Web API methods about the links at the top of a channel: bookmarks.*."""

from __future__ import annotations

import itertools
import time
from typing import Any

from rehearsal.slack.checking import WEB
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import APP, BOT_USER
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
MOST = 100
IDS = itertools.count(1)


def add(workspace: Workspace, arguments: Json) -> Json:
    """bookmarks.add: a link at the top of a channel."""
    channel = str(arguments.get("channel_id") or "")
    kept = _of(workspace, channel)
    title, link = str(arguments.get("title") or ""), str(arguments.get("link") or "")
    if not title:
        raise RefusedError("missing_title")
    if arguments.get("type") != "link":
        raise RefusedError("invalid_bookmark_type")
    if not WEB.fullmatch(link):
        raise RefusedError("invalid_link")
    if len(kept) >= MOST:
        raise RefusedError("too_many_bookmarks")
    made = {
        "id": f"Bk{next(IDS):08d}",
        "channel_id": channel,
        "title": title,
        "link": link,
        "emoji": arguments.get("emoji"),
        "type": "link",
        "date_created": int(time.time()),
        "date_updated": 0,
        "last_updated_by_user_id": BOT_USER,
        "app_id": APP,
    }
    kept.append(made)
    workspace.journal.changed("channel", channel=channel)
    return {"bookmark": made}


def listed(workspace: Workspace, arguments: Json) -> Json:
    """bookmarks.list: the bookmarks of a channel."""
    return {"bookmarks": list(_of(workspace, str(arguments.get("channel_id") or "")))}


def remove(workspace: Workspace, arguments: Json) -> Json:
    """bookmarks.remove: take a bookmark away."""
    kept = _of(workspace, str(arguments.get("channel_id") or ""))
    kept.remove(_found(kept, arguments))
    return {}


def edit(workspace: Workspace, arguments: Json) -> Json:
    """bookmarks.edit: another title or link."""
    bookmark = _found(_of(workspace, str(arguments.get("channel_id") or "")), arguments)
    bookmark |= {name: arguments[name] for name in ("title", "link", "emoji") if arguments.get(name)}
    bookmark["date_updated"] = int(time.time())
    return {"bookmark": bookmark}


def _of(workspace: Workspace, channel_id: str) -> list[Json]:
    channel = workspace.store.channel(channel_id)
    if not channel.has(BOT_USER):
        raise RefusedError("not_in_channel")
    return channel.bookmarks


def _found(kept: list[Json], arguments: Json) -> Json:
    for bookmark in kept:
        if bookmark["id"] == arguments.get("bookmark_id"):
            return bookmark
    raise RefusedError("not_found")
