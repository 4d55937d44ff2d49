"""Web API methods about views and blocks: views.* and blocks.validate."""

from __future__ import annotations

import copy
from typing import Any

from rehearsal.slack.blocks import problems, too_long, view_problems
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.manifest import home_tab
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]


def _open(workspace: Workspace, arguments: Json, *, push: bool) -> Json:
    view = workspace.modals.check(arguments.get("view"), "modal")
    person = workspace.modals.exchange(str(arguments.get("trigger_id") or ""), push=push)
    opened = workspace.modals.open(person, view, push=push)
    workspace.journal.changed("view", person=person)
    return {"view": copy.deepcopy(opened)}


def views_open(workspace: Workspace, arguments: Json) -> Json:
    """views.open: a modal for the person of the trigger."""
    return _open(workspace, arguments, push=False)


def views_push(workspace: Workspace, arguments: Json) -> Json:
    """views.push: a modal on top of those the person has open."""
    return _open(workspace, arguments, push=True)


def views_update(workspace: Workspace, arguments: Json) -> Json:
    """views.update: new contents for an open modal; hash_conflict if it changed meanwhile."""
    named = {name: str(arguments.get(name) or "") for name in ("view_id", "external_id")}
    if not any(named.values()):
        raise RefusedError("not_found")
    view = workspace.modals.find(**named)
    given = workspace.modals.check(arguments.get("view"), view["type"])
    if arguments.get("hash") not in (None, "", view["hash"]):
        raise RefusedError("hash_conflict")
    workspace.modals.update(view, given)
    workspace.journal.changed("view")
    return {"view": copy.deepcopy(view)}


def views_publish(workspace: Workspace, arguments: Json) -> Json:
    """views.publish: the app's home for one person; hash_conflict if it's not the one whose hash was given."""
    if workspace.strict and not home_tab(workspace.manifest):
        raise RefusedError("not_enabled")
    person = str(arguments.get("user_id") or "")
    if person not in workspace.people:
        raise RefusedError("user_not_found")
    given = workspace.modals.check(arguments.get("view"), "home")
    published = workspace.modals.publish(person, given, str(arguments.get("hash") or ""))
    workspace.journal.changed("home", person=person)
    return {"view": copy.deepcopy(published)}


def blocks_validate(workspace: Workspace, arguments: Json) -> Json:
    """blocks.validate: would Slack accept these blocks, this message or this view? Needs no token."""
    message = arguments.get("message")
    blocks = message.get("blocks") if isinstance(message, dict) else arguments.get("blocks")
    if arguments.get("view"):
        complaints = view_problems(arguments["view"])
    elif blocks is None:
        raise RefusedError("invalid_arguments")
    else:
        complaints = problems(blocks)
        if not complaints and too_long(blocks):
            raise RefusedError("msg_blocks_too_long")
    if complaints:
        raise RefusedError("invalid_blocks", errors=complaints, response_metadata={"messages": complaints})
    return {}
