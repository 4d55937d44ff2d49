"""The tail of a CloudWatch log group, polled: `aws logs tail` exists only in version 2 of AWS's command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from actions.aws.call import Call
from actions.scrub import scrub

if TYPE_CHECKING:
    from actions.world import World

MINUTES = 15
TROUBLE = re.compile(r"\b(error|fatal|panic|exception|traceback|refused|timed? ?out|too many)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One event of a log group."""

    id: str
    at: datetime
    stream: str
    message: str

    @property
    def troubled(self) -> bool:
        """Whether the line speaks of an error."""
        return TROUBLE.search(self.message) is not None


async def tail(world: World, group: str, region: str, *, minutes: int = MINUTES, at_most: int = 1000) -> tuple[LogLine, ...]:
    """The lines of the last minutes, oldest first, each once: CloudWatch repeats events across pages."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    parameters = {"logGroupName": group, "startTime": int(since.timestamp() * 1000)}
    call = Call(service="logs", operation="FilterLogEvents", region=region, parameters=parameters)
    by_id = {e["eventId"]: e for e in await world.aws.read_all(call, "events", at_most=at_most)}
    return await asyncio.to_thread(_lines, by_id.values())  # a thousand long lines take a moment to scrub


def _lines(events: Iterable[Mapping[str, Any]]) -> tuple[LogLine, ...]:
    lines = (
        LogLine(
            id=event["eventId"],
            at=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
            stream=scrub(event.get("logStreamName", "")),
            message=scrub(event.get("message", "").rstrip()),
        )
        for event in events
    )
    return tuple(sorted(lines, key=lambda line: (line.at, line.id)))
