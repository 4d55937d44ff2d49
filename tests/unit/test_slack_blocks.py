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


def test_sound_blocks_are_taken() -> None:
    assert problems(CARD) == []
    assert problems([{"type": "divider"}] * 50) == []
    assert problems([{"type": "divider"}] * 51) == ["[ERROR] no more than 50 items allowed [json-pointer:/blocks]"]
    assert view_problems(MODAL) == []
    assert any(
        "24" in line or "25" in line for line in view_problems(MODAL | {"title": {"type": "plain_text", "text": "x" * 25}})
    )
    assert any("submit" in line for line in view_problems({n: v for n, v in MODAL.items() if n != "submit"}))
