"""Slack's text markup: what comes from elsewhere is shown as it is, but for the secrets in it; only what we say is markup.

A log line with `<!channel>` in it must wake nobody, and one with `<class 'ValueError'>` must not vanish:
https://docs.slack.dev/messaging/formatting-message-text#escaping
"""

from __future__ import annotations

import re

from actions.scrub import scrub

CUT = " … (cut short)"
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MENTION = r"<(?:@[UW][A-Z0-9]+|#[CG][A-Z0-9]+|!subteam\^S[A-Z0-9]+|!date\^\d+\^[{}\w:, ]+\|[^<>|]+)>"
_OURS = re.compile(f"({MENTION})")
INVISIBLE = "\u200b"
_CALLS = re.compile(r"<(?=[@#!])")
_SPECIAL = re.compile(r"&(?!(?:amp|lt|gt);)|[<>]")
_TORN = re.compile(r"(?:&[a-z]*|<[^<>]*)$")


def escape(text: str) -> str:
    """The scrubbed text as mrkdwn; what is escaped already stays as it is, for so does Slack deliver what people type."""
    parts = _OURS.split(scrub(text))
    return "".join(
        part if number % 2 else _SPECIAL.sub(lambda found: ENTITIES[found[0]], part) for number, part in enumerate(parts)
    )


def inert(text: str) -> str:
    """Text from elsewhere (logs, servers, what people type), its mentions made plain text: it reads the same, wakes nobody."""
    return _CALLS.sub(f"<{INVISIBLE}", text)


def shown(text: str, most: int) -> str:
    """The text as mrkdwn of at most `most` characters, never cut within an entity or a mention."""
    marked = escape(text)
    return marked if len(marked) <= most else _TORN.sub("", marked[: most - len(CUT)]).rstrip() + CUT


def foreign(text: str, most: int) -> str:
    """Text from elsewhere as mrkdwn of at most `most` characters, in which mentions are plain text."""
    return shown(inert(text), most)


def cut(text: str, most: int) -> str:
    """The scrubbed text, as plain text of at most `most` characters."""
    text = scrub(text)
    return text if len(text) <= most else text[: most - len(CUT)].rstrip() + CUT
