"""The trend of verifications: a picture of whatever happened, whose title counts what went well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.slack.trend_picture import trend_picture, trend_title
from commands.memory import PastRun

FIRST = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)


def past(*restores: tuple[str, float | None]) -> list[PastRun]:
    """Weekly verifications: how each ended, and the seconds of its restore."""
    return [
        PastRun(
            id=f"run{week:05d}",
            scenario="backup verify",
            state=state,
            says="",
            approved=FIRST + timedelta(weeks=week),
            ended=FIRST + timedelta(weeks=week, hours=1),
            target="backups of database $prod^{",
            restore_seconds=seconds,
        )
        for week, (state, seconds) in enumerate(restores)
    ]


@pytest.mark.parametrize(
    "restores",
    [
        [("done", 720.0), ("done", 900.0), ("failed", None), ("done", 2400.0)],
        [("failed", None), ("failed", None)],
        [("done", 0.5), ("failed", 3.0)],
        [("done", 600.0)] * 20,
    ],
)
def test_any_past_has_a_picture(restores: list[tuple[str, float | None]]) -> None:
    assert trend_picture(past(*restores), 30).startswith(b"\x89PNG")


def test_the_title_counts_what_went_well() -> None:
    title = trend_title(past(("done", 720.0), ("failed", None), ("done", 1.0)))
    assert title == r"Verifications of backups of database \$prod^{ (UTC): 2 of the last 3 went well"
