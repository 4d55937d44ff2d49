"""The payloads that Slack sends to an app, with all fields of the real ones."""

from __future__ import annotations

import copy
from typing import Any

from rehearsal.slack.members import APP, TEAM, TEAM_DOMAIN, Person
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
        "channel_name": "directmessage" if channel.person else channel.name,
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


def block_actions(person: Person, channel: Channel, message: Json, action: Json, *, trigger_id: str, response_url: str) -> Json:
    """The payload of a click on an element of a message; an ephemeral message itself is not sent along."""
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
        "channel": {"id": channel.id, "name": "directmessage" if channel.person else channel.name},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [action],
    }
    return payload if ephemeral else payload | {"message": api_message(message, channel)}


def view_actions(person: Person, view: Json, action: Json, *, trigger_id: str) -> Json:
    """The payload of a choice in a modal: there is no channel, no message and no response_url, but the view as it stands."""
    return {
        "type": "block_actions",
        **_who(person),
        "container": {"type": "view", "view_id": view["id"]},
        "trigger_id": trigger_id,
        "view": copy.deepcopy(view),
        "actions": [action],
    }


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
            {"enterprise_id": None, "team_id": TEAM, "user_id": "U0DRBOT", "is_bot": True, "is_enterprise_install": False}
        ],
        "is_ext_shared_channel": False,
    }
