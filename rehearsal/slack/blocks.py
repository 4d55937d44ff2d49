"""Block Kit as Slack checks it: every limit that was found, with Slack's own words for what's wrong and where.

The limits are from Slack's Block Kit reference. The limit for a whole message isn't documented; it was seen at about
13,200 characters of blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rehearsal.slack.checking import Checker
from rehearsal.slack.elements import CHOICES, FIELDS, MENUS, MULTI_MENUS, PICKERS, element, image
from rehearsal.slack.rich_text import is_rich_text, rich_text
from rehearsal.slack.tables import data_table, table

Json = dict[str, Any]
MOST_CHARACTERS = 13_200
MOST_BLOCKS = {"message": 50, "modal": 100, "home": 100}
MARKDOWN_CHARACTERS = 12_000
INPUTS = FIELDS | PICKERS | CHOICES | MENUS | MULTI_MENUS
ACTIONS = PICKERS | CHOICES | MENUS | MULTI_MENUS | {"button", "overflow", "workflow_button", "rich_text_input"}
ACCESSORIES = (ACTIONS | {"image"}) - {"datetimepicker", "rich_text_input"}
TASK_STATES = frozenset({"pending", "in_progress", "complete", "error"})
ALERT_LEVELS = frozenset({"default", "info", "warning", "error", "success"})
WIDTHS = frozenset({"narrow", "standard", "wide", "full"})
CHILDREN = frozenset(
    ["actions", "context", "divider", "file", "header", "image", "input", "rich_text", "section", "table", "video"]
)
ONLY_IN_MESSAGES = frozenset(
    ["card", "carousel", "container", "context_actions", "data_table", "file", "markdown", "plan", "table", "task_card"],
)
ONLY_IN_MODALS = frozenset({"alert"})  # by Slack's own list of blocks, though not by its types.


def problems(blocks: Any, *, surface: str = "message") -> list[str]:
    """Everything that Slack would refuse in these blocks, each with its JSON pointer; empty if they're fine."""
    if not isinstance(blocks, list):
        return ["[ERROR] must be an array [json-pointer:/blocks]"]
    check = Checker()
    if len(blocks) > MOST_BLOCKS[surface]:
        check.say("/blocks", f"no more than {MOST_BLOCKS[surface]} items allowed")
    for number, block in enumerate(blocks):
        _block(check, block, f"/blocks/{number}", surface)
    _whole(check, blocks)
    return check.complaints


def too_long(blocks: Sequence[Json]) -> bool:
    """Whether the blocks together exceed the limit, which Slack answers with msg_blocks_too_long."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MOST_CHARACTERS


def _block(check: Checker, block: Any, at: str, surface: str) -> None:
    if not isinstance(block, dict):
        check.say(at, "must be an object")
        return
    kind = block.get("type")
    misplaced = (kind in ONLY_IN_MESSAGES and surface != "message") or (kind in ONLY_IN_MODALS and surface != "modal")
    if kind not in BLOCKS or misplaced:
        check.say(f"{at}/type", f"unsupported type: {kind}")
        return
    keys, rule = BLOCKS[kind]
    check.only(block, f"type block_id {keys}", at)
    check.short(block, "block_id", 255, at)
    rule(check, block, at)


def _whole(check: Checker, blocks: list[Any]) -> None:
    sound = [block for block in blocks if isinstance(block, dict)]
    check.unique(sound, "block_id", "/blocks", "block")
    if sum(len(str(b.get("text", ""))) for b in sound if b.get("type") == "markdown") > MARKDOWN_CHARACTERS:
        check.say("/blocks", f"markdown blocks must have no more than {MARKDOWN_CHARACTERS} characters together")
    if sum(b.get("type") == "table" for b in sound) > 1:
        check.say("/blocks", "only one table block is allowed in a message")


def _header(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("text"), f"{at}/text", 150, kinds="plain_text")


def _section(check: Checker, block: Json, at: str) -> None:
    if "text" not in block and "fields" not in block:
        check.say(at, "missing required field: text or fields")
    if "text" in block:
        check.text(block["text"], f"{at}/text", 3000)
    if "fields" in block:
        for number, field in enumerate(check.items(block, "fields", 10, at)):
            check.text(field, f"{at}/fields/{number}", 2000)
    if "accessory" in block:
        element(check, block["accessory"], ACCESSORIES, f"{at}/accessory")


def _context(check: Checker, block: Json, at: str) -> None:
    for number, item in enumerate(check.items(block, "elements", 10, at)):
        where = f"{at}/elements/{number}"
        if isinstance(item, dict) and item.get("type") == "image":
            element(check, item, {"image"}, where)
        else:
            check.text(item, where, 3000)


def _actions(check: Checker, block: Json, at: str) -> None:
    elements = check.items(block, "elements", 25, at)
    for number, item in enumerate(elements):
        element(check, item, ACTIONS, f"{at}/elements/{number}")
    check.unique(elements, "action_id", f"{at}/elements", "element")


def _context_actions(check: Checker, block: Json, at: str) -> None:
    for number, item in enumerate(check.items(block, "elements", 5, at)):
        element(check, item, {"feedback_buttons", "icon_button"}, f"{at}/elements/{number}")


def _input(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("label"), f"{at}/label", 2000, kinds="plain_text")
    if "hint" in block:
        check.text(block["hint"], f"{at}/hint", 2000, kinds="plain_text")
    element(check, block.get("element"), INPUTS, f"{at}/element")


def _image(check: Checker, block: Json, at: str) -> None:
    image(check, block, at)
    if "title" in block:
        check.text(block["title"], f"{at}/title", 2000, kinds="plain_text")


def _markdown(check: Checker, block: Json, at: str) -> None:
    check.need(block, "text", at)
    check.short(block, "text", MARKDOWN_CHARACTERS, at)


def _divider(check: Checker, block: Json, at: str) -> None:
    """Nothing can be wrong with a divider."""


def _alert(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("text"), f"{at}/text", 3000)
    check.one_of(block, "level", ALERT_LEVELS, at)


def _plan(check: Checker, block: Json, at: str) -> None:
    check.words(block, "title", 3000, at)
    tasks = block.get("tasks", [])
    if not isinstance(tasks, list):
        check.say(f"{at}/tasks", "must be an array")
        return
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or task.get("type") != "task_card":
            check.say(f"{at}/tasks/{number}/type", "must be task_card")
        else:
            _block(check, task, f"{at}/tasks/{number}", "message")


def _task_card(check: Checker, block: Json, at: str) -> None:
    check.words(block, "task_id", 255, at)
    check.words(block, "title", 3000, at)
    check.one_of(block, "status", TASK_STATES, at)
    for name in ("details", "output"):
        if name in block:
            is_rich_text(check, block[name], f"{at}/{name}")
    for number, source in enumerate(block.get("sources") or []):
        where = f"{at}/sources/{number}"
        if not isinstance(source, dict) or source.get("type") != "url":
            check.say(f"{where}/type", "must be url")
            continue
        check.only(source, "type url text", where)
        check.need(source, "url", where)
        check.need(source, "text", where)
        check.url(source, "url", where)


def _card(check: Checker, block: Json, at: str) -> None:
    if not block.keys() & {"hero_image", "title", "body", "actions"}:
        check.say(at, "missing required field: hero_image, title, body or actions")
    for name, most in (("title", 150), ("subtitle", 150), ("body", 200)):
        if name in block:
            check.text(block[name], f"{at}/{name}", most)
    for name in ("hero_image", "icon"):
        if name in block:
            element(check, block[name], {"image"}, f"{at}/{name}")
    for number, button in enumerate(block.get("actions") or []):
        element(check, button, {"button"}, f"{at}/actions/{number}")


def _carousel(check: Checker, block: Json, at: str) -> None:
    for number, card in enumerate(check.items(block, "elements", 10, at)):
        if not isinstance(card, dict) or card.get("type") != "card":
            check.say(f"{at}/elements/{number}/type", "must be card")
        else:
            _block(check, card, f"{at}/elements/{number}", "message")


def _container(check: Checker, block: Json, at: str) -> None:
    if ("title" in block) == ("rich_text_title" in block):
        check.say(at, "missing required field: either title or rich_text_title")
    if "title" in block:
        check.text(block["title"], f"{at}/title", 150, kinds="plain_text")
    if "rich_text_title" in block:
        is_rich_text(check, block["rich_text_title"], f"{at}/rich_text_title")
    if "subtitle" in block:
        check.text(block["subtitle"], f"{at}/subtitle", 150)
    if "icon" in block:
        element(check, block["icon"], {"image"}, f"{at}/icon")
    check.one_of(block, "width", WIDTHS, at)
    if block.get("has_header_divider") and block.get("is_collapsible"):
        check.say(f"{at}/has_header_divider", "is not allowed in a collapsible container")
    for number, child in enumerate(check.items(block, "child_blocks", 10, at)):
        where = f"{at}/child_blocks/{number}"
        kind = child.get("type") if isinstance(child, dict) else None
        if kind in CHILDREN:
            _block(check, child, where, "message")
        else:
            check.say(f"{where}/type", f"unsupported type: {kind}")


def _file(check: Checker, block: Json, at: str) -> None:
    check.words(block, "external_id", 255, at)
    check.one_of(block, "source", {"remote"}, at)


def _video(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("title"), f"{at}/title", 200, kinds="plain_text")
    check.words(block, "alt_text", 2000, at)
    for name in ("video_url", "thumbnail_url"):
        check.need(block, name, at)
    for name in ("video_url", "thumbnail_url", "title_url", "provider_icon_url"):
        check.url(block, name, at, web=True)


Rule = Callable[[Checker, Json, str], None]
BLOCKS: dict[str, tuple[str, Rule]] = {
    "header": ("text", _header),
    "section": ("text fields accessory expand", _section),
    "context": ("elements", _context),
    "divider": ("", _divider),
    "actions": ("elements", _actions),
    "input": ("label element hint optional dispatch_action", _input),
    "rich_text": ("elements", rich_text),
    "image": ("image_url slack_file alt_text title", _image),
    "markdown": ("text", _markdown),
    "alert": ("text level", _alert),
    "plan": ("title tasks", _plan),
    "task_card": ("task_id title status details output sources", _task_card),
    "table": ("rows column_settings", table),
    "data_table": ("rows caption page_size row_header_column_index", data_table),
    "card": ("hero_image icon title subtitle body actions", _card),
    "carousel": ("elements", _carousel),
    "container": (
        "title rich_text_title subtitle child_blocks width icon is_collapsible default_collapsed has_header_divider",
        _container,
    ),
    "context_actions": ("elements", _context_actions),
    "file": ("source external_id", _file),
    "video": ("video_url thumbnail_url alt_text title title_url author_name provider_name provider_icon_url description", _video),
}


def view_problems(view: Any) -> list[str]:
    """Everything that Slack would refuse in this modal or home view; empty if it's fine."""
    if not isinstance(view, dict) or view.get("type") not in ("modal", "home"):
        return ["[ERROR] type must be modal or home [json-pointer:/view/type]"]
    check = Checker()
    check.short(view, "private_metadata", 3000, "/view")
    check.short(view, "callback_id", 255, "/view")
    check.short(view, "external_id", 255, "/view")
    if view["type"] == "modal":
        _modal(check, view)
    complaints = problems(view.get("blocks"), surface=view["type"])
    return check.complaints + [line.replace(":/blocks", ":/view/blocks", 1) for line in complaints]


def _modal(check: Checker, view: Json) -> None:
    check.text(view.get("title"), "/view/title", 24, kinds="plain_text")
    for name in ("submit", "close"):
        if view.get(name) is not None:
            check.text(view[name], f"/view/{name}", 24, kinds="plain_text")
    blocks = view.get("blocks") or []
    if any(isinstance(block, dict) and block.get("type") == "input" for block in blocks) and not view.get("submit"):
        check.say("/view/submit", "is required when the view has input blocks")
