"""The events of RDS: what happened to an instance, with AWS's time windows and, if wanted, its delay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import AwsError

KEPT = timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event: when it happened, its message and categories, and when RDS begins to list it."""

    at: datetime
    message: str
    categories: tuple[str, ...]
    listed_from: datetime


class Events:
    """The events of one instance. `lag` is how many AWS seconds late RDS lists them."""

    def __init__(self, clock: Clock, *, source: str, arn: str, lag: float = 0.0) -> None:
        self.lag = lag
        self._clock = clock
        self._source = source
        self._arn = arn
        self._all: list[Event] = []

    def add(self, message: str, *categories: str) -> None:
        """Add an event that happens now."""
        now = self._clock.now()
        late = timedelta(seconds=self._clock.real(self.lag))
        self._all.append(Event(at=now, message=message, categories=categories, listed_from=now + late))

    def listed(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer to DescribeEvents, oldest first; without StartTime only the last `Duration` minutes, by default 60.

        https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html
        """
        if params.get("SourceIdentifier") and not params.get("SourceType"):
            raise AwsError("InvalidParameterCombination", "SourceType must be supplied if SourceIdentifier is supplied.")
        begin, end = self._window(params)
        categories = set(params.get("EventCategories") or ())
        if params.get("SourceIdentifier", self._source) != self._source:
            return []
        if params.get("SourceType", "db-instance") != "db-instance":
            return []
        return [
            self._view(event)
            for event in self._all
            if begin <= event.at <= end
            and event.listed_from <= self._clock.now()
            and (not categories or categories & set(event.categories))
        ]

    def _window(self, params: dict[str, Any]) -> tuple[datetime, datetime]:
        now = self._clock.now()
        end = _aware(params["EndTime"]) if params.get("EndTime") else now
        duration = timedelta(minutes=params.get("Duration") or 60)
        begin = _aware(params["StartTime"]) if params.get("StartTime") else end - duration
        if begin > end:
            raise AwsError("InvalidParameterValue", "The StartTime must be before the EndTime.")
        if params.get("StartTime") and params.get("Duration") and not params.get("EndTime"):
            end = min(now, begin + duration)
        return max(begin, now - KEPT), end

    def _view(self, event: Event) -> dict[str, Any]:
        return {
            "SourceIdentifier": self._source,
            "SourceType": "db-instance",
            "SourceArn": self._arn,
            "Message": event.message,
            "EventCategories": list(event.categories),
            "Date": event.at,
        }


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
