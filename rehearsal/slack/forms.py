"""How people use forms and buttons: the state values of a view or message, and the action of a click.

https://docs.slack.dev/reference/interaction-payloads says how each element reports what was typed or chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from rehearsal.slack.errors import UnknownError

Json = dict[str, Any]
ANSWERS = {  # the field of the state, and the field of the element that it starts with
    "plain_text_input": ("value", "initial_value"),
    "email_text_input": ("value", "initial_value"),
    "url_text_input": ("value", "initial_value"),
    "number_input": ("value", "initial_value"),
    "rich_text_input": ("rich_text_value", "initial_value"),
    "file_input": ("files", "initial_files"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    "radio_buttons": ("selected_option", "initial_option"),
    "static_select": ("selected_option", "initial_option"),
    "external_select": ("selected_option", "initial_option"),
    "users_select": ("selected_user", "initial_user"),
    "channels_select": ("selected_channel", "initial_channel"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "checkboxes": ("selected_options", "initial_options"),
    "multi_static_select": ("selected_options", "initial_options"),
    "multi_external_select": ("selected_options", "initial_options"),
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
}
ECHOED = ("text", "value", "style", "url", "confirm", "placeholder", "icon")
FORMS = {
    "email_text_input": (r"[^@\s]+@[^@\s]+\.[^@\s]+", "Please enter a valid email address."),
    "url_text_input": (r"https?://\S+", "Please enter a valid URL."),
    "number_input": (r"-?\d+(\.\d+)?", "Please enter a number."),
}


def elements(surface: Json) -> Iterator[tuple[Json, Json]]:
    """Every element of a message or view that a person can use, with its block; those inside containers and cards too."""
    yield from _elements(surface.get("blocks") or [])


def _elements(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    for block in blocks:
        kind = block.get("type")
        if kind in ("actions", "context_actions"):
            yield from ((block, element) for element in block["elements"])
        elif kind == "input":
            yield block, block["element"]
        elif kind == "card":
            yield from ((block, button) for button in block.get("actions") or [])
        elif kind == "carousel":
            yield from _elements(block["elements"])
        elif kind == "container":
            yield from _elements(block["child_blocks"])
        elif "accessory" in block:
            yield block, block["accessory"]


def state_values(surface: Json, given: Json, kept: Json | None = None) -> Json:
    """The `state.values` of a view or message: `{block_id: {action_id: {type, value…}}}`.

    `given` may have that form, or in short `{block_id or action_id: "what was typed or chosen"}`. What isn't given is as
    in `kept`, the state until now; what isn't there either has its initial value. Buttons have no state.
    """
    values: Json = {}
    for block, element in elements(surface):
        if element["type"] not in ANSWERS:
            continue
        block_id, action_id = block["block_id"], element.get("action_id", "")
        answer = given.get(block_id, given.get(action_id))
        if isinstance(given.get(block_id), dict):
            answer = given[block_id].get(action_id)
        before = (kept or {}).get(block_id, {}).get(action_id)
        values.setdefault(block_id, {})[action_id] = before if answer is None and before else _state(element, answer)
    return values


def with_choice(surface: Json, given: Json, kept: Json | None, action: Json) -> Json:
    """The `state.values` after this action of a click or choice; `given` and `kept` as for `state_values`."""
    values = state_values(surface, given, kept)
    block_id, action_id, kind = action["block_id"], action["action_id"], action["type"]
    if action_id in values.get(block_id, {}):
        field = ANSWERS[kind][0]
        values[block_id][action_id] = {"type": kind, field: action[field]}
    return values


def _state(element: Json, answer: Any) -> Json:
    kind = element["type"]
    if isinstance(answer, dict) and kind != "rich_text_input":
        return {"type": kind, **answer}
    return {"type": kind, **_answer(element, answer)}


def _answer(element: Json, answer: Any) -> Json:
    """What the element reports, such as `{"selected_date": "2025-01-15"}`; its initial value if the answer is None."""
    field, initial = ANSWERS[element["type"]]
    if answer is None:
        return {field: element.get(initial, [] if field in MANY else None)}
    if field in MANY:
        listed = answer if isinstance(answer, list) else [answer]
        return {field: [_option(element, one) for one in listed] if field == "selected_options" else listed}
    if answer in ("", 0):
        return {field: None}
    if field == "selected_option":
        return {field: _option(element, answer)}
    if field == "selected_date":
        return {field: _day(element, answer)}
    if field == "selected_time" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(answer)):
        raise UnknownError(f"{answer!r} is not a time for {_name(element)}: expected HH:mm.")
    return {field: int(answer) if field == "selected_date_time" else answer}


MANY = ("selected_options", "selected_users", "selected_channels", "selected_conversations", "files")


def _day(element: Json, answer: Any) -> str:
    try:
        return date.fromisoformat(str(answer)).isoformat()
    except ValueError as error:
        raise UnknownError(f"{answer!r} is not a date for {_name(element)}: expected YYYY-MM-DD.") from error


def _name(element: Json) -> str:
    return str(element.get("action_id") or element["type"])


def _option(element: Json, value: Any) -> Json:
    """The option with this value, without its description: the app gets text and value. External ones come as they are."""
    if isinstance(value, dict):
        return value
    groups = element.get("option_groups") or [{"options": element.get("options", [])}]
    for option in (option for group in groups for option in group["options"]):
        if option["value"] == value:
            return {name: option[name] for name in ("text", "value", "description") if name in option}
    raise UnknownError(f"There is no option {value!r} in {_name(element)}.")


def incomplete(view: Json, values: Json) -> dict[str, str]:
    """What Slack itself refuses before it sends a submission: `{block_id: sentence}`."""
    found = {}
    for block, element in elements(view):
        if block["type"] != "input":
            continue
        state = values[block["block_id"]][element.get("action_id", "")]
        complaint = _complaint(block, element, state[ANSWERS[element["type"]][0]])
        if complaint:
            found[block["block_id"]] = complaint
    return found


def _complaint(block: Json, element: Json, answer: Any) -> str:
    if not answer:
        return "" if block.get("optional") else "Please complete this required field."
    if not isinstance(answer, str):
        return ""
    if len(answer) > element.get("max_length", 3000):
        return f"Please use at most {element.get('max_length', 3000)} characters."
    if len(answer) < element.get("min_length", 0):
        return f"Please use at least {element['min_length']} characters."
    form, sentence = FORMS.get(element["type"], ("(?s).*", ""))
    if not re.fullmatch(form, answer):
        return sentence
    if element["type"] == "number_input":
        return _number_complaint(element, answer)
    return ""


def _number_complaint(element: Json, answer: str) -> str:
    if "." in answer and not element["is_decimal_allowed"]:
        return "Please enter a whole number."
    if float(answer) < float(element.get("min_value", "-inf")):
        return f"Please enter a number of at least {element['min_value']}."
    if float(answer) > float(element.get("max_value", "inf")):
        return f"Please enter a number of at most {element['max_value']}."
    return ""


def action(surface: Json, action_id: str, value: Any, *, action_ts: str) -> Json:
    """The `actions[0]` of a click on this element, or of a choice in it; `value` is what was chosen.

    Among buttons with one id, `value` says which; a value that none of them has is sent as it is: a forged click.
    """
    mine = [(block, e) for block, e in elements(surface) if e.get("action_id") == action_id]
    if not mine:
        raise UnknownError(f"{surface.get('ts') or surface.get('id') or 'This'} has no button {action_id}.")
    exact = [(block, e) for block, e in mine if value is not None and e.get("value") == value]
    block, element = (exact or mine)[0]
    kind = element["type"]
    made: Json = {"action_id": action_id, "block_id": block["block_id"], "type": kind, "action_ts": action_ts}
    made |= {name: element[name] for name in ECHOED if name in element}
    if kind in ANSWERS:
        initial = ANSWERS[kind][1]
        return made | ({initial: element[initial]} if initial in element else {}) | _answer(element, value)
    if kind == "overflow":
        return made | {"selected_option": _option(element, value)}
    if kind == "feedback_buttons":
        return made | _feedback(element, value)
    return made if value is None else made | {"value": value}


def _feedback(element: Json, value: Any) -> Json:
    for button in (element["positive_button"], element["negative_button"]):
        if button["value"] == value:
            return {"value": value, "text": button["text"]}
    raise UnknownError(f"There is no button {value!r} in {_name(element)}.")
