"""Rich text as Slack checks it: sections, lists, quotes and preformatted text, and the elements inside them."""

from __future__ import annotations

from typing import Any

from rehearsal.slack.checking import Checker

Json = dict[str, Any]
RICH = frozenset({"rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"})
RANGES = frozenset({"here", "channel", "everyone"})
LISTS = frozenset({"bullet", "ordered"})
STYLES = "bold italic strike code underline highlight client_highlight unlink"
INSIDE = {
    "text": ("text", "text"),
    "link": ("url", "text url unsafe"),
    "user": ("user_id", "user_id"),
    "usergroup": ("usergroup_id", "usergroup_id"),
    "channel": ("channel_id", "channel_id"),
    "team": ("team_id", "team_id"),
    "emoji": ("name", "name unicode url skin_tone"),
    "date": ("format", "timestamp format url fallback"),
    "broadcast": ("range", "range"),
    "color": ("value", "value"),
}
IN_CODE = ("text", "link")


def rich_text(check: Checker, block: Json, at: str) -> None:
    """The value must be a rich_text block; its type and block_id are checked elsewhere."""
    for number, part in enumerate(check.items(block, "elements", 100, at)):
        _part(check, part, f"{at}/elements/{number}")


def is_rich_text(check: Checker, value: Any, at: str) -> None:
    """The value must be a rich_text block, such as the details of a task."""
    if not isinstance(value, dict) or value.get("type") != "rich_text":
        check.say(at, "must be a rich_text block")
        return
    check.only(value, "type block_id elements", at)
    rich_text(check, value, at)


def _part(check: Checker, part: Any, at: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in RICH:
        check.say(f"{at}/type", f"unsupported type: {kind}")
        return
    if not isinstance(part.get("elements"), list):
        check.say(at, "missing required field: elements")
        return
    if kind == "rich_text_list":
        check.only(part, "type elements style indent border offset", at)
        if part.get("style") not in LISTS:
            check.say(f"{at}/style", f"must be one of: {', '.join(sorted(LISTS))}")
        for number, section in enumerate(part["elements"]):
            if not isinstance(section, dict) or section.get("type") != "rich_text_section":
                check.say(f"{at}/elements/{number}/type", "must be rich_text_section")
            else:
                _part(check, section, f"{at}/elements/{number}")
        return
    check.only(part, "type elements border language", at)
    for number, run in enumerate(part["elements"]):
        _run(check, run, f"{at}/elements/{number}", code=kind == "rich_text_preformatted")


def _run(check: Checker, run: Any, at: str, *, code: bool) -> None:
    kind = run.get("type") if isinstance(run, dict) else None
    if kind not in INSIDE or (code and kind not in IN_CODE):
        check.say(f"{at}/type", f"unsupported type: {kind}")
        return
    needed, keys = INSIDE[kind]
    check.only(run, f"type style {keys}", at)
    check.need(run, needed, at)
    if kind == "text":
        check.short(run, "text", 40_000, at)
    check.url(run, "url", at)
    if kind == "broadcast":
        check.one_of(run, "range", RANGES, at)
    if kind == "date" and not isinstance(run.get("timestamp"), int):
        check.say(at, "missing required field: timestamp")
    style = run.get("style")
    if style is not None and not isinstance(style, dict):
        check.say(f"{at}/style", "must be an object")
    elif style:
        check.only(style, STYLES, f"{at}/style")
