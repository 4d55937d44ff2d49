"""A manifest, a card and a modal that Slack accepts."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
SCOPES = [
    "commands",
    "chat:write",
    "channels:read",
    "channels:history",
    "users:read",
    "usergroups:read",
    "pins:write",
    "pins:read",
    "im:write",
    "app_mentions:read",
    "reactions:read",
]
MANIFEST: Json = {
    "features": {
        "app_home": {"home_tab_enabled": True, "messages_tab_enabled": True},
        "slash_commands": [{"command": "/dr", "should_escape": True}],
        "shortcuts": [
            {"name": "Save as evidence", "type": "message", "callback_id": "save_evidence", "description": "Keep this message"},
            {"name": "Start a recovery", "type": "global", "callback_id": "start_recovery", "description": "Plan a recovery"},
        ],
    },
    "oauth_config": {"scopes": {"bot": SCOPES}},
    "settings": {
        "event_subscriptions": {
            "bot_events": [
                "app_home_opened",
                "app_mention",
                "message.channels",
                "reaction_added",
                "reaction_removed",
                "member_joined_channel",
            ]
        }
    },
}
CARD: list[Json] = [
    {"type": "header", "text": {"type": "plain_text", "text": "Database failover"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*Plan* to fail over"}},
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "dr_approve",
                "text": {"type": "plain_text", "text": "Approve"},
                "style": "primary",
                "value": "run:1:nonce",
            }
        ],
    },
]
MODAL: Json = {
    "type": "modal",
    "callback_id": "dr_confirm",
    "title": {"type": "plain_text", "text": "Approve the plan"},
    "submit": {"type": "plain_text", "text": "Approve"},
    "blocks": [
        {
            "type": "input",
            "block_id": "name",
            "label": {"type": "plain_text", "text": "Type the name of the database"},
            "element": {"type": "plain_text_input", "action_id": "typed"},
        }
    ],
}


def _option(value: str) -> Json:
    return {"text": {"type": "plain_text", "text": value.title()}, "value": value}


MENUS: Json = {
    "type": "actions",
    "block_id": "menus",
    "elements": [
        {"type": "checkboxes", "action_id": "ticks", "options": [_option("one"), _option("two")]},
        {"type": "static_select", "action_id": "pick", "options": [_option("red"), _option("blue")]},
        {"type": "datepicker", "action_id": "day", "initial_date": "2025-01-15"},
        {"type": "timepicker", "action_id": "time"},
        {"type": "datetimepicker", "action_id": "moment"},
        {"type": "multi_static_select", "action_id": "many", "options": [_option("a"), _option("b"), _option("c")]},
        {"type": "users_select", "action_id": "who", "initial_user": "U0ALICE"},
        {"type": "overflow", "action_id": "more", "options": [_option("copy")]},
    ],
}
