"""Block Kit as Slack checks it: every limit that was found, with Slack's own words for what's wrong and where.

The limits are from Slack's Block Kit reference. The limit for a whole message isn't documented; it was seen at about
13,200 characters of blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rehearsal.slack.elements import ELEMENTS, Checker

Json = dict[str, Any]
MOST_CHARACTERS = 13_200
MOST_BLOCKS = {"message": 50, "modal": 100, "home": 100}
MARKDOWN_CHARACTERS = 12_000
PICKERS = frozenset({"datepicker", "timepicker"})
INPUTS = PICKERS | {"plain_text_input", "datetimepicker", "radio_buttons", "static_select", "checkboxes"}
ACCESSORIES = PICKERS | {"button", "overflow", "static_select", "radio_buttons", "checkboxes", "image"}
ACTIONS = (ACCESSORIES - {"image"}) | {"datetimepicker"}  # which no section takes
RICH = frozenset({"rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"})
TASK_STATES = frozenset({"pending", "in_progress", "complete", "error"})
ALERT_LEVELS = frozenset({"default", "info", "warning", "error", "success"})


def problems(blocks: Any, *, surface: str = "message") -> list[str]:
    """Everything that Slack would refuse in these blocks, each with its JSON pointer; empty if they're fine."""
    if not isinstance(blocks, list):
        return ["[ERROR] must be an array [json-pointer:/blocks]"]
    check = Checker()
    if len(blocks) > MOST_BLOCKS[surface]:
        check.say("/blocks", f"no more than {MOST_BLOCKS[surface]} items allowed")
    for number, block in enumerate(blocks):
        _block(check, block, f"/blocks/{number}")
    _whole(check, blocks)
    return check.complaints


def too_long(blocks: Sequence[Json]) -> bool:
    """Whether the blocks together exceed the limit, which Slack answers with msg_blocks_too_long."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MOST_CHARACTERS


def _block(check: Checker, block: Any, at: str) -> None:
    if not isinstance(block, dict):
        check.say(at, "must be an object")
        return
    kind = block.get("type")
    if kind not in BLOCKS:
        check.say(f"{at}/type", f"unsupported type: {kind}")
        return
    keys, rule = BLOCKS[kind]
    check.only(block, f"type block_id {keys}", at)
    check.short(block, "block_id", 255, at)
    rule(check, block, at)


def _whole(check: Checker, blocks: list[Any]) -> None:
    sound = [block for block in blocks if isinstance(block, dict)]
    named = [str(block["block_id"]) for block in sound if block.get("block_id")]
    for name in sorted({name for name in named if named.count(name) > 1}):
        check.say("/blocks", f'`block_id` "{name}" already exists for another block')
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
        check.element(block["accessory"], ACCESSORIES, f"{at}/accessory")


def _context(check: Checker, block: Json, at: str) -> None:
    for number, element in enumerate(check.items(block, "elements", 10, at)):
        where = f"{at}/elements/{number}"
        if isinstance(element, dict) and element.get("type") == "image":
            ELEMENTS["image"][1](check, element, where)
        else:
            check.text(element, where, 3000)


def _actions(check: Checker, block: Json, at: str) -> None:
    elements = check.items(block, "elements", 25, at)
    for number, element in enumerate(elements):
        check.element(element, ACTIONS, f"{at}/elements/{number}")
    named = [str(e["action_id"]) for e in elements if isinstance(e, dict) and e.get("action_id")]
    for name in sorted({name for name in named if named.count(name) > 1}):
        check.say(f"{at}/elements", f'`action_id` "{name}" already exists for another element')


def _input(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("label"), f"{at}/label", 2000, kinds="plain_text")
    if "hint" in block:
        check.text(block["hint"], f"{at}/hint", 2000, kinds="plain_text")
    check.element(block.get("element"), INPUTS, f"{at}/element")


def _image(check: Checker, block: Json, at: str) -> None:
    ELEMENTS["image"][1](check, block, at)
    if "title" in block:
        check.text(block["title"], f"{at}/title", 2000, kinds="plain_text")


def _markdown(check: Checker, block: Json, at: str) -> None:
    check.need(block, "text", at)
    check.short(block, "text", MARKDOWN_CHARACTERS, at)


def _divider(check: Checker, block: Json, at: str) -> None:
    """Nothing can be wrong with a divider."""


def _rich_text(check: Checker, block: Json, at: str) -> None:
    for number, element in enumerate(check.items(block, "elements", 100, at)):
        kind = element.get("type") if isinstance(element, dict) else None
        if kind not in RICH:
            check.say(f"{at}/elements/{number}/type", f"unsupported type: {kind}")
        elif not isinstance(element.get("elements"), list):
            check.say(f"{at}/elements/{number}", "missing required field: elements")


def _alert(check: Checker, block: Json, at: str) -> None:
    check.text(block.get("text"), f"{at}/text", 3000)
    check.one_of(block, "level", ALERT_LEVELS, at)


def _plan(check: Checker, block: Json, at: str) -> None:
    check.need(block, "title", at)
    tasks = block.get("tasks", [])
    for number, task in enumerate(tasks if isinstance(tasks, list) else []):
        _task_card(check, task, f"{at}/tasks/{number}")


def _task_card(check: Checker, block: Json, at: str) -> None:
    check.need(block, "task_id", at)
    check.need(block, "title", at)
    check.one_of(block, "status", TASK_STATES, at)
    for name in ("details", "output"):
        if name in block and (not isinstance(block[name], dict) or block[name].get("type") != "rich_text"):
            check.say(f"{at}/{name}", "must be a rich_text block")


def _table(check: Checker, block: Json, at: str) -> None:
    for number, row in enumerate(check.items(block, "rows", 100, at)):
        if not isinstance(row, list) or not row:
            check.say(f"{at}/rows/{number}", "must be an array of cells")
        elif len(row) > 20:
            check.say(f"{at}/rows/{number}", "no more than 20 items allowed")


Rule = Callable[[Checker, Json, str], None]
BLOCKS: dict[str, tuple[str, Rule]] = {
    "header": ("text", _header),
    "section": ("text fields accessory expand", _section),
    "context": ("elements", _context),
    "divider": ("", _divider),
    "actions": ("elements", _actions),
    "input": ("label element hint optional dispatch_action", _input),
    "rich_text": ("elements", _rich_text),
    "image": ("image_url slack_file alt_text title", _image),
    "markdown": ("text", _markdown),
    "alert": ("text level", _alert),
    "plan": ("title tasks", _plan),
    "task_card": ("task_id title status details output sources", _task_card),
    "table": ("rows column_settings", _table),
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
