"""The rehearsal checks Block Kit as strictly as Slack, and says what's wrong in Slack's words."""

from __future__ import annotations

import pytest

from rehearsal.slack.blocks import problems, view_problems
from tests.slack_samples import CARD, MODAL, Json


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"type": "marquee"}, "unsupported type"),
        ({"type": "section"}, "missing required field"),
        ({"type": "divider", "text": "x"}, "additional property"),
        ({"type": "context", "elements": []}, "no fewer than 1"),
        ({"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}, "no more than 10"),
        ({"type": "actions", "elements": CARD[2]["elements"] * 2}, "already exists"),
        ({"type": "actions", "elements": [CARD[2]["elements"][0] | {"style": "loud"}]}, "must be one of"),
        ({"type": "actions", "elements": [CARD[2]["elements"][0] | {"value": "v" * 2001}]}, "less than 2001"),
        ({"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}, "less than 2001"),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "must be one of: plain_text"),
        ({"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * 21]}, "no more than 20"),
        ({"type": "task_card", "task_id": "1", "title": "x", "status": "skipped"}, "must be one of"),
        ({"type": "image", "image_url": "https://example.com/x.png"}, "alt_text"),
        ({"type": "input", "label": {"type": "plain_text", "text": "x"}, "element": {"type": "button"}}, "unsupported"),
    ],
)
def test_a_faulty_block_is_named(block: Json, complaint: str) -> None:
    assert any(complaint in line for line in problems([block])), problems([block])


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def option(text: str) -> Json:
    return {"text": plain(text), "value": text}


def raw(text: str) -> Json:
    return {"type": "raw_text", "text": text}


def rich(*elements: Json) -> Json:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}


BUTTON = {"type": "button", "text": plain("Go"), "action_id": "go"}
CARD_BLOCK = {"type": "card", "title": mrkdwn("A"), "body": mrkdwn("b"), "actions": [BUTTON]}
TAKEN: list[Json] = [
    CARD_BLOCK,
    {"type": "carousel", "elements": [CARD_BLOCK]},
    {"type": "container", "title": plain("A"), "child_blocks": [{"type": "divider"}], "is_collapsible": True},
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "f",
                "positive_button": {"text": plain("Good"), "value": "+"},
                "negative_button": {"text": plain("Bad"), "value": "-"},
            }
        ],
    },
    {"type": "data_table", "caption": "Rows", "rows": [[raw("a")], [{"type": "raw_number", "value": 1, "text": "1"}]]},
    *(
        {"type": "actions", "elements": [{"action_id": "e", **element}]}
        for element in [
            {"type": "datepicker", "initial_date": "2025-01-15"},
            {"type": "timepicker", "initial_time": "10:30", "timezone": "Europe/Berlin"},
            {"type": "users_select", "initial_user": "U0BOB"},
            {"type": "channels_select"},
            {"type": "conversations_select", "filter": {"include": ["public"]}},
            {"type": "external_select", "min_query_length": 2},
            {"type": "multi_static_select", "options": [option("a")], "initial_options": [option("a")]},
            {"type": "static_select", "option_groups": [{"label": plain("One"), "options": [option("a")]}]},
        ]
    ),
    {"type": "table", "rows": [[raw("a"), rich({"type": "text", "text": "b"})]], "column_settings": [{"align": "right"}]},
]
REFUSED: list[tuple[Json, str]] = [
    ({"type": "table", "rows": [["a"]]}, "/blocks/0/rows/0/0/type"),
    ({"type": "table", "rows": [[raw("a")]], "column_settings": [{"align": "middle"}]}, "/column_settings/0/align"),
    (rich({"type": "blink", "text": "a"}), "/elements/0/elements/0/type"),
    (rich({"type": "text", "text": ""}), "missing required field: text"),
    ({"type": "plan", "title": plain("A"), "tasks": []}, "/blocks/0/title"),
    ({"type": "plan", "title": "A", "tasks": [{"type": "section", "text": mrkdwn("a")}]}, "/tasks/0/type"),
    ({"type": "actions", "elements": [BUTTON | {"url": "not an address"}]}, "valid URL"),
    ({"type": "image", "image_url": "ftp://a/b.png", "alt_text": "a"}, "valid URL"),
    (
        {"type": "actions", "elements": [{"type": "static_select", "options": [option("a") | {"text": mrkdwn("a")}]}]},
        "plain_text",
    ),
    ({"type": "actions", "elements": [{"type": "overflow", "options": [option("a") | {"style": "x"}]}]}, "additional"),
    ({"type": "data_table", "caption": "a", "rows": [[raw("a"), raw("b")], [raw("a")]]}, "same number of cells"),
    ({"type": "container", "child_blocks": [{"type": "divider"}]}, "title or rich_text_title"),
    ({"type": "actions", "elements": [{"type": "datepicker", "initial_date": "2025-02-30"}]}, "YYYY-MM-DD"),
    ({"type": "alert", "text": mrkdwn("a")}, "unsupported type: alert"),
]


@pytest.mark.parametrize("block", TAKEN, ids=[str(n) for n in range(len(TAKEN))])
def test_blocks_that_slack_has_are_taken(block: Json) -> None:
    assert problems([block]) == []


@pytest.mark.parametrize(("block", "complaint"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_blocks_that_slack_would_refuse_are_refused(block: Json, complaint: str) -> None:
    assert any(complaint in line for line in problems([block])), problems([block])


def test_a_block_for_messages_is_refused_in_a_home() -> None:
    home = {"type": "home", "blocks": [{"type": "table", "rows": [[raw("a")]]}]}
    assert view_problems(home) == ["[ERROR] unsupported type: table [json-pointer:/view/blocks/0/type]"]


def test_sound_blocks_are_taken() -> None:
    assert problems(CARD) == []
    assert problems([{"type": "divider"}] * 50) == []
    assert problems([{"type": "divider"}] * 51) == ["[ERROR] no more than 50 items allowed [json-pointer:/blocks]"]
    assert view_problems(MODAL) == []
    assert any(
        "24" in line or "25" in line for line in view_problems(MODAL | {"title": {"type": "plain_text", "text": "x" * 25}})
    )
    assert any("submit" in line for line in view_problems({n: v for n, v in MODAL.items() if n != "submit"}))
