"""manifest.yml is one that Slack takes, and asks for the rights that the bot uses and for no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.check import SCOPES
from bot.slack.canvas import SCOPE as CANVASES
from bot.slack.evidence import SHORTCUT
from rehearsal.slack.calls import METHODS

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"(?:slack|client)\.([a-z]+_[a-z_A-Z]+)\(")
PRIVATE = {"channels:read": "groups:read", "channels:history": "groups:history"}  # the incident channel may be private


@pytest.fixture
def manifest() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "manifest.yml").read_text()))


def methods() -> set[str]:
    """The methods of Slack's Web API that the bot's source calls."""
    source = "\n".join(path.read_text() for path in (ROOT / "bot").rglob("*.py"))
    return {name.replace("_", ".") for name in CALL.findall(source)} & METHODS.keys()


def test_the_methods_the_bot_calls_are_found_in_its_source() -> None:
    assert {"chat.postMessage", "chat.update", "conversations.history", "users.info", "views.open", "pins.add"} <= methods()


def test_every_method_slack_is_asked_for_is_one_that_slack_has() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "bot").rglob("*.py"))
    called = {name.replace("_", ".") for name in CALL.findall(source)}
    assert called <= METHODS.keys()


def test_names_and_descriptions_are_within_slacks_lengths(manifest: dict[str, Any]) -> None:
    shown = manifest["display_information"]
    assert 0 < len(shown["name"]) <= 35
    assert 0 < len(shown["description"]) <= 140
    assert 175 <= len(shown["long_description"]) <= 4000
    assert re.fullmatch(r"#[0-9a-fA-F]{6}", shown["background_color"])
    assert re.fullmatch(r"[a-z0-9-_.]{1,80}", manifest["features"]["bot_user"]["display_name"])


def test_the_one_command_is_well_formed(manifest: dict[str, Any]) -> None:
    (command,) = manifest["features"]["slash_commands"]
    assert command["command"] == "/dr"
    assert len(command["command"]) <= 32
    assert 0 < len(command["description"]) <= 2000
    assert len(command["usage_hint"]) <= 1000
    assert "url" not in command  # Socket Mode takes none


def test_the_one_shortcut_is_well_formed_and_one_that_the_bot_knows(manifest: dict[str, Any]) -> None:
    (shortcut,) = manifest["features"]["shortcuts"]
    assert shortcut["type"] == "message"
    assert shortcut["callback_id"] == SHORTCUT
    assert 0 < len(shortcut["name"]) <= 24
    assert 0 < len(shortcut["description"]) <= 150


def test_the_scopes_are_those_that_the_bot_uses(manifest: dict[str, Any]) -> None:
    requested, optional = (manifest["oauth_config"]["scopes"][name] for name in ("bot", "bot_optional"))
    needed = {"commands", *(scope for name in methods() if (scope := METHODS[name].scope))}
    needed |= {private for public, private in PRIVATE.items() if public in needed}
    assert optional == [CANVASES]
    assert len(set(requested)) == len(requested)
    assert set(requested) == needed - set(optional)
    assert set(requested) >= SCOPES


def test_socket_mode_and_interactivity_are_on_and_only_the_home_is_an_event(manifest: dict[str, Any]) -> None:
    settings = manifest["settings"]
    assert settings["socket_mode_enabled"] is True
    assert settings["interactivity"]["is_enabled"] is True
    assert settings["event_subscriptions"] == {"bot_events": ["app_home_opened"]}


def test_there_are_no_keys_that_slack_does_not_know(manifest: dict[str, Any]) -> None:
    assert manifest.keys() <= {"_metadata", "display_information", "features", "oauth_config", "settings"}
    assert manifest["_metadata"] == {"major_version": 1, "minor_version": 1}
    known = {"name", "description", "background_color", "long_description"}
    assert manifest["display_information"].keys() <= known
