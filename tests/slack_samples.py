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
]
MANIFEST: Json = {
    "features": {"slash_commands": [{"command": "/dr", "should_escape": True}]},
    "oauth_config": {"scopes": {"bot": SCOPES}},
    "settings": {"event_subscriptions": {"bot_events": ["app_home_opened"]}},
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
