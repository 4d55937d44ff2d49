"""What Slack sends, read piece by piece: each is what the store takes, or `Malformed`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.state.store import Item

ID = re.compile(r"[\w.-]{1,150}", re.ASCII)


_ESCAPED = re.compile("&(amp|lt|gt);")  # Slack's three escapes in what people type
_SIGNS = {"amp": "&", "lt": "<", "gt": ">"}
UNTYPED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Malformed(ValueError):
    """A payload lacks something that Slack always sends; the message names it."""


def item(name: str, kind: str, person: str, channel: str, payload: dict[str, Any]) -> Item:
    """What a person did, under a name of at most 200 characters."""
    return Item(id=name[:200], kind=kind, person=person, channel=channel, payload=payload)


def text_of(body: Any, key: str, where: str = "The payload") -> str:
    """A text that must be there. Raises `Malformed`."""
    value = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(value, str) or not value or len(value) > 3000:
        raise Malformed(f"{where} has no usable {key}.")
    return value


def id_of(body: Any, key: str, where: str = "The payload") -> str:
    """An id of Slack's: what the store's columns take. Raises `Malformed`."""
    value = text_of(body, key, where)
    if not ID.fullmatch(value) or (key != "trigger_id" and len(value) > 40):
        raise Malformed(f"{where} has no usable {key}.")
    return value


def unescaped(text: str) -> str:
    """What somebody typed, without Slack's escapes."""
    return _ESCAPED.sub(lambda found: _SIGNS[found[1]], text)


def typed_text(text: str) -> str:
    """The same, without what nobody can type."""
    return unescaped(UNTYPED.sub("", text))


def maybe(body: Any, *path: str) -> str:
    """The text at the end of a path; "" if there is none."""
    for key in path:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, str) else ""
