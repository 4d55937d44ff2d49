"""Moments as people type them: "2026-11-26T10:30Z", "10:30", "5m ago"; all in UTC unless they say otherwise."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from commands.scenario import BadCommand

UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours"}
BEFORE = "Write it in UTC: `time=2026-01-15T10:30:00`, `time=10:30`, or how long ago: `time=5m`"
EXPECTED = "Write it in UTC: `time=2026-01-15T10:30:00`, `time=10:30`, how long ago (`time=5m`), or `time=latest`"
_AGO = re.compile(r"(\d{1,6})\s*(s|min|m|h)(?: ago)?")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?Z?")


def moment(text: str, now: datetime, expected: str = EXPECTED) -> datetime:
    """The moment that a person means, in UTC. A time of day is the latest one that has passed.

    Raises `BadCommand`, which says what is expected.
    """
    text = " ".join(text.split())
    if ago := _AGO.fullmatch(text):
        return (now - timedelta(**{UNITS[ago[2]]: int(ago[1])})).replace(microsecond=0)
    if clock := _CLOCK.fullmatch(text):
        today = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
        return today if today <= now else today - timedelta(days=1)
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or len(text) < len("2026-01-15T10:30"):
        raise BadCommand(f"{text!r} is not a time that I can read. {expected}.")
    return at


def iso(at: datetime) -> str:
    """The moment as commands and requests have it: "2026-01-15T10:30:00Z"."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def clock(at: datetime) -> str:
    """The moment as sentences have it: "2026-01-15 10:30:00 UTC"."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def stamp(at: datetime) -> str:
    """The moment as a part of a name: "20260115-103000"."""
    return f"{at.astimezone(UTC):%Y%m%d-%H%M%S}"


def ago(at: datetime, now: datetime) -> str:
    """How long ago that was, as a person says it: "40 s", "12 min", "3.5 h", "2.1 days"."""
    seconds = max((now - at).total_seconds(), 0.0)
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if size < 3600 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
