"""The checker that collects what is wrong with blocks, in Slack's words, and the checks that many blocks share."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

Json = dict[str, Any]
TEXT_KEYS = {"plain_text": "type text emoji", "mrkdwn": "type text verbatim"}
STYLES = frozenset({"primary", "danger"})
WEB = re.compile(r"https?://[^\s/?#]+[^\s]*")
LINK = re.compile(r"(https?://[^\s/?#]+[^\s]*|mailto:\S+|slack://\S+|tel:\S+)")


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

    def words(self, value: Json, name: str, most: int, at: str) -> None:
        """The field must be a string that isn't empty, of at most this length."""
        self.need(value, name, at)
        self.short(value, name, most, at)

    def one_of(self, value: Json, name: str, allowed: Collection[str], at: str) -> None:
        """The field, if it exists, must be one of these."""
        if name in value and value[name] not in allowed:
            self.say(f"{at}/{name}", f"must be one of: {', '.join(sorted(allowed))}")

    def matches(self, value: Json, name: str, pattern: str, form: str, at: str) -> None:
        """The field, if it exists, must be a string of this form."""
        given = value.get(name)
        if given is not None and not (isinstance(given, str) and re.fullmatch(pattern, given)):
            self.say(f"{at}/{name}", f"must be a string in the form {form}")

    def between(self, value: Json, name: str, least: int, most: int, at: str) -> None:
        """The field, if it exists, must be a whole number within these bounds."""
        given = value.get(name)
        if given is not None and (not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most):
            self.say(f"{at}/{name}", f"must be between {least} and {most}")

    def url(self, value: Json, name: str, at: str, *, web: bool = False) -> None:
        """The field, if it exists, must be an address of at most 3,000 characters; of a web page or picture if `web`."""
        self.short(value, name, 3000, at)
        given = value.get(name)
        if isinstance(given, str) and not (WEB if web else LINK).fullmatch(given):
            self.say(f"{at}/{name}", "must be a valid URL")

    def items(self, value: Json, name: str, most: int, at: str, *, least: int = 1) -> list[Any]:
        """The list in this field, which must have between `least` and `most` items; empty if it isn't a list."""
        given = value.get(name)
        if not isinstance(given, list):
            self.say(at, f"missing required field: {name}")
            return []
        if len(given) < least:
            self.say(f"{at}/{name}", f"no fewer than {least} items allowed")
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

    def unique(self, values: list[Any], name: str, at: str, of: str) -> None:
        """No two of these objects may have the same id in this field."""
        named = [str(value[name]) for value in values if isinstance(value, dict) and value.get(name)]
        for one in sorted({one for one in named if named.count(one) > 1}):
            self.say(at, f'`{name}` "{one}" already exists for another {of}')

    def confirm(self, value: Any, at: str) -> None:
        """The value must be a confirmation dialog."""
        if not isinstance(value, dict):
            self.say(at, "must be an object")
            return
        self.only(value, "title text confirm deny style", at)
        self.text(value.get("title"), f"{at}/title", 100, kinds="plain_text")
        self.text(value.get("text"), f"{at}/text", 300)
        for name in ("confirm", "deny"):
            self.text(value.get(name), f"{at}/{name}", 30, kinds="plain_text")
        self.one_of(value, "style", STYLES, at)
