"""Web API methods that only read: messages, users.*, usergroups.*."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from rehearsal.slack.chat import truth
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import BOT_USER, GROUPS, TEAM
from rehearsal.slack.store import Channel, api_message, is_outside
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
MOST_MESSAGES = 999


def limit_of(arguments: Json, default: int) -> int:
    try:
        limit = int(arguments.get("limit") or default)
    except ValueError as error:
        raise RefusedError("invalid_limit") from error
    if not 1 <= limit <= MOST_MESSAGES:
        raise RefusedError("invalid_limit")
    return limit


def paged(items: list[Json], arguments: Json, default: int) -> tuple[list[Json], str]:
    """One page of a listing, and the cursor of the next ("" at the end)."""
    limit, begin = limit_of(arguments, default), 0
    if arguments.get("cursor"):
        try:
            begin = int(base64.b64decode(str(arguments["cursor"])).decode().removeprefix("next:"))
        except (ValueError, binascii.Error) as error:
            raise RefusedError("invalid_cursor") from error
    more = begin + limit < len(items)
    cursor = base64.b64encode(f"next:{begin + limit}".encode()).decode() if more else ""
    return items[begin : begin + limit], cursor


def _between(message: Json, arguments: Json) -> bool:
    """Whether the message lies between `oldest` and `latest`; the bounds belong to it if `inclusive`."""
    ts, inclusive = _moment(message["ts"]), truth(arguments.get("inclusive"))
    oldest, latest = _moment(arguments.get("oldest")), _moment(arguments.get("latest"))
    if oldest and (ts < oldest or (ts == oldest and not inclusive)):
        return False
    return not (latest and (ts > latest or (ts == latest and not inclusive)))


def _moment(ts: Any) -> int:
    whole, _, part = str(ts or 0).partition(".")
    try:
        return int(whole) * 1_000_000 + int((part + "000000")[:6])
    except ValueError as error:
        raise RefusedError("invalid_ts_latest") from error


def _listing(channel: Channel, messages: list[Json], arguments: Json, default: int) -> Json:
    page, cursor = paged([m for m in messages if _between(m, arguments)], arguments, default)
    metadata = truth(arguments.get("include_all_metadata"))
    return {
        "messages": [api_message(message, channel, metadata=metadata) for message in page],
        "has_more": bool(cursor),
        "response_metadata": {"next_cursor": cursor},
    }


def _readable(workspace: Workspace, arguments: Json) -> Channel:
    """The channel of a call, in which the bot must be."""
    channel = workspace.store.channel(str(arguments.get("channel")))
    if workspace.strict and not channel.has(BOT_USER):
        raise RefusedError("not_in_channel")
    return channel


def history(workspace: Workspace, arguments: Json) -> Json:
    """conversations.history: newest first, without the replies in threads that are not broadcast."""
    channel = _readable(workspace, arguments)
    outside = [m for m in reversed(channel.messages) if is_outside(m)]
    answer = _listing(channel, outside, arguments, 100)
    return answer | {"pin_count": len(list(workspace.store.pins(channel)))}


def replies(workspace: Workspace, arguments: Json) -> Json:
    """conversations.replies: the parent and its replies, oldest first."""
    channel = _readable(workspace, arguments)
    thread = channel.thread(str(arguments.get("ts")))
    if not thread or thread[0]["ts"] != str(arguments.get("ts")):
        raise RefusedError("thread_not_found")
    return _listing(channel, thread, arguments, 100)


def user(workspace: Workspace, arguments: Json) -> Json:
    """users.info: one person."""
    person = workspace.people.get(str(arguments.get("user")))
    if person is None:
        raise RefusedError("user_not_found")
    return {"user": person.profile()}


def users(workspace: Workspace, arguments: Json) -> Json:
    """users.list: every person, the bot too."""
    page, cursor = paged([p.profile() for p in workspace.people.values()], arguments, 200)
    return {"members": page, "response_metadata": {"next_cursor": cursor}}


def _group_members(workspace: Workspace, group: str, *, disabled: bool = False) -> list[str]:
    return [p.id for p in workspace.people.values() if group in p.groups and (disabled or not p.deleted)]


def lookup_by_email(workspace: Workspace, arguments: Json) -> Json:
    """users.lookupByEmail: the person with this address."""
    for person in workspace.people.values():
        if person.email and person.email == str(arguments.get("email") or "") and not person.deleted:
            return {"user": person.profile()}
    raise RefusedError("users_not_found")


def presence(workspace: Workspace, arguments: Json) -> Json:
    """users.getPresence: whether somebody is there."""
    person = workspace.people.get(str(arguments.get("user")))
    if person is None:
        raise RefusedError("user_not_found")
    return {"presence": "away" if person.deleted else "active"}


def groups(workspace: Workspace, arguments: Json) -> Json:
    """usergroups.list: the user groups."""
    listed = [
        {
            "id": group,
            "team_id": TEAM,
            "is_usergroup": True,
            "handle": handle,
            "name": handle,
            "user_count": len(_group_members(workspace, group)),
        }
        for group, handle in GROUPS.items()
    ]
    return {"usergroups": listed}


def group_members(workspace: Workspace, arguments: Json) -> Json:
    """usergroups.users.list: the ids of those in a user group."""
    group = str(arguments.get("usergroup") or "")
    if group not in GROUPS:
        raise RefusedError("no_such_subteam")
    return {"users": _group_members(workspace, group, disabled=truth(arguments.get("include_disabled")))}
