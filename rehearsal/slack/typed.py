"""What people type, as Slack hands it on: `&`, `<` and `>` are escaped, and names of people and channels become ids."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rehearsal.slack.members import Person
from rehearsal.slack.store import Channel

MENTION = re.compile(r"(?<!\S)([@#])([\w.-]+)")


def escaped(text: str) -> str:
    """The text with Slack's three escapes, and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def with_ids(text: str, people: Iterable[Person], channels: Iterable[Channel], *, labels: bool) -> str:
    """The text in which @bob is <@U0BOB>, and #general is <#C0GENERAL|general>; people get a label too with `labels`."""
    named = {"@": {p.name: p.id for p in people}, "#": {c.name: c.id for c in channels}}

    def mention(match: re.Match[str]) -> str:
        sign, name = match.groups()
        found = named[sign].get(name)
        if found is None:
            return match.group()
        return f"<{sign}{found}|{name}>" if labels or sign == "#" else f"<{sign}{found}>"

    return MENTION.sub(mention, text)
