"""Tables as Slack checks them: `table`, and `data_table`, which sorts and filters."""

from __future__ import annotations

from typing import Any

from rehearsal.slack.checking import Checker
from rehearsal.slack.rich_text import is_rich_text

Json = dict[str, Any]
ALIGNS = frozenset({"left", "center", "right"})
MOST_COLUMNS = 20
MOST_ROWS = 100


def table(check: Checker, block: Json, at: str) -> None:
    """At most 100 rows of at most 20 cells; a cell is raw_text, raw_number or rich_text."""
    for number, row in enumerate(check.items(block, "rows", MOST_ROWS, at)):
        _row(check, row, f"{at}/rows/{number}")
    settings = block.get("column_settings")
    if settings is None:
        return
    for number, column in enumerate(check.items(block, "column_settings", MOST_COLUMNS, at)):
        where = f"{at}/column_settings/{number}"
        if column is None:
            continue  # null leaves a column as it is.
        if not isinstance(column, dict):
            check.say(where, "must be an object")
            continue
        check.only(column, "align is_wrapped", where)
        check.one_of(column, "align", ALIGNS, where)
        if not isinstance(column.get("is_wrapped", False), bool):
            check.say(f"{where}/is_wrapped", "must be a boolean")


def data_table(check: Checker, block: Json, at: str) -> None:
    """A header of plain cells and 1 to 100 rows of the same length, with a caption for those who can't see it."""
    check.words(block, "caption", 2000, at)
    check.between(block, "page_size", 1, 100, at)
    rows = check.items(block, "rows", MOST_ROWS + 1, at, least=2)
    for number, row in enumerate(rows):
        _row(check, row, f"{at}/rows/{number}")
    lists = [row for row in rows if isinstance(row, list)]
    if len({len(row) for row in lists}) > 1:
        check.say(f"{at}/rows", "every row must have the same number of cells")
    head = lists[0] if lists else []
    if any(isinstance(cell, dict) and cell.get("type") == "rich_text" for cell in head):
        check.say(f"{at}/rows/0", "a header must not have rich_text cells")
    check.between(block, "row_header_column_index", 0, max(0, len(head) - 1), at)


def _row(check: Checker, row: Any, at: str) -> None:
    if not isinstance(row, list) or not row:
        check.say(at, "must be an array of cells")
        return
    if len(row) > MOST_COLUMNS:
        check.say(at, f"no more than {MOST_COLUMNS} items allowed")
    for number, cell in enumerate(row):
        _cell(check, cell, f"{at}/{number}")


def _cell(check: Checker, cell: Any, at: str) -> None:
    kind = cell.get("type") if isinstance(cell, dict) else None
    if kind == "rich_text":
        is_rich_text(check, cell, at)
    elif kind == "raw_text":
        check.only(cell, "type text", at)
        check.words(cell, "text", 3000, at)
    elif kind == "raw_number":
        check.only(cell, "type value text", at)
        check.words(cell, "text", 3000, at)
        if not isinstance(cell.get("value"), int | float) or isinstance(cell.get("value"), bool):
            check.say(f"{at}/value", "must be a number")
    else:
        check.say(f"{at}/type", f"unsupported type: {kind}")
