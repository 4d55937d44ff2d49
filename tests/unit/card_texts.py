"""What a person reads of a card, as Slack shows it, and whether Slack takes it."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from bot.slack import cards
from bot.state.story import WHOLE
from rehearsal.slack import blocks as slack

MOST_CHARACTERS = 10_000


def accepted(blocks: list[dict[str, Any]]) -> None:
    assert slack.problems(blocks) == []
    assert len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False)) <= MOST_CHARACTERS
    assert not slack.too_long(blocks)


def mentioned(part: Any) -> list[str]:
    """The people and groups whom rich text mentions."""
    if isinstance(part, list):
        return [one for each in part for one in mentioned(each)]
    if not isinstance(part, dict):
        return []
    return [str(part[key]) for key in ("user_id", "usergroup_id") if key in part] + [
        one for each in part.values() for one in mentioned(each)
    ]


def marked_up(part: Any) -> list[str]:
    """Every text that Slack reads as mrkdwn."""
    if isinstance(part, list):
        return [text for each in part for text in marked_up(each)]
    if not isinstance(part, dict):
        return []
    own = [part["text"]] if part.get("type") == "mrkdwn" else []
    return own + [text for each in part.values() for text in marked_up(each)]


def slack_reads(text: str) -> str:
    """A reply of the thread as people see it."""
    blocks = cards.reply_blocks(text)
    accepted(blocks)
    sent = "".join(marked_up(blocks)) if blocks else cards.reply(WHOLE, text)
    assert len(blocks) or len(sent) <= 3000
    assert "(cut short)" not in sent.removesuffix(text)
    return html.unescape(sent)


def read(blocks: list[dict[str, Any]]) -> str:
    """All the text of a card, as people see it."""
    plain = [b["text"]["text"] for b in blocks if b["type"] == "header"]
    return html.unescape("\n".join([*plain, *marked_up(blocks)]))


def visible(text: str) -> str:
    """The characters that can be seen, but for what fences code and what stands in for no character at all."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u200b\ufffd`]", "", text)
