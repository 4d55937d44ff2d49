"""Facts: read concurrently, each with its source and time. A source that does not answer is a fact too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from actions.base import ActionError, Finding, warn

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Fact(Generic[T]):
    """Something observed. `value` is None where the source did not answer, and `error` then says why in a sentence."""

    source: str
    at: datetime
    value: T | None = None
    error: str = ""

    @property
    def known(self) -> bool:
        """Whether the source answered."""
        return not self.error

    def missing(self) -> Finding:
        """The finding for a source that did not answer."""
        return warn(f"{self.source} did not answer, so this plan does without it.", evidence=self.error)


async def read(source: str, question: Awaitable[T], *, timeout: float = 12.0) -> Fact[T]:
    """Ask one source; never raises for an expected failure: a plan must come out of a disaster."""
    try:
        async with asyncio.timeout(timeout):
            value = await question
    except TimeoutError:
        return Fact(source=source, at=_now(), error=f"{source} gave no answer within {timeout:g} s.")
    except ActionError as error:
        return Fact(source=source, at=_now(), error=str(error))
    return Fact(source=source, at=_now(), value=value)


def unanswered(facts: Mapping[str, Fact[object]]) -> tuple[Finding, ...]:
    """A finding for each source that did not answer."""
    return tuple(fact.missing() for fact in facts.values() if not fact.known)


def _now() -> datetime:
    return datetime.now(UTC)
