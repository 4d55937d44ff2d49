"""When something is due: cron expressions in UTC, as the engine's scheduler reads them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

PERIODS = {timedelta(days=7): "weekly", timedelta(days=1): "daily", timedelta(hours=1): "hourly"}


def is_cron(expression: str) -> bool:
    """Whether this is a cron expression: five fields, or six with seconds at the beginning."""
    return bool(_croniter().is_valid(expression, second_at_beginning=True))


def last_due(expression: str, now: datetime) -> datetime:
    """The latest moment, not after `now`, at which it was due."""
    due: datetime = _croniter()(expression, now + timedelta(microseconds=1), second_at_beginning=True).get_prev(datetime)
    return due.astimezone(UTC)


def next_due(expression: str, now: datetime) -> datetime:
    """The first moment after `now` at which it is due."""
    due: datetime = _croniter()(expression, now, second_at_beginning=True).get_next(datetime)
    return due.astimezone(UTC)


def how_often(expression: str, now: datetime) -> str:
    """The schedule as people say it: "weekly"; "" if it has no such name."""
    dues = [now]
    for _ in range(4):
        dues.append(next_due(expression, dues[-1]))
    periods = {after - before for before, after in itertools.pairwise(dues[1:])}
    return PERIODS.get(periods.pop(), "") if len(periods) == 1 else ""


def _croniter() -> Any:
    from croniter import croniter  # only those who have a schedule pay for it

    return croniter
