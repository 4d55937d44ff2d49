"""What Slack sends, read piece by piece: each is what the store takes, or `Malformed`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.store import Item

ID = re.compile(r"[\w.-]{1,150}", re.ASCII)


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


def maybe(body: Any, *path: str) -> str:
    """The text at the end of a path; "" if there is none."""
    for key in path:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, str) else ""
