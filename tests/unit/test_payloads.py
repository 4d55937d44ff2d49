"""What Slack sends becomes an item or a sentence about what is missing, whatever it is that arrives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app import BUTTONS, Malformed, read_click, read_form
from bot.approvals import Click
from bot.store import Item, Refusal

CLICK: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U0BOB"},
    "channel": {"id": "C0INCIDENT"},
    "trigger_id": "1.2.3",
    "actions": [{"action_id": "dr_approve", "value": "abcdefgh:plan:nonce", "action_ts": "1736937000.000123", "type": "button"}],
}
FORM: dict[str, Any] = {
    "type": "view_submission",
    "user": {"id": "U0BOB"},
    "view": {
        "id": "V0123",
        "callback_id": "dr_confirm",
        "private_metadata": "C0INCIDENT|abcdefgh:stage1-1:nonce",
        "state": {"values": {"reason": {"reason": {"type": "plain_text_input", "value": "It answers again."}}}},
    },
}
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a payload."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, inner in steps for way in [(*at, key), *paths(inner, (*at, key))]]


def broken(payload: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A payload in which some part is anything else."""

    def put(ways: list[tuple[Any, ...]], values: list[Any]) -> dict[str, Any]:
        body = copy.deepcopy(payload)
        for way, value in zip(ways, values, strict=False):
            inner = body
            with suppress(KeyError, IndexError, TypeError):
                for key in way[:-1]:
                    inner = inner[key]
                inner[way[-1]] = value
        return body

    ways = st.lists(st.sampled_from(paths(payload)), min_size=1, max_size=3)
    return st.builds(put, ways, st.lists(json, min_size=3, max_size=3))


def read(reader: Callable[[dict[str, Any]], Item], body: dict[str, Any]) -> Item | None:
    """The item, which must be sound; None where the payload is malformed. Nothing else may be raised."""
    try:
        item = reader(body)
    except Malformed:
        return None
    assert item.kind in ("click", "submit")
    assert 0 < len(item.id) <= 200
    assert item.person
    assert all(isinstance(text, str) and len(text) <= 3000 for text in (item.channel, item.person, *item.payload.values()))
    return item


@given(st.dictionaries(st.text(max_size=12), json, max_size=6) | broken(CLICK))
def test_a_click_is_an_item_or_malformed_whatever_arrives(body: dict[str, Any]) -> None:
    item = read(read_click, body)
    assert item is None or item.payload["action_id"] in BUTTONS


@given(st.dictionaries(st.text(max_size=12), json, max_size=6) | broken(FORM))
def test_a_form_is_an_item_or_malformed_whatever_arrives(body: dict[str, Any]) -> None:
    item = read(read_form, body)
    assert item is None or len(item.payload["reason"]) >= 3


@given(st.text(max_size=3000))
def test_a_buttons_value_is_read_or_refused_whatever_it_is(value: str) -> None:
    try:
        click = Click.from_value(value)
    except Refusal:
        return
    assert f"{click.run_id}:{click.question}:{click.nonce}" == value


def test_the_same_click_delivered_twice_is_the_same_item_and_two_clicks_are_two() -> None:
    later = copy.deepcopy(CLICK)
    later["actions"][0]["action_ts"] = "1736937000.000124"
    other = CLICK | {"user": {"id": "U0CAROL"}}
    assert read_click(CLICK).id == read_click(copy.deepcopy(CLICK)).id
    assert len({read_click(body).id for body in (CLICK, later, other)}) == 3


def test_a_form_carries_where_it_came_from_and_the_reason() -> None:
    item = read_form(FORM)
    assert (item.channel, item.person) == ("C0INCIDENT", "U0BOB")
    assert item.payload == {"value": "abcdefgh:stage1-1:nonce", "reason": "It answers again"}


@pytest.mark.parametrize("reason", ["", "  ", "ab", "...", None, 7])
def test_a_reason_that_is_none_is_malformed(reason: object) -> None:
    form = copy.deepcopy(FORM)
    form["view"]["state"]["values"]["reason"]["reason"]["value"] = reason
    with pytest.raises(Malformed, match="at least three characters"):
        read_form(form)
