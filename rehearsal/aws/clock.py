"""Time in the rehearsal: real times, and AWS's waits divided by one labelled factor."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class Clock:
    """Waits for AWS seconds at the rehearsal's speed; the times it returns are real, in UTC.

    At a speed of 60, a deployment that takes AWS three minutes takes three seconds. The shortened time is never presented
    as AWS's: people read real seconds, with the speed beside them.
    """

    def __init__(self, speed: float = 60.0) -> None:
        if speed <= 0:
            raise ValueError(f"The speed of the rehearsal must be above 0, and is {speed}.")
        self.speed = speed

    def now(self) -> datetime:
        """The real time, in UTC."""
        return datetime.now(UTC)

    def real(self, aws_seconds: float) -> float:
        """The real seconds that stand for this many of AWS's."""
        return aws_seconds / self.speed

    async def wait(self, aws_seconds: float) -> None:
        """Wait for this many AWS seconds at this speed."""
        await asyncio.sleep(self.real(aws_seconds))
