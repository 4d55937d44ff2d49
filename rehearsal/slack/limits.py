"""Slack's rate limits: each method has its own, and posts have one per channel. More calls are refused with 429 and Retry-After.

https://docs.slack.dev/apis/web-api/rate-limits. How large a burst may be is not published; these are modest ones. Methods that
are not in the table are not limited, such as apps.connections.open: a bot that is killed on purpose opens many.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rehearsal.slack.errors import RefusedError


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Calls a minute, and how many of them may come at once after a pause."""

    per_minute: float
    burst: int
    per_channel: bool = False


TIER_2, TIER_3, TIER_4 = Limit(per_minute=20, burst=5), Limit(per_minute=50, burst=10), Limit(per_minute=100, burst=20)
TIERS = (
    (
        TIER_2,
        "pins.add pins.remove pins.list usergroups.list usergroups.users.list users.list reactions.remove canvases.create "
        "conversations.list conversations.create conversations.archive conversations.unarchive conversations.setTopic "
        "conversations.setPurpose bookmarks.add bookmarks.edit bookmarks.remove canvases.access.set",
    ),
    (
        TIER_3,
        "chat.update chat.delete conversations.history conversations.replies conversations.info conversations.open "
        "conversations.join conversations.leave conversations.invite conversations.kick reactions.add reactions.get "
        "users.getPresence users.lookupByEmail users.conversations bookmarks.list",
    ),
    (
        TIER_4,
        "chat.postEphemeral users.info conversations.members views.open views.push views.update views.publish blocks.validate"
        " files.getUploadURLExternal files.completeUploadExternal",
    ),
)
LIMITS = {name: tier for tier, names in TIERS for name in names.split()} | {
    "chat.postMessage": Limit(per_minute=60, burst=3, per_channel=True),
    "chat.getPermalink": Limit(per_minute=600, burst=100),  # "hundreds of requests a minute"
    "auth.test": Limit(per_minute=600, burst=100),
}


class Limits:
    """Counts the calls. At `speed` 1 the limits are Slack's own; at 25 a method takes 25 times as many calls."""

    def __init__(self, speed: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._now = now
        self._paid: dict[tuple[str, str], float] = {}  # until when the calls so far use up the limit

    def take(self, method: str, channel: str) -> None:
        """Count this call, or refuse it with `ratelimited`; a refused call is not counted."""
        limit = LIMITS.get(method)
        if limit is None:
            return
        key = method, channel if limit.per_channel else ""
        seconds_per_call = 60.0 / (limit.per_minute * self._speed)
        paid = max(self._paid.get(key, 0.0), self._now())
        wait = paid - self._now() - (limit.burst - 1) * seconds_per_call
        if wait > 1e-6:
            raise RefusedError("ratelimited", status=429, headers={"Retry-After": str(math.ceil(wait))})
        self._paid[key] = paid + seconds_per_call
