"""Slack's blocks as plain values: what every card and form is made of, and what of a text Slack would show differently."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from bot.slack.mrkdwn import cut, shown

Block = dict[str, Any]
SHORT = 40  # a text this short says nothing once it's cut
MOST_CHARACTERS = 10_000  # of blocks in a message; Slack refuses somewhat more without saying so anywhere
LONGEST_SECTION = 2950
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
FENCE, INVISIBLE = "```", "\u200b"


def header(text: str) -> Block:
    """A title of at most 150 characters."""
    return {"type": "header", "text": plain(cut(text, 150))}


def section(text: str) -> Block:
    """A paragraph of at most 3,000 characters."""
    return {"type": "section", "text": mrkdwn(text, LONGEST_SECTION)}


def sections(lines: Iterable[str]) -> list[Block]:
    """Lines as sections, none of them cut as long as no line is longer than a section."""
    chunks = [""]
    for line in lines:
        if length(chunks[-1]) + length(line) + 1 > LONGEST_SECTION and chunks[-1]:
            chunks.append("")
        chunks[-1] += line + "\n"
    return [section(chunk) for chunk in chunks]


def field(text: str) -> Block:
    """One of the fields of a section."""
    return mrkdwn(text, 1950)


def context(text: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [mrkdwn(text, 1900)]}


def link(address: str, label: str) -> Block:
    """Small print that leads to an address of Slack's own."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{quote(address, safe=':/')}|{label}>"}]}


def actions(*buttons: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(buttons)}


def button(action_id: str, label: str, value: str, *, style: str | None = None, confirm: Block | None = None) -> Block:
    """A button; `style` is primary or danger, `confirm` what is asked before it counts as pressed."""
    made = {"type": "button", "action_id": action_id, "text": plain(cut(label, 75)), "value": value}
    return made | ({"style": style} if style else {}) | ({"confirm": confirm} if confirm else {})


def confirm(title: str, text: str, label: str, *, style: str | None = None) -> Block:
    """The question behind a button."""
    asked = {"title": plain(cut(title, 100)), "text": plain(cut(text, 290)), "confirm": plain(label), "deny": plain("Go back")}
    return asked | ({"style": style} if style else {})


def plain(text: str) -> Block:
    """Text without markup."""
    return {"type": "plain_text", "text": _UNPRINTABLE.sub(" ", text), "emoji": True}


def mrkdwn(text: str, most: int) -> Block:
    """Text with markup, of at most `most` characters."""
    return {"type": "mrkdwn", "text": shown(_UNPRINTABLE.sub(" ", text), most)}


def code(text: str) -> str:
    """The text as code, so that no character of it is taken for markup: in a line, or as a block if it has backticks itself."""
    text = _UNPRINTABLE.sub(" ", text)
    if "`" not in text and "\n" not in text:
        return f"`{text}`"
    inside = text.replace("``", f"`{INVISIBLE}`")
    before, after = (INVISIBLE if edge == "`" else "" for edge in (text[:1], text[-1:]))
    return f"{FENCE}{before}{inside}{after}{FENCE}"


def length(text: str) -> int:
    """How many characters Slack counts at most, once what is markup to it is escaped."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def size(blocks: list[Block]) -> int:
    """How many characters of JSON these blocks are."""
    return len(json.dumps(blocks, ensure_ascii=False))


def fit(blocks: list[Block]) -> list[Block]:
    """The blocks within the budget of one message: the longest text in them, of a section or a step, is cut until they are.

    Short texts are left alone, so that blocks of very many of them stay too long; it ends in any case.
    """
    texts = [text for text in _texts(blocks) if len(text["text"]) > SHORT]
    while texts and size(blocks) > MOST_CHARACTERS:
        longest = max(texts, key=lambda text: len(text["text"]))
        before = len(longest["text"])
        longest["text"] = shown(longest["text"], before * 3 // 4)
        if not SHORT < len(longest["text"]) < before:
            texts = [text for text in texts if text is not longest]
    return blocks


def _texts(inside: Any) -> Iterator[Block]:
    """Every text with words to read, in blocks and in the parts of task cards, but not on buttons."""
    if isinstance(inside, list):
        for one in inside:
            yield from _texts(one)
    elif isinstance(inside, dict) and inside.get("type") != "actions":
        if inside.get("type") in ("mrkdwn", "plain_text", "text") and isinstance(inside.get("text"), str):
            yield inside
        for one in inside.values():
            yield from _texts(one)


def stamp(at: float) -> str:
    """A moment in UTC, and beside it in the reader's own time zone, with the day."""
    return f"{clock(at)} (<!date^{int(at)}^{{date_short_pretty}} {{time}}|{day(at)}> your time)"


def day(at: float) -> str:
    """A date in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def clock(at: float) -> str:
    """A moment in UTC."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
