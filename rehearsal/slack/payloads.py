"""The payloads that Slack sends to an app, with all fields of the real ones."""

from __future__ import annotations

import copy
from typing import Any

from rehearsal.slack.members import APP, BOT_USER, TEAM, TEAM_DOMAIN, Person
from rehearsal.slack.store import Channel, api_message

Json = dict[str, Any]
VERIFICATION = "rehearsal-verification"  # the deprecated field `token`, which Slack still sends.


def slash_command(person: Person, channel: Channel, command: str, text: str, *, trigger_id: str, response_url: str) -> Json:
    """The payload of a `slash_commands` envelope."""
    return {
        "token": VERIFICATION,
        "team_id": TEAM,
        "team_domain": TEAM_DOMAIN,
        "channel_id": channel.id,
        "channel_name": _channel(channel)["name"],
        "user_id": person.id,
        "user_name": person.name,
        "command": command,
        "text": text,
        "api_app_id": APP,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }


def _who(person: Person) -> Json:
    return {
        "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": TEAM},
        "api_app_id": APP,
        "token": VERIFICATION,
        "team": {"id": TEAM, "domain": TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _channel(channel: Channel) -> Json:
    return {"id": channel.id, "name": "directmessage" if channel.person else channel.name}


def block_actions(
    person: Person,
    channel: Channel,
    message: Json,
    action: Json,
    *,
    trigger_id: str,
    response_url: str,
    state: Json | None = None,
) -> Json:
    """The payload of a click on an element of a message; an ephemeral message itself is not sent along.

    `state` are the state values of the message's inputs and menus as this person sees them.
    """
    ephemeral = bool(message.get("is_ephemeral"))
    container: Json = {
        "type": "message",
        "message_ts": message["ts"],
        "channel_id": channel.id,
        "is_ephemeral": ephemeral,
    }
    if "thread_ts" in message:
        container["thread_ts"] = message["thread_ts"]
    payload: Json = {
        "type": "block_actions",
        **_who(person),
        "container": container,
        "trigger_id": trigger_id,
        "channel": _channel(channel),
        "state": {"values": state or {}},
        "response_url": response_url,
        "actions": [action],
    }
    return payload if ephemeral else payload | {"message": api_message(message, channel)}


def view_actions(person: Person, view: Json, action: Json, *, trigger_id: str) -> Json:
    """The payload of a click in a modal or in the home: no channel, message or response URL, but the view as it stands."""
    return {
        "type": "block_actions",
        **_who(person),
        "container": {"type": "view", "view_id": view["id"]},
        "trigger_id": trigger_id,
        "view": copy.deepcopy(view),
        "actions": [action],
    }


def message_shortcut(
    person: Person, channel: Channel, message: Json, callback_id: str, *, trigger_id: str, response_url: str, action_ts: str
) -> Json:
    """The payload of a shortcut from a message's menu."""
    return {
        "type": "message_action",
        "callback_id": callback_id,
        **_without(_who(person), "api_app_id"),
        "trigger_id": trigger_id,
        "response_url": response_url,
        "action_ts": action_ts,
        "message_ts": message["ts"],
        "channel": _channel(channel),
        "message": api_message(message, channel),
    }


def global_shortcut(person: Person, callback_id: str, *, trigger_id: str, action_ts: str) -> Json:
    """The payload of a shortcut from the menu beside the message field."""
    who = _without(_who(person), "api_app_id")
    who["user"] = _without(who["user"], "name")
    return {"type": "shortcut", "callback_id": callback_id, **who, "trigger_id": trigger_id, "action_ts": action_ts}


def _without(payload: Json, name: str) -> Json:
    """Slack leaves a few fields out of some payloads."""
    return {key: value for key, value in payload.items() if key != name}


def view_submission(person: Person, view: Json, values: Json, *, trigger_id: str) -> Json:
    """The payload of a modal that was submitted with these state values."""
    submitted = copy.deepcopy(view) | {"state": {"values": values}}
    return {
        "type": "view_submission",
        **_who(person),
        "trigger_id": trigger_id,
        "view": submitted,
        "response_urls": [],
    }


def view_closed(person: Person, view: Json) -> Json:
    """The payload of a modal that a person closed, sent if the view asked for it."""
    return {"type": "view_closed", **_who(person), "view": copy.deepcopy(view), "is_cleared": False}


def event(name: str, body: Json, *, event_id: str, now: int) -> Json:
    """The payload of an `events_api` envelope."""
    return {
        "token": VERIFICATION,
        "team_id": TEAM,
        "api_app_id": APP,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": now,
        "event": {"type": name, **body},
        "authorizations": [
            {"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True, "is_enterprise_install": False}
        ],
        "is_ext_shared_channel": False,
    }
