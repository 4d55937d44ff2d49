"""The form in which a person picks what to plan instead of typing it: the scenario, and what of dr.toml it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from actions.site import Site
from actions.values import Json
from bot.slack import blocks
from bot.slack.blocks import Block
from commands.plan import spelled
from commands.report import REPORTS
from commands.scenario import SCENARIOS

CALLBACK = "dr_pick"
SCENARIO = "scenario"
ANY = "-"  # what stands for "the first of dr.toml"
FREE = {  # arguments that are typed, and what the field says
    "table": "Table, such as orders (only for a repair)",
    "run": "Run, such as abcdefgh (only for an undo)",
}
MOST_TYPED = 200


def pick_form(site: Site, channel: str) -> Json:
    """The form; its pickers hold what dr.toml names."""
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": channel,
        "title": blocks.plain("Plan a recovery"),
        "submit": blocks.plain("Make the plan"),
        "close": blocks.plain("Go back"),
        "blocks": [*_fields(site)],
    }


def picked(view: Mapping[str, Any]) -> str:
    """The words after `/dr` that a submitted form stands for. Raises `ValueError` if it names no scenario."""
    values = {name: _choice_in(field) for name, field in (view.get("state") or {}).get("values", {}).items()}
    words = values.get(SCENARIO, "")
    asked = SCENARIOS.get(words) or REPORTS.get(words)
    if asked is None:
        raise ValueError("Choose what to plan.")
    given = {name: value for name, value in values.items() if value and value != ANY and name in asked.parameters}
    return spelled(words, given)


def _fields(site: Site) -> Iterator[Block]:
    yield blocks.section("Nothing is done before a second person has approved the plan. Fields that don't apply are left out.")
    yield _select(SCENARIO, "What to plan", [*SCENARIOS, "backup status", "corruption scan"], needed=True)
    for name, known in (("service", site.services), ("database", site.databases)):
        if len(known) > 1:
            yield _select(name, name.capitalize(), known)
    if site.agents is not None:
        yield _select("only", "Agents", ("offline", "all"))
    for name, says in FREE.items():
        element = {"type": "plain_text_input", "action_id": name, "max_length": MOST_TYPED}
        yield {"type": "input", "block_id": name, "optional": True, "label": blocks.plain(says), "element": element}


def _select(name: str, label: str, known: Iterable[str], *, needed: bool = False) -> Block:
    options = [{"text": blocks.plain(one[:75]), "value": one[:150]} for one in known][:99]
    first = [] if needed else [{"text": blocks.plain("as dr.toml has it first"), "value": ANY}]
    element: Json = {"type": "static_select", "action_id": name, "options": [*first, *options]}
    element |= {} if needed else {"initial_option": first[0]}
    return {"type": "input", "block_id": name, "optional": not needed, "label": blocks.plain(label), "element": element}


def _choice_in(field: Any) -> str:
    """What was chosen or typed in a field of the form's state."""
    (state,) = field.values() if isinstance(field, Mapping) and len(field) == 1 else ({},)
    option = state.get("selected_option") or {}
    return str(option.get("value") or state.get("value") or "").strip()[:MOST_TYPED]
