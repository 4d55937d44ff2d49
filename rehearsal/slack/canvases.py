"""Web API methods about canvases: documents of their own, which a channel may be let read."""

from __future__ import annotations

import itertools
from typing import Any

from rehearsal.slack.errors import RefusedError
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
IDS = itertools.count(1)
MOST_CHARACTERS = 1024**2
LEVELS = ("read", "write", "owner")


def create(workspace: Workspace, arguments: Json) -> Json:
    """canvases.create: a document; its content, if given, is Markdown."""
    content = arguments.get("document_content")
    if content is not None and (not isinstance(content, dict) or content.get("type") != "markdown"):
        raise RefusedError("invalid_arguments")
    text = str((content or {}).get("markdown") or "")
    if len(text) > MOST_CHARACTERS:
        raise RefusedError("canvas_creation_failed")
    canvas_id = f"F0CANVAS{next(IDS):04d}"
    workspace.store.canvases[canvas_id] = {"title": str(arguments.get("title") or "Untitled"), "text": text, "access": {}}
    return {"canvas_id": canvas_id}


def set_access(workspace: Workspace, arguments: Json) -> Json:
    """canvases.access.set: who may read or edit a document, by channels or by users."""
    canvas = workspace.store.canvases.get(str(arguments.get("canvas_id") or ""))
    if canvas is None:
        raise RefusedError("canvas_not_found")
    channels, users = (_listed(arguments.get(name)) for name in ("channel_ids", "user_ids"))
    if arguments.get("access_level") not in LEVELS or bool(channels) == bool(users):
        raise RefusedError("invalid_arguments")
    for channel in channels:
        workspace.store.channel(channel)
    canvas["access"] |= {one: str(arguments["access_level"]) for one in channels or users}
    return {}


def _listed(given: Any) -> list[str]:
    return [one for one in given.split(",") if one] if isinstance(given, str) else list(given or [])
