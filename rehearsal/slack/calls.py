"""The Web API: every method with the scopes it needs, and how a call is authorised and answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rehearsal.slack import bookmarks, canvases, chat, conversations, reading, uploads, viewing
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.journal import summary
from rehearsal.slack.members import APP, BOT, BOT_USER, TEAM
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of the Web API; `token` is which token it takes: bot, app or none."""

    run: Callable[[Workspace, Json], Json]
    scope: str | None = None
    token: str = "bot"


def _auth_test(workspace: Workspace, arguments: Json) -> Json:
    return {
        "url": f"{arguments['base']}/",
        "team": "Shielda (rehearsal)",
        "user": "dr",
        "team_id": TEAM,
        "user_id": BOT_USER,
        "bot_id": BOT,
        "is_enterprise_install": False,
    }


def _api_test(workspace: Workspace, arguments: Json) -> Json:
    if "error" in arguments:
        raise RefusedError(str(arguments["error"]))
    return {"args": {name: value for name, value in arguments.items() if name not in ("token", "base")}}


def _connections_open(workspace: Workspace, arguments: Json) -> Json:
    return {"url": workspace.sockets.ticket(arguments["base"])}


METHODS: dict[str, Method] = {
    "api.test": Method(run=_api_test, token="none"),
    "auth.test": Method(run=_auth_test),
    "apps.connections.open": Method(run=_connections_open, token="app"),
    "blocks.validate": Method(run=viewing.blocks_validate, token="none"),
    "chat.postMessage": Method(run=chat.post_message, scope="chat:write"),
    "chat.update": Method(run=chat.update, scope="chat:write"),
    "chat.delete": Method(run=chat.delete, scope="chat:write"),
    "chat.postEphemeral": Method(run=chat.post_ephemeral, scope="chat:write"),
    "files.getUploadURLExternal": Method(run=uploads.get_upload_url, scope="files:write"),
    "files.completeUploadExternal": Method(run=uploads.complete_upload, scope="files:write"),
    "pins.add": Method(run=chat.pins_add, scope="pins:write"),
    "pins.remove": Method(run=chat.pins_remove, scope="pins:write"),
    "pins.list": Method(run=chat.pins_list, scope="pins:read"),
    "reactions.add": Method(run=chat.reactions_add, scope="reactions:write"),
    "reactions.remove": Method(run=chat.reactions_remove, scope="reactions:write"),
    "reactions.get": Method(run=chat.reactions_get, scope="reactions:read"),
    "chat.getPermalink": Method(run=chat.permalink),
    "conversations.history": Method(run=reading.history, scope="channels:history"),
    "conversations.replies": Method(run=reading.replies, scope="channels:history"),
    "conversations.info": Method(run=conversations.info, scope="channels:read"),
    "conversations.list": Method(run=conversations.channels, scope="channels:read"),
    "conversations.members": Method(run=conversations.members, scope="channels:read"),
    "conversations.open": Method(run=conversations.open_direct, scope="im:write"),
    "conversations.create": Method(run=conversations.create, scope="channels:manage"),
    "conversations.archive": Method(run=conversations.archive, scope="channels:manage"),
    "conversations.unarchive": Method(run=conversations.unarchive, scope="channels:manage"),
    "conversations.join": Method(run=conversations.join, scope="channels:join"),
    "conversations.leave": Method(run=conversations.leave, scope="channels:manage"),
    "conversations.invite": Method(run=conversations.invite, scope="channels:manage"),
    "conversations.kick": Method(run=conversations.kick, scope="channels:manage"),
    "conversations.setTopic": Method(run=conversations.set_topic, scope="channels:manage"),
    "conversations.setPurpose": Method(run=conversations.set_purpose, scope="channels:manage"),
    "bookmarks.add": Method(run=bookmarks.add, scope="bookmarks:write"),
    "bookmarks.list": Method(run=bookmarks.listed, scope="bookmarks:read"),
    "bookmarks.edit": Method(run=bookmarks.edit, scope="bookmarks:write"),
    "bookmarks.remove": Method(run=bookmarks.remove, scope="bookmarks:write"),
    "canvases.create": Method(run=canvases.create, scope="canvases:write"),
    "canvases.access.set": Method(run=canvases.set_access, scope="canvases:write"),
    "users.info": Method(run=reading.user, scope="users:read"),
    "users.list": Method(run=reading.users, scope="users:read"),
    "users.getPresence": Method(run=reading.presence, scope="users:read"),
    "users.lookupByEmail": Method(run=reading.lookup_by_email, scope="users:read.email"),
    "users.conversations": Method(run=conversations.of_bot, scope="channels:read"),
    "usergroups.list": Method(run=reading.groups, scope="usergroups:read"),
    "usergroups.users.list": Method(run=reading.group_members, scope="usergroups:read"),
    "views.open": Method(run=viewing.views_open),
    "views.push": Method(run=viewing.views_push),
    "views.update": Method(run=viewing.views_update),
    "views.publish": Method(run=viewing.views_publish),
}


def authorise(workspace: Workspace, method: Method, token: str) -> None:
    """Refuse a call whose token is missing, wrong, of the wrong kind, or without the scope."""
    if method.token == "none":
        return
    if not token:
        raise RefusedError("not_authed")
    if token not in (workspace.bot_token, workspace.app_token):
        raise RefusedError("invalid_auth")
    if token != (workspace.bot_token if method.token == "bot" else workspace.app_token):
        raise RefusedError("not_allowed_token_type")
    if workspace.strict and method.scope and method.scope not in workspace.scopes():
        raise RefusedError("missing_scope", needed=method.scope, provided=",".join(workspace.scopes()))


def answer(workspace: Workspace, name: str, arguments: Json, token: str) -> tuple[Json, RefusedError | None]:
    """Carry out one call: the JSON body, and the refusal if it was one; the journal tells of both."""
    began = time.monotonic()
    refusal: RefusedError | None = None
    try:
        channel = str(arguments.get("channel") or "")
        workspace.faults.limit(name, channel)
        workspace.limits.take(name, channel)
        if name not in METHODS:
            raise RefusedError("unknown_method", req_method=name)
        authorise(workspace, METHODS[name], token)
        body = {"ok": True, **METHODS[name].run(workspace, arguments)}
    except RefusedError as error:
        refusal, body = error, error.answer()
    workspace.journal.note(
        "call",
        method=name,
        args=summary(arguments),
        ok=refusal is None,
        error=refusal.error if refusal else None,
        app=APP,
        ms=round((time.monotonic() - began) * 1000, 3),
    )
    return body, refusal
