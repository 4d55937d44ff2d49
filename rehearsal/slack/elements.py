"""The interactive elements and text objects in blocks, and the checker that collects what's wrong with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any
from zoneinfo import available_timezones

Json = dict[str, Any]
TEXT_KEYS = {"plain_text": "type text emoji", "mrkdwn": "type text verbatim"}
STYLES = frozenset({"primary", "danger"})


class Checker:
    """Collects complaints in Slack's form: `[ERROR] must be … [json-pointer:/blocks/0/text]`."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def say(self, at: str, what: str) -> None:
        """Add a complaint about the value at this JSON pointer."""
        self.complaints.append(f"[ERROR] {what} [json-pointer:{at}]")

    def need(self, value: Json, name: str, at: str) -> None:
        """The field must exist and not be empty."""
        if value.get(name) in (None, ""):
            self.say(at, f"missing required field: {name}")

    def only(self, value: Json, names: str, at: str) -> None:
        """There may be no other fields than these (names separated by spaces)."""
        for name in value.keys() - set(names.split()):
            self.say(at, f"invalid additional property: {name}")

    def short(self, value: Json, name: str, most: int, at: str) -> None:
        """The field, if it exists, must be a string of at most this length."""
        given = value.get(name)
        if given is None:
            return
        if not isinstance(given, str):
            self.say(f"{at}/{name}", "must be a string")
        elif len(given) > most:
            self.say(f"{at}/{name}", f"must be less than {most + 1} characters")

    def one_of(self, value: Json, name: str, allowed: Collection[str], at: str) -> None:
        """The field, if it exists, must be one of these."""
        if name in value and value[name] not in allowed:
            self.say(f"{at}/{name}", f"must be one of: {', '.join(sorted(allowed))}")

    def items(self, value: Json, name: str, most: int, at: str) -> list[Any]:
        """The list in this field, which must have between one and `most` items; empty if it isn't a list."""
        given = value.get(name)
        if not isinstance(given, list):
            self.say(at, f"missing required field: {name}")
            return []
        if not given:
            self.say(f"{at}/{name}", "no fewer than 1 items allowed")
        elif len(given) > most:
            self.say(f"{at}/{name}", f"no more than {most} items allowed")
        return given

    def text(self, value: Any, at: str, most: int, *, kinds: str = "plain_text mrkdwn") -> None:
        """The value must be a text object of one of these kinds, not empty and not longer than `most`."""
        if not isinstance(value, dict):
            self.say(at, "missing required field: text object")
            return
        if value.get("type") not in kinds.split():
            self.say(f"{at}/type", f"must be one of: {', '.join(kinds.split())}")
            return
        self.only(value, TEXT_KEYS[value["type"]], at)
        if not value.get("text"):
            self.say(f"{at}/text", "must be more than 0 characters")
        self.short(value, "text", most, at)

    def element(self, value: Any, allowed: Collection[str], at: str) -> None:
        """The value must be a valid element of one of the allowed types."""
        kind = value.get("type") if isinstance(value, dict) else None
        if kind is None or kind not in allowed:
            self.say(f"{at}/type", f"unsupported type: {kind}")
            return
        keys, rule = ELEMENTS[kind]
        self.only(value, f"type {keys}", at)
        self.short(value, "action_id", 255, at)
        if "confirm" in value:
            _confirm(self, value["confirm"], f"{at}/confirm")
        if "placeholder" in value:
            self.text(value["placeholder"], f"{at}/placeholder", 150, kinds="plain_text")
        rule(self, value, at)


def _confirm(check: Checker, value: Any, at: str) -> None:
    if not isinstance(value, dict):
        check.say(at, "must be an object")
        return
    check.only(value, "title text confirm deny style", at)
    check.text(value.get("title"), f"{at}/title", 100, kinds="plain_text")
    check.text(value.get("text"), f"{at}/text", 300)
    for name in ("confirm", "deny"):
        check.text(value.get(name), f"{at}/{name}", 30, kinds="plain_text")
    check.one_of(value, "style", STYLES, at)


def _button(check: Checker, value: Json, at: str) -> None:
    check.text(value.get("text"), f"{at}/text", 75, kinds="plain_text")
    check.short(value, "value", 2000, at)
    check.short(value, "url", 3000, at)
    check.short(value, "accessibility_label", 75, at)
    check.one_of(value, "style", STYLES, at)


def _option(check: Checker, value: Any, at: str) -> None:
    if not isinstance(value, dict):
        check.say(at, "must be an object")
        return
    check.only(value, "text value description url", at)
    check.text(value.get("text"), f"{at}/text", 75)
    check.need(value, "value", at)
    check.short(value, "value", 150, at)
    if "description" in value:
        check.text(value["description"], f"{at}/description", 75)


def _options(check: Checker, value: Json, most: int, at: str) -> None:
    for number, option in enumerate(check.items(value, "options", most, at)):
        _option(check, option, f"{at}/options/{number}")
    if "initial_option" in value and value["initial_option"] not in (value.get("options") or []):
        check.say(f"{at}/initial_option", "must be one of the options")


def _overflow(check: Checker, value: Json, at: str) -> None:
    _options(check, value, 5, at)


def _choice(check: Checker, value: Json, at: str) -> None:
    _options(check, value, 10, at)


def _select(check: Checker, value: Json, at: str) -> None:
    _options(check, value, 100, at)


def _plain_text_input(check: Checker, value: Json, at: str) -> None:
    check.short(value, "initial_value", 3000, at)
    least, most = value.get("min_length"), value.get("max_length")
    if least is not None and not 0 <= least <= 3000:
        check.say(f"{at}/min_length", "must be between 0 and 3000")
    if most is not None and not 1 <= most <= 3000:
        check.say(f"{at}/max_length", "must be between 1 and 3000")


def _datetimepicker(check: Checker, value: Json, at: str) -> None:
    given = value.get("initial_date_time")
    if given is not None and (not isinstance(given, int) or len(str(given)) != 10):
        check.say(f"{at}/initial_date_time", "must be a Unix time stamp of 10 digits")


def _datepicker(check: Checker, value: Json, at: str) -> None:
    _shaped(check, value, "initial_date", "%Y-%m-%d", "must be a date in the format YYYY-MM-DD", at)


def _timepicker(check: Checker, value: Json, at: str) -> None:
    _shaped(check, value, "initial_time", "%H:%M", "must be a time in the format HH:mm", at)
    zone = value.get("timezone")
    if zone is not None and (not isinstance(zone, str) or zone not in available_timezones()):
        check.say(f"{at}/timezone", "must be a valid IANA time zone")


def _shaped(check: Checker, value: Json, name: str, shape: str, says: str, at: str) -> None:
    given = value.get(name)
    if given is None:
        return
    try:
        right = time.strftime(shape, time.strptime(given, shape)) == given
    except (TypeError, ValueError):
        right = False
    if not right:
        check.say(f"{at}/{name}", says)


def _image(check: Checker, value: Json, at: str) -> None:
    if "slack_file" not in value:
        check.need(value, "image_url", at)
    check.need(value, "alt_text", at)
    check.short(value, "image_url", 3000, at)
    check.short(value, "alt_text", 2000, at)


Rule = Callable[[Checker, Json, str], None]
ELEMENTS: dict[str, tuple[str, Rule]] = {
    "button": ("text action_id url value style confirm accessibility_label", _button),
    "overflow": ("action_id options confirm", _overflow),
    "static_select": ("action_id options initial_option placeholder confirm focus_on_load", _select),
    "radio_buttons": ("action_id options initial_option confirm focus_on_load", _choice),
    "checkboxes": ("action_id options initial_options confirm focus_on_load", _choice),
    "datepicker": ("action_id initial_date confirm focus_on_load placeholder", _datepicker),
    "timepicker": ("action_id initial_time confirm focus_on_load placeholder timezone", _timepicker),
    "datetimepicker": ("action_id initial_date_time confirm focus_on_load", _datetimepicker),
    "plain_text_input": (
        "action_id initial_value multiline min_length max_length placeholder focus_on_load dispatch_action_config",
        _plain_text_input,
    ),
    "image": ("image_url slack_file alt_text", _image),
}
