"""What the question about a restored copy says of its rows: nothing is claimed that was not compared."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actions.db import take_over
from actions.db.beside import Beside
from actions.db.restored import Recovered, TakesWrites
from actions.site import DatabaseRef
from actions.values import Level

COPY = DatabaseRef(name="primary", instance="prod-restored", region="us-west-2", dsn_env="DATABASE_URL")
AT = datetime(2026, 1, 15, 10, 18, 0, 250_000, tzinfo=UTC)
UNCOUNTED = "How many are given up and come back could not be counted."


def table(name: str = "a", copy: int | None = 3, present: int | None = 3, **other: Any) -> Beside:
    return Beside(name=name, copy=copy, present=present, **other)


def said(*found: Beside) -> list[tuple[Level, str]]:
    return [(finding.level, finding.says) for finding in take_over.told(found)]


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (table(given_up=2), "a: 2 rows added since are given up."),
        (
            table(given_up=1, back=1, changed=1),
            "a: 1 row added since is given up, 1 row deleted since comes back, 1 row changed since gets its earlier contents.",
        ),
        (table(back=304, changed=2), "a: 304 rows deleted since come back, 2 rows changed since get their earlier contents."),
        (table(columns="only the copy has b text"), "a: the rows agree in the columns that both databases have."),
        (table(why_not="Slow."), f"a: 3 rows in both, but that doesn't mean the same rows. {UNCOUNTED}"),
        (table(copy=5, why_not="Slow."), f"a: 5 rows in the copy, 2 more than in the present database. {UNCOUNTED}"),
        (table(copy=None, why_not="Slow."), f"a: not counted in the copy, 3 rows in the present database. {UNCOUNTED}"),
        (table(present=None, in_present=False), "a comes back, with 3 rows: the present database has no such table."),
        (table(copy=None, present=1, in_copy=False), "a was made since and is given up, with 1 row."),
        (table(copy=None, present=None, in_copy=False), "a was made since and is given up, and its rows could not be counted."),
    ],
)
def test_a_table_that_differs_or_was_not_compared_is_to_be_weighed(one: Beside, says: str) -> None:
    assert said(one) == [(Level.WARN, says)]


def test_tables_that_agree_are_one_line_after_those_that_differ() -> None:
    assert said(table("a"), table("b", 0, 0), table("c", back=1)) == [
        (Level.WARN, "c: 1 row deleted since comes back."),
        (Level.OK, "2 tables hold the same rows with the same contents as in the present database."),
    ]


def test_tables_with_the_most_rows_to_lose_come_first() -> None:
    found = said(table("a", changed=1), table("c", back=4), table("b", given_up=4), table("d", why_not="Slow."))
    assert [says.partition(":")[0] for _, says in found] == ["b", "c", "a", "d"]


def test_the_loss_of_all_tables_is_said_in_one_sentence() -> None:
    whole = [table("a", given_up=90, back=304, changed=3), table("b", copy=None, in_copy=False), table("c")]
    finding = take_over.loss(whole)
    assert (finding.level, finding.says) == (
        Level.WARN,
        "A Yes gives up 93 rows added since, and brings back 304 rows deleted since. "
        "3 rows changed since get their earlier contents.",
    )


def test_a_loss_that_is_not_all_counted_says_so() -> None:
    finding = take_over.loss([table("a", given_up=1), table("b", why_not="Slow."), table("c", None, None, in_copy=False)])
    assert finding.says.endswith("brings back no row deleted since. That is not all: 2 tables could not be compared.")
    assert finding.evidence == "b, c"


def test_no_loss_is_claimed_only_of_what_was_compared() -> None:
    finding = take_over.loss([table("a"), table("b")])
    assert (finding.level, finding.says) == (
        Level.OK,
        "In no table that was compared has a row been added, deleted or changed.",
    )
    assert take_over.loss([table("a"), table("b", why_not="Slow.")]).level is Level.WARN


def test_the_newest_commit_is_told_or_said_to_be_unknown() -> None:
    known = take_over.newest_commit(AT, datetime(2026, 1, 15, 10, 17, 59, tzinfo=UTC))
    unknown = take_over.newest_commit(AT, None)
    assert known.says.startswith(
        "It was restored to 2026-01-15 10:18:00 UTC, and its newest commit is from 2026-01-15 10:17:59 UTC."
    )
    assert (known.level, unknown.level) == (Level.OK, Level.WARN)


def test_a_shown_line_says_to_which_host_it_goes() -> None:
    for step in (Recovered(database=COPY), TakesWrites(database=COPY)):
        assert step.command().startswith('psql "$DATABASE_URL" -c ')
        assert step.command().endswith("  # with host and port of prod-restored")
