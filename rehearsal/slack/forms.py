"""How people use forms and buttons: the state values of a modal, and the action of a click."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.slack.errors import UnknownError

Json = dict[str, Any]
SELECTED = {"datepicker": "date", "timepicker": "time", "datetimepicker": "date_time"}  # selected_..., and initial_...
CHOICES = ("static_select", "radio_buttons", "overflow")


def inputs(view: Json) -> Iterator[tuple[Json, Json]]:
    """Every input block of a view with its element."""
    for block in view["blocks"]:
        if block["type"] == "input":
            yield block, block["element"]


def state_values(view: Json, given: Json) -> Json:
    """The `view.state.values` of a submission: `{block_id: {action_id: {type, value…}}}`.

    `given` may have that form, or in short `{block_id or action_id: "what was typed or chosen"}`. Whatever isn't given
    keeps its initial value.
    """
    values: Json = {}
    for block, element in inputs(view):
        action_id = element.get("action_id", "")
        chosen = view["state"]["values"].get(block["block_id"], {}).get(action_id)
        answer = given.get(block["block_id"], given.get(action_id, chosen))
        if isinstance(answer, dict) and action_id in answer:
            answer = answer[action_id]
        values[block["block_id"]] = {action_id: _state(element, answer)}
    return values


def _state(element: Json, answer: Any) -> Json:
    kind = element["type"]
    if isinstance(answer, dict):
        return {"type": kind, **answer}
    if kind in CHOICES:
        chosen = _option(element, answer) if answer is not None else element.get("initial_option")
        return {"type": kind, "selected_option": chosen}
    if kind == "checkboxes":
        return {"type": kind, "selected_options": [_option(element, value) for value in answer or []]}
    if kind in SELECTED:
        picked = answer if answer is not None else element.get(f"initial_{SELECTED[kind]}")
        picked = int(picked) if picked and kind == "datetimepicker" else picked or None
        return {"type": kind, f"selected_{SELECTED[kind]}": picked}
    return {"type": kind, "value": (answer if answer is not None else element.get("initial_value")) or None}


def _option(element: Json, value: Any) -> Json:
    for option in element.get("options", []):
        if option["value"] == value:
            return {"text": option["text"], "value": option["value"]}
    raise UnknownError(f"There is no option {value!r} in {element.get('action_id', element['type'])}.")


def incomplete(view: Json, values: Json) -> dict[str, str]:
    """What Slack itself refuses before it sends a submission: `{block_id: sentence}`."""
    complaints: dict[str, str] = {}
    for block, element in inputs(view):
        state = values[block["block_id"]][element.get("action_id", "")]
        answer = next((v for name, v in state.items() if name != "type"), None)
        if not answer and not block.get("optional"):
            complaints[block["block_id"]] = "Please complete this required field."
        elif isinstance(answer, str) and len(answer) > element.get("max_length", 3000):
            complaints[block["block_id"]] = f"Please use at most {element.get('max_length', 3000)} characters."
        elif isinstance(answer, str) and len(answer) < element.get("min_length", 0):
            complaints[block["block_id"]] = f"Please use at least {element['min_length']} characters."
    return complaints


def elements(message: Json) -> Iterator[tuple[str, Json]]:
    """Every element of a message that a person can use, with the id of its block."""
    for block in message.get("blocks", []):
        if block["type"] == "actions":
            for element in block["elements"]:
                yield block["block_id"], element
        elif "accessory" in block:
            yield block["block_id"], block["accessory"]
        elif block["type"] == "input":
            yield block["block_id"], block["element"]


def chosen(view: Json, action_id: str, value: Any, *, action_ts: str) -> Json:
    """The `actions[0]` of a choice in a modal, which is sent only for elements that dispatch one; the view keeps the choice."""
    for block in view["blocks"]:
        found = [block["element"]] if block["type"] == "input" else block.get("elements", [block.get("accessory", {})])
        for element in found:
            if element.get("action_id") != action_id:
                continue
            state = _state(element, value) if element["type"] != "button" else {"type": "button", "value": element.get("value")}
            if element["type"] != "button":
                view["state"]["values"].setdefault(block["block_id"], {})[action_id] = state
            if block["type"] == "input" and not block.get("dispatch_action"):
                return {}
            first = {name: element[name] for name in element if name.startswith("initial_")}
            return {"action_id": action_id, "block_id": block["block_id"], **first, **state, "action_ts": action_ts}
    raise UnknownError(f"The view {view['id']} has no element {action_id}.")


def action(message: Json, action_id: str, value: str | None, *, action_ts: str) -> Json:
    """The `actions[0]` of a click on this element. A value that no element has is sent as it is: a forged click."""
    mine = [(block_id, e) for block_id, e in elements(message) if e.get("action_id") == action_id]
    if not mine:
        raise UnknownError(f"The message {message['ts']} has no button {action_id}.")
    exact = [(block_id, e) for block_id, e in mine if value is not None and e.get("value") == value]
    block_id, element = (exact or mine)[0]
    made: Json = {"action_id": action_id, "block_id": block_id, "type": element["type"], "action_ts": action_ts}
    if element["type"] in CHOICES:
        return made | {"selected_option": _option(element, value)}
    if element["type"] == "button":
        made["text"] = element["text"]
        made |= {name: element[name] for name in ("value", "style", "url", "confirm") if name in element}
    return made if value is None else made | {"value": value}
