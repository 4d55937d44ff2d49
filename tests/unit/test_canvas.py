"""What a report becomes as a canvas: no table is too long for Slack, no line is lost, and nothing mentions anybody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.slack.canvas import MOST_CELLS, canvas_text

HEAD = ["| step | what | outcome | took |", "|---|---|---|---|"]
ROW = "| 1.1 | End sessions | done: 24 of 24 have ended. | 4 s |"


def test_a_report_with_short_tables_stays_as_it_is() -> None:
    report = "\n".join(["# Done", "", *HEAD, ROW, "", "- 10:31:02 The end.", ""])
    assert canvas_text(report) == report


def test_a_table_with_too_many_cells_becomes_a_list_without_losing_a_line() -> None:
    report = "\n".join(["# Done", "", *HEAD, *[ROW] * 500, "", "after"])
    lines = canvas_text(report).splitlines()
    assert lines == [
        "# Done",
        "",
        "- step, what, outcome, took",
        *["- 1.1, End sessions, done: 24 of 24 have ended., 4 s"] * 500,
        "",
        "after",
    ]


@given(st.text(max_size=80), st.integers(1, 200))
def test_nothing_in_a_canvas_mentions_anybody_and_no_table_is_too_long(says: str, rows: int) -> None:
    cell = " ".join(says.split()).replace("|", "\\|")
    report = "\n".join([f"{says}![](@U0BOB)", *HEAD, *[f"| 1.1 | ![](@U0BOB) | {cell} | 4 s |"] * rows])
    text = canvas_text(report)
    assert "![](" not in text
    assert text.count("U0BOB") == rows + 1
    tables = [line for line in text.splitlines() if line.startswith("| 1.1")]
    assert len(tables) * 4 <= MOST_CELLS
