"""CloudWatch Logs: what the rehearsal's programs wrote, by group and stream, with filters and pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehearsal.aws.clock import Clock
from rehearsal.aws.front import AwsError, Handler
from rehearsal.aws.patterns import pattern
from rehearsal.aws.sts import ACCOUNT

KEPT = 20_000  # events per group; the oldest are dropped, as a retention setting would


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of a stream: milliseconds since the epoch, and an id that's the same in every answer."""

    number: int
    stream: str
    timestamp: int
    message: str

    @property
    def event_id(self) -> str:
        """56 digits that sort by time, as CloudWatch's do."""
        return f"{self.timestamp:020d}{self.number:036d}"


class Logs:
    """The log groups of all regions."""

    def __init__(self, *, clock: Clock) -> None:
        self.clock = clock
        self._groups: dict[tuple[str, str], list[Event]] = {}
        self._count = 0

    def create(self, region: str, group: str) -> None:
        """Create an empty group unless it exists."""
        self._groups.setdefault((region, group), [])

    def put(self, region: str, group: str, stream: str, message: str, at: datetime | None = None) -> None:
        """Add a line to a stream; its first line creates the stream and the group."""
        moment = at or self.clock.now()
        self._count += 1
        event = Event(number=self._count, stream=stream, timestamp=int(moment.timestamp() * 1000), message=message.rstrip("\n"))
        events = self._groups.setdefault((region, group), [])
        events.append(event)
        del events[:-KEPT]

    def lines(self, region: str, group: str) -> list[str]:
        """All messages of a group, oldest first."""
        return [event.message for event in self._groups.get((region, group), [])]

    def handlers(self) -> dict[str, Handler]:
        """For `Front.add("logs", ...)`."""
        return {
            "FilterLogEvents": self._filter,
            "DescribeLogStreams": self._streams,
            "GetLogEvents": self._get,
            "DescribeLogGroups": self._describe_groups,
        }

    def _events(self, region: str, params: dict[str, Any]) -> list[Event]:
        group = params.get("logGroupName") or params.get("logGroupIdentifier", "").split(":log-group:")[-1].rstrip(":*")
        if (region, group) not in self._groups:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return sorted(self._groups[region, group], key=lambda event: (event.timestamp, event.number))

    def _filter(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        matches = pattern(params.get("filterPattern", ""))
        start, end = params.get("startTime", 0), params.get("endTime", 2**63)
        after = _number(params.get("nextToken"))
        names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix", "")
        if names and prefix:
            raise AwsError("InvalidParameterException", "logStreamNames and logStreamNamePrefix cannot be used together.")
        events = self._events(region, params)
        if set(names or ()) - {event.stream for event in events}:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        found = [
            event
            for event in events
            if start <= event.timestamp <= end
            and (event.timestamp, event.number) > after
            and (not names or event.stream in names)
            and event.stream.startswith(prefix)
            and matches(event.message)
        ]
        limit = params.get("limit", 10_000)
        answer: dict[str, Any] = {"events": [_filtered_event(event) for event in found[:limit]], "searchedLogStreams": []}
        if len(found) > limit:
            last = found[limit - 1]
            answer["nextToken"] = f"f/{last.timestamp}/{last.number}"
        return answer

    def _streams(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        events = self._events(region, params)
        by_time = params.get("orderBy") == "LastEventTime"
        if by_time and params.get("logStreamNamePrefix"):
            raise AwsError("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
        group = params.get("logGroupName", "")
        by_stream: dict[str, list[Event]] = {}
        for event in events:
            by_stream.setdefault(event.stream, []).append(event)
        key = (lambda item: item[1][-1].timestamp) if by_time else lambda item: item[0]
        chosen = [item for item in by_stream.items() if item[0].startswith(params.get("logStreamNamePrefix", ""))]
        ordered = sorted(chosen, key=key, reverse=params.get("descending", False))
        streams = [_stream_view(region, group, name, events) for name, events in ordered]
        return _page("logStreams", streams, params)

    def _get(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        start, end = params.get("startTime", 0), params.get("endTime", 2**63)
        after = _number(params.get("nextToken"))
        events = [event for event in self._events(region, params) if event.stream == params["logStreamName"]]
        if not events:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        found = [event for event in events if start <= event.timestamp < end and (event.timestamp, event.number) > after]
        limit = params.get("limit", 10_000)
        page = found[:limit] if params.get("startFromHead") or after > (0, 0) else found[-limit:]
        last = (page[-1].timestamp, page[-1].number) if page else after
        token = f"f/{last[0]}/{last[1]}"
        shown = [{"timestamp": e.timestamp, "message": e.message, "ingestionTime": e.timestamp} for e in page]
        return {"events": shown, "nextForwardToken": token, "nextBackwardToken": f"b/{last[0]}/{last[1]}"}

    def _describe_groups(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        prefix = params.get("logGroupNamePrefix", "")
        names = sorted(group for where, group in self._groups if where == region and group.startswith(prefix))
        return _page("logGroups", [{"logGroupName": name, "arn": _group_arn(region, name)} for name in names], params)


def _number(token: str | None) -> tuple[int, int]:
    if token is None:
        return (0, 0)
    try:
        _, timestamp, number = token.split("/")
        return int(timestamp), int(number)
    except ValueError:
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.") from None


def _page(key: str, things: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
    """One page of at most 50 descriptions, with the token of the next if there is one."""
    limit, token = params.get("limit", 50), params.get("nextToken", "0")
    if not token.isdigit() or int(token) > len(things):
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    first = int(token)
    answer: dict[str, Any] = {key: things[first : first + limit]}
    return answer | ({"nextToken": str(first + limit)} if first + limit < len(things) else {})


def _filtered_event(event: Event) -> dict[str, Any]:
    return {
        "logStreamName": event.stream,
        "timestamp": event.timestamp,
        "message": event.message,
        "ingestionTime": event.timestamp,
        "eventId": event.event_id,
    }


def _stream_view(region: str, group: str, name: str, events: list[Event]) -> dict[str, Any]:
    return {
        "logStreamName": name,
        "creationTime": events[0].timestamp,
        "firstEventTimestamp": events[0].timestamp,
        "lastEventTimestamp": events[-1].timestamp,
        "lastIngestionTime": events[-1].timestamp,
        "arn": f"{_group_arn(region, group)}:log-stream:{name}",
    }


def _group_arn(region: str, group: str) -> str:
    return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}"
