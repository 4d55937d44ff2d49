"""What the question about a restored copy says of its rows: nothing is claimed that was not counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actions.base import Level
from actions.db import restored
from actions.db.restored import TakeOver
from actions.site import DatabaseRef

OLD = DatabaseRef(name="primary", instance="prod", region="us-west-2", dsn_env="DATABASE_URL")
COPY = DatabaseRef(name="primary", instance="prod-restored", region="us-west-2", dsn_env="DATABASE_URL")
NEWEST = datetime(2026, 1, 15, 10, 17, 59, tzinfo=UTC)


def holds(counts: dict[str, int | None], *more: str, newest: datetime | None = NEWEST) -> Any:
    return restored._Rows(names=frozenset([*counts, *more]), counts=counts, newest=newest)


def said(copy: Any, present: Any) -> list[tuple[Level, str]]:
    return [(finding.level, finding.says) for finding in restored._compared(copy, present)]


@pytest.mark.parametrize(
    ("copy", "present", "says"),
    [
        (holds({"a": 3}), holds({"a": 5}), "a: 3 rows in the copy, 2 rows fewer than in the present database."),
        (holds({"a": 1}), holds({"a": 0}), "a: 1 row in the copy, 1 row more than in the present database."),
        (holds({"a": None}), holds({"a": 5}), "a: not counted in the copy, 5 rows in the present database."),
        (holds({"a": 3}), holds({"a": None}), "a: 3 rows in the copy, not counted in the present database."),
        (holds({"a": 3}), holds({}, "a"), "a: 3 rows in the copy, not counted in the present database."),
        (holds({"a": 3}), holds({}), "a: 3 rows in the copy. The present database has no such table."),
        (holds({}), holds({}, "a"), "a is not in the copy."),
        (holds({}, "a"), holds({"a": 3}), "1 smaller table was not counted."),
    ],
)
def test_a_table_that_differs_is_to_be_weighed(copy: Any, present: Any, says: str) -> None:
    assert said(copy, present) == [(Level.WARN, says)]


def test_tables_that_agree_are_one_line_after_those_that_differ() -> None:
    lines = said(holds({"a": 3, "b": 0, "c": 7}), holds({"a": 3, "b": 0, "c": 8}))
    assert [level for level, _ in lines] == [Level.WARN, Level.OK]
    assert lines[1][1] == "2 tables hold as many rows as in the present database."


def test_the_newest_commit_is_told_or_said_to_be_unknown() -> None:
    asks = TakeOver(database=COPY, replaces=OLD, at="2026-01-15T10:18:00.250000Z")
    (known,), (unknown,) = restored._newest(asks, holds({})), restored._newest(asks, holds({}, newest=None))
    assert known.says.startswith(
        "It was restored to 2026-01-15 10:18:00 UTC, and its newest commit is of 2026-01-15 10:17:59 UTC."
    )
    assert (known.level, unknown.level) == (Level.OK, Level.WARN)


def test_a_shown_line_says_to_which_host_it_goes() -> None:
    for step in (restored.Recovered(database=COPY), restored.TakesWrites(database=COPY)):
        assert step.command().startswith('psql "$DATABASE_URL" -c ')
        assert step.command().endswith("  # with host and port of prod-restored")
