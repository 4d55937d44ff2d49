"""Time in the rehearsal: real moments, and AWS's slowness divided by one labelled factor."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class Clock:
    """Waits AWS seconds at the rehearsal's speed; the moments it tells are real ones, in UTC.

    A speed of 60 makes a deployment that takes AWS three minutes take three seconds. Nothing presents the
    shortened time as AWS's: people read elapsed real seconds with the speed beside them.
    """

    def __init__(self, speed: float = 60.0) -> None:
        if speed <= 0:
            raise ValueError(f"The speed of the rehearsal must be above 0, and is {speed}.")
        self.speed = speed

    def now(self) -> datetime:
        """The real moment, in UTC."""
        return datetime.now(UTC)

    def real(self, aws_seconds: float) -> float:
        """How many real seconds stand for so many of AWS's."""
        return aws_seconds / self.speed

    async def wait(self, aws_seconds: float) -> None:
        """Returns when so many AWS seconds have gone by at this speed."""
        await asyncio.sleep(self.real(aws_seconds))
