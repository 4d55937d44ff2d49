"""What the app's manifest turns on: commands, shortcuts, the home tab, scopes and events."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def features(manifest: Json, name: str) -> list[Json]:
    """The slash_commands or shortcuts."""
    return list((manifest.get("features") or {}).get(name) or [])


def home_tab(manifest: Json) -> bool:
    """Whether the app's home is on."""
    home = (manifest.get("features") or {}).get("app_home") or {}
    return bool(home.get("home_tab_enabled"))


def scopes(manifest: Json) -> list[str]:
    """The bot scopes; the optional ones, too, as of a workspace that granted them."""
    asked = (manifest.get("oauth_config") or {}).get("scopes") or {}
    return [*(asked.get("bot") or []), *(asked.get("bot_optional") or [])]


def events(manifest: Json) -> list[str]:
    """The events that the bot subscribes to."""
    return list(((manifest.get("settings") or {}).get("event_subscriptions") or {}).get("bot_events") or [])
