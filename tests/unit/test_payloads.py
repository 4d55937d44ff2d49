"""What Slack sends becomes an item or a sentence about what is missing, whatever it is that arrives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.app import BUTTONS, MOST_REASON, MOST_TYPED, Malformed, read_click, read_command, read_form
from bot.state.approvals import Click
from bot.state.store import Item, Refusal

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
COMMAND: dict[str, Any] = {
    "command": "/dr",
    "text": "control-plane restart",
    "user_id": "U0ALICE",
    "channel_id": "C0INCIDENT",
    "trigger_id": "1.2.a0f3",
}
FORMS = {  # what a form carries about the choice, and the choice
    "C0INCIDENT|abcdefgh:stage1-1:nonce": "skip",  # of an earlier version
    "C0INCIDENT|abcdefgh:stage1-1:nonce|skip": "skip",
    "C0INCIDENT|abcdefgh:stage1-1:nonce|happened": "happened",
}
STRANGE = "\x00\x07\x1b\ud800\udfff"
strange = st.text(alphabet=f"ab1:.<{STRANGE}\n", max_size=40) | st.sampled_from(["x" * 5000, "U" * 41, ":" * 3000])
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40) | strange,
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
    """The item, which must be sound; None if the payload is malformed. Nothing else may be raised."""
    try:
        item = reader(body)
    except Malformed:
        return None
    assert item.kind in ("command", "click", "submit")
    assert 0 < len(item.id) <= 200
    assert 0 < len(item.person) <= 40
    assert 0 < len(item.channel) <= 40
    for text in (item.id, item.channel, item.person, *item.payload.values()):
        assert len(text) <= 3000
        assert not set(text) & set(STRANGE)
    return item


@given(st.dictionaries(st.text(max_size=12), json, max_size=6) | broken(COMMAND))
def test_a_command_is_an_item_or_malformed_whatever_arrives(body: dict[str, Any]) -> None:
    item = read(read_command, body)
    assert item is None or len(item.payload["text"]) <= MOST_TYPED


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


@pytest.mark.parametrize(
    ("text", "says"),
    [("a\x00b", "that nobody can type"), ("\ud800", "that nobody can type"), ("x" * 1001, "has 1001 characters")],
)
def test_a_command_that_nobody_can_have_typed_is_one_clear_sentence(text: str, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        read_command(COMMAND | {"text": text})


def test_what_people_type_is_recorded_without_secrets() -> None:
    assert read_command(COMMAND | {"text": "show xoxb-geheim"}).payload["text"] == "show ***"
    form = copy.deepcopy(FORM)
    form["view"]["state"]["values"]["reason"]["reason"]["value"] = "I used\npassword=geheim for it."
    assert read_form(form).payload["reason"] == "I used password=*** for it"


@pytest.mark.parametrize("value", ["nonsense", "a:b", "::", "a:b:\x00", "a:b:c:d", "a:b:c d", "a:b:" + "x" * 65, 7, None])
def test_a_button_with_another_value_than_ours_is_malformed(value: object) -> None:
    click = copy.deepcopy(CLICK)
    click["actions"][0]["value"] = value
    with pytest.raises(Malformed, match="I don't recognise this button"):
        read_click(click)


def test_a_reason_that_is_too_long_is_malformed_and_not_cut() -> None:
    form = copy.deepcopy(FORM)
    form["view"]["state"]["values"]["reason"]["reason"]["value"] = "x" * (MOST_REASON + 1)
    with pytest.raises(Malformed, match="The reason has 301 characters; give one of at most 300"):
        read_form(form)


def test_the_same_click_delivered_twice_is_the_same_item_and_two_clicks_are_two() -> None:
    later = copy.deepcopy(CLICK)
    later["actions"][0]["action_ts"] = "1736937000.000124"
    other = CLICK | {"user": {"id": "U0CAROL"}}
    assert read_click(CLICK).id == read_click(copy.deepcopy(CLICK)).id
    assert len({read_click(body).id for body in (CLICK, later, other)}) == 3


def test_a_form_carries_where_it_came_from_and_the_reason() -> None:
    item = read_form(FORM)
    assert (item.channel, item.person) == ("C0INCIDENT", "U0BOB")
    assert item.payload == {"value": "abcdefgh:stage1-1:nonce", "choice": "skip", "reason": "It answers again"}


@pytest.mark.parametrize("reason", ["", "  ", "ab", "...", None, 7])
def test_a_reason_that_says_nothing_is_malformed(reason: object) -> None:
    form = copy.deepcopy(FORM)
    form["view"]["state"]["values"]["reason"]["reason"]["value"] = reason
    with pytest.raises(Malformed, match="at least three characters"):
        read_form(form)


@pytest.mark.parametrize(("about", "choice"), FORMS.items())
def test_a_form_says_which_choice_its_reason_is_for(about: str, choice: str) -> None:
    body = copy.deepcopy(FORM)
    body["view"]["private_metadata"] = about
    assert read_form(body).payload["choice"] == choice


@pytest.mark.parametrize("choice", ["retry", "nothing", ""])
def test_a_form_for_a_choice_without_a_reason_is_refused(choice: str) -> None:
    body = copy.deepcopy(FORM)
    body["view"]["private_metadata"] = f"C0INCIDENT|abcdefgh:stage1-1:nonce|{choice}"
    with pytest.raises(Malformed):
        read_form(body)


def test_the_signs_that_slack_escapes_are_read_as_they_were_typed() -> None:
    body = {
        "user_id": "U0BOB",
        "channel_id": "C0INCIDENT",
        "trigger_id": "1.2.3",
        "text": "database a &amp; &lt;b&gt; &amp;lt; &eacute;",
    }
    assert read_command(body).payload["text"] == "database a & <b> &lt; &eacute;"
