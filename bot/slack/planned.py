"""Commands that are not typed: a button or a form that asks for a plan is the command in it, as if the person had typed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.slack.payloads import ID, Malformed, id_of, item, maybe
from bot.slack.pick_form import CALLBACK, picked
from bot.state.store import Item
from commands.scenario import BadCommand, parse

PLAN = "dr_plan"  # a button that asks for the plan, or the report, of the command in its value


def placed(body: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    """A click in the app's home as one in the incident channel: that is where its answer goes."""
    return body if body.get("channel") or maybe(body, "view", "type") != "home" else {**body, "channel": {"id": channel}}


def read_planned(body: Mapping[str, Any]) -> Item | None:
    """The command behind a submitted form in which a plan is picked; None if it is another form. Raises `Malformed`."""
    view = body.get("view")
    if not isinstance(view, dict) or view.get("callback_id") != CALLBACK:
        return None
    try:
        words = picked(view)
        parse(words)
    except ValueError as error:
        raise Malformed(str(error)) from error
    trigger = maybe(body, "trigger_id")
    payload = {"text": words, "trigger_id": trigger if ID.fullmatch(trigger) else ""}
    person, channel = id_of(body.get("user") or {}, "id", "user"), id_of(view, "private_metadata", "view")
    return item(f"submit/{id_of(view, 'id', 'view')}", "command", person, channel, payload)


def planned(body: Mapping[str, Any], person: str, channel: str, button: Mapping[str, Any]) -> Item:
    """The command behind a button that asks for a plan. Raises `Malformed`."""
    prefix, _, words = str(button.get("value") or "").partition(":")
    try:
        request = parse(words)
    except BadCommand as error:
        raise Malformed(f"I don't recognise this button: {error}") from error
    if prefix != "plan" or (request.scenario is None and request.report is None):
        raise Malformed("I don't recognise this button.")
    moment, trigger = id_of(button, "action_ts", "actions[0]"), maybe(body, "trigger_id")
    payload = {"text": words, "trigger_id": trigger if ID.fullmatch(trigger) else ""}
    return item(f"click/{moment}/{person}/{PLAN}", "command", person, channel, payload)
