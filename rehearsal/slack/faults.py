"""Faults of Slack itself, on purpose: away, rate limited, slow, an answer lost after the effect."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rehearsal.slack.errors import RefusedError, UnknownError
from rehearsal.slack.journal import Journal
from rehearsal.slack.sockets import Sockets


@dataclass(kw_only=True)
class Pending:
    """A fault waiting for its next `times` calls of `method`, in `channel` ("*" is any)."""

    method: str
    times: int
    amount: float = 0.0
    channel: str = "*"

    def meets(self, method: str, channel: str = "*") -> bool:
        """Whether the fault hits this call; if so, one of its times is used up."""
        if self.times <= 0 or self.method not in ("*", method) or self.channel not in ("*", channel):
            return False
        self.times -= 1
        return True


class Faults:
    """The faults of the workspace. The journal records each one."""

    def __init__(self, journal: Journal, sockets: Sockets) -> None:
        self._journal = journal
        self._sockets = sockets
        self._away_until = 0.0
        self._limits: list[Pending] = []
        self._lost: list[Pending] = []
        self._slow: list[Pending] = []
        self.refused_blocks: set[str] = set()

    @property
    def away(self) -> bool:
        """Whether Slack is away at the moment."""
        return time.monotonic() < self._away_until

    def outage(self, seconds: float) -> None:
        """Slack is away for so many seconds: every connection is dropped, and no request is answered."""
        self._tell("outage", seconds=seconds)
        self._away_until = time.monotonic() + seconds
        self._sockets.reset()

    def recover(self) -> None:
        """End an outage now, and forget every fault that hasn't hit a call yet."""
        self._tell("recover")
        self._away_until = 0.0
        for pending in (self._limits, self._lost, self._slow, self.refused_blocks):
            pending.clear()

    def rate_limit(self, method: str, times: int = 1, retry_after: int = 1, channel: str = "*") -> None:
        """The next calls of this method (in this channel) are answered with 429 and `Retry-After`."""
        self._tell("rate_limit", method=method, times=times, retry_after=retry_after, channel=channel)
        self._limits.append(Pending(method=method, times=times, amount=retry_after, channel=channel))

    def lose_answer(self, method: str, times: int = 1) -> None:
        """The next calls of this method take effect, but the connection drops without an answer."""
        self._tell("lose_answer", method=method, times=times)
        self._lost.append(Pending(method=method, times=times))

    def slow(self, method: str, seconds: float, times: int = 1) -> None:
        """The next calls of this method are answered only after `seconds`."""
        self._tell("slow", method=method, seconds=seconds, times=times)
        self._slow.append(Pending(method=method, times=times, amount=seconds))

    def refuse_blocks(self, kind: str) -> None:
        """From now on blocks of this type are refused with `invalid_blocks`, as by a workspace that doesn't have them yet."""
        self._tell("refuse_blocks", blocks=kind)
        self.refused_blocks.add(kind)

    def duplicate_next_envelope(self) -> None:
        """The next envelope is delivered twice, with the same envelope_id."""
        self._tell("duplicate_next_envelope")
        self._sockets.duplicate_next = True

    def reset_sockets(self) -> None:
        """Every Socket Mode connection is reset, without being closed properly."""
        self._tell("reset_sockets")
        self._sockets.reset()

    def put(self, kind: str, **parameters: Any) -> None:
        """Cause the fault of this name; an unknown name or parameter is refused with a sentence."""
        kinds: dict[str, Callable[..., None]] = {
            "outage": self.outage,
            "recover": self.recover,
            "rate_limit": self.rate_limit,
            "lose_answer": self.lose_answer,
            "slow": self.slow,
            "refuse_blocks": self.refuse_blocks,
            "duplicate_next_envelope": self.duplicate_next_envelope,
            "reset_sockets": self.reset_sockets,
        }
        if kind not in kinds:
            raise UnknownError(f"There is no fault {kind!r}; there are: {', '.join(kinds)}.")
        try:
            kinds[kind](**parameters)
        except TypeError as error:
            raise UnknownError(f"The fault {kind} can't be caused like that: {error}.") from error

    def limit(self, method: str, channel: str) -> None:
        """Refuse this call with `ratelimited` if there is such a fault."""
        for pending in self._limits:
            if pending.meets(method, channel):
                after = str(math.ceil(pending.amount))
                raise RefusedError("ratelimited", status=429, headers={"Retry-After": after})

    async def delay(self, method: str) -> None:
        """Delay this call if there is such a fault."""
        for pending in self._slow:
            if pending.meets(method):
                await asyncio.sleep(pending.amount)

    def loses(self, method: str) -> bool:
        """Whether the answer to this call gets lost."""
        return any(pending.meets(method) for pending in self._lost)

    def _tell(self, kind: str, **parameters: Any) -> None:
        self._journal.note("fault", fault=kind, **parameters)
        self._journal.changed("fault", fault=kind)
