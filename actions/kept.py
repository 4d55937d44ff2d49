"""What was kept of the world while all was well: a disaster takes away the sources that would tell us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from actions.values import Json


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Facts under a name, as they were read at a moment."""

    name: str
    at: datetime
    facts: Mapping[str, Json]

    @property
    def age(self) -> float:
        """Seconds since they were read."""
        return max((datetime.now(UTC) - self.at).total_seconds(), 0.0)
