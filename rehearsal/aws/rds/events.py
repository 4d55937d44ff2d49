"""The events of RDS: what happened to instances and snapshots, listed with AWS's windows and, if wanted, its lateness."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.wire import AwsError

KEPT = timedelta(days=14)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an event is about: its identifier, its kind ("db-instance" or "db-snapshot"), and its ARN."""

    name: str
    arn: str
    kind: str = "db-instance"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event: when it happened, what it says, its categories, and from when on it is listed."""

    at: datetime
    source: Source
    message: str
    categories: tuple[str, ...]
    listed_from: datetime


class Events:
    """The events of all regions; `lag` is how many AWS seconds late they are listed."""

    def __init__(self, clock: Clock, *, lag: float = 0.0) -> None:
        self.lag = lag
        self._clock = clock
        self._all: list[Event] = []

    def add(self, source: Source, message: str, *categories: str) -> None:
        """It happens now."""
        now = self._clock.now()
        late = timedelta(seconds=self._clock.real(self.lag))
        self._all.append(Event(at=now, source=source, message=message, categories=categories, listed_from=now + late))

    def listed(self, region: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer to DescribeEvents, oldest first; without StartTime only the last `Duration` minutes, 60 if unsaid.

        https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html
        """
        if params.get("SourceIdentifier") and not params.get("SourceType"):
            raise AwsError("InvalidParameterCombination", "SourceType must be supplied if SourceIdentifier is supplied.")
        begin, end = self._window(params)
        return [
            _view(event)
            for event in self._all
            if begin <= event.at <= end
            and event.listed_from <= self._clock.now()
            and f":{region}:" in event.source.arn
            and _wanted(event, params)
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


def _wanted(event: Event, params: dict[str, Any]) -> bool:
    categories = set(params.get("EventCategories") or ())
    return (
        params.get("SourceIdentifier", event.source.name).lower() == event.source.name
        and params.get("SourceType", event.source.kind) == event.source.kind
        and (not categories or bool(categories & set(event.categories)))
    )


def _view(event: Event) -> dict[str, Any]:
    return {
        "SourceIdentifier": event.source.name,
        "SourceType": event.source.kind,
        "SourceArn": event.source.arn,
        "Message": event.message,
        "EventCategories": list(event.categories),
        "Date": event.at,
    }


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
