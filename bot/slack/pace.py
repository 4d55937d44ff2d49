"""How fast Slack may be called. Each method has its own limit, and posts have one per channel, so each is a lane of its own.

https://docs.slack.dev/apis/web-api/rate-limits: Tier 2 is 20 calls a minute, Tier 3 is 50, Tier 4 is 100.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

Lane = tuple[str, str]  # a method, and the channel if the limit is per channel (else "")
BACK_OFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)  # while a lane gets no answer
UPLOAD_BACK_OFF_SECONDS = (1.0, 5.0, 15.0, 60.0, 120.0)  # nobody waits for a report, and it isn't tried for ever


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What Slack allows: calls a minute, and how many of them may come at once after a pause.

    `back_off` are the pauses while it gives no answer, the last one again and again.
    """

    per_minute: float
    burst: int = 1
    per_channel: bool = False
    back_off: tuple[float, ...] = BACK_OFF_SECONDS


LIMITS = {
    "chat.postMessage": Limit(per_minute=60, per_channel=True),
    "chat.update": Limit(per_minute=36, burst=4),
    "chat.postEphemeral": Limit(per_minute=100, burst=5),
    "pins.add": Limit(per_minute=20, burst=2),
    "conversations.history": Limit(per_minute=50, burst=5),
    "conversations.replies": Limit(per_minute=50, burst=5),
    "users.info": Limit(per_minute=100, burst=10),
    "files.completeUploadExternal": Limit(per_minute=50, burst=2, back_off=UPLOAD_BACK_OFF_SECONDS),
}


def lane_of(method: str, channel: str) -> Lane:
    """The lane in which a method is called for a channel."""
    return method, channel if LIMITS[method].per_channel else ""


class Pace:
    """When each lane may be used again. At `speed` 1 the limits are Slack's own; a rehearsal is faster."""

    def __init__(self, speed: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._now = now
        self._paid: dict[Lane, float] = {}  # until when the calls so far use up the limit
        self._paused: dict[Lane, float] = {}
        self._failures: Counter[Lane] = Counter()

    def wait(self, lane: Lane) -> float:
        """The seconds until the next call; 0 if it may be made now."""
        saved = (LIMITS[lane[0]].burst - 1) * self._seconds_per_call(lane)
        return max(0.0, self._paid.get(lane, 0.0) - saved - self._now(), self._paused.get(lane, 0.0) - self._now())

    def take(self, lane: Lane) -> None:
        """Count a call that is made now."""
        self._paid[lane] = max(self._paid.get(lane, 0.0), self._now()) + self._seconds_per_call(lane)

    async def turn(self, lane: Lane) -> None:
        """Count a call, and wait until it may be made; first come, first served."""
        wait = self.wait(lane)
        self.take(lane)
        await asyncio.sleep(wait)

    def pause(self, lane: Lane, seconds: float) -> None:
        """Keep this lane, and no other, idle."""
        self._paused[lane] = self._now() + seconds

    def back_off(self, lane: Lane) -> float:
        """Pause a lane that got no answer, longer each time; returns the seconds."""
        pauses = LIMITS[lane[0]].back_off
        seconds = pauses[min(self._failures[lane], len(pauses) - 1)]
        self._failures[lane] += 1
        self.pause(lane, seconds)
        return seconds

    def answered(self, lane: Lane) -> None:
        """Slack answers in this lane again: the next pause is a short one."""
        self._failures.pop(lane, None)

    def _seconds_per_call(self, lane: Lane) -> float:
        return 60.0 / (LIMITS[lane[0]].per_minute * self._speed)
