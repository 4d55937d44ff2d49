"""Rich text and task cards: what a run's steps are shown with, if the workspace takes them."""

from __future__ import annotations

import re

from bot.slack.blocks import Block
from bot.slack.mrkdwn import MENTION

_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_MARKUP = re.compile(f"({MENTION})")
STATUS = {  # how Slack names the states of a task; the others stand in its title
    "": "pending",
    "started": "in_progress",
    "done": "complete",
    "already done": "complete",
    "skipped": "complete",
    "failed": "error",
    "declined": "error",
    "unknown": "error",
}
SAID = ("skipped", "declined", "unknown", "already done")  # states that Slack has no sign for


def task(task_id: str, title: str, state: str, command: str, says: str) -> Block:
    """A step as a card: its title, its command as code, and what it said."""
    named = f"{title} ({state})" if state in SAID else title
    card: Block = {"type": "task_card", "task_id": task_id, "title": _clean(named), "status": STATUS[state]}
    card |= {"details": _rich([{"type": "text", "text": _clean(command), "style": {"code": True}}])} if command else {}
    return card | ({"output": _rich(elements(says))} if says else {})


def plan(title: str, tasks: list[Block], block_id: str) -> Block:
    """Steps in their order, under a title."""
    return {"type": "plan", "title": _clean(title), "tasks": tasks, "block_id": block_id}


def elements(text: str) -> list[Block]:
    """Text with our own mentions as elements; everything else in it is plain text, and nothing of it is markup."""
    made: list[Block] = []
    for part in _MARKUP.split(_clean(text)):
        if _MARKUP.fullmatch(part):
            made.append(_mention(part[1:-1]))
        elif part:
            made.append({"type": "text", "text": part})
    return made or [{"type": "text", "text": " "}]


def _mention(inside: str) -> Block:
    if inside.startswith("@"):
        return {"type": "user", "user_id": inside[1:]}
    if inside.startswith("#"):
        return {"type": "channel", "channel_id": inside[1:]}
    if inside.startswith("!subteam^"):
        return {"type": "usergroup", "usergroup_id": inside.removeprefix("!subteam^")}
    _, moment, rest = inside.split("^", 2)
    form, _, fallback = rest.partition("|")
    return {"type": "date", "timestamp": int(moment), "format": form, "fallback": fallback}


def _rich(inside: list[Block]) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": inside}]}


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text) or " "
