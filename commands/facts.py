"""Facts: read concurrently, each with its source and time. A source that cannot be read is a fact too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog

from actions.base import ActionError, Finding, warn
from actions.scrub import unexpected

log = structlog.get_logger(__name__)
UNREAD = "could not be read"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Fact(Generic[T]):
    """Something observed. `value` is None where the source could not be read, and `error` then says why in a sentence."""

    source: str
    at: datetime
    value: T | None = None
    error: str = ""

    @property
    def known(self) -> bool:
        """Whether the source answered."""
        return not self.error

    def missing(self) -> Finding:
        """The finding for a source that could not be read."""
        return warn(f"{self.source} {UNREAD}, so this plan does without it.", evidence=self.error)


async def read(source: str, question: Awaitable[T], *, timeout: float = 12.0) -> Fact[T]:
    """Ask one source; whatever goes wrong is a fact too: a plan must come out of a disaster."""
    try:
        async with asyncio.timeout(timeout):
            value = await question
    except TimeoutError:
        return Fact(source=source, at=_now(), error=f"{source} gave no answer within {timeout:g} s.")
    except ActionError as error:
        return Fact(source=source, at=_now(), error=str(error))
    except Exception as error:  # an answer that nobody can understand is none
        log.exception("fact_broke", source=source)
        return Fact(source=source, at=_now(), error=unexpected(error))
    return Fact(source=source, at=_now(), value=value)


def unanswered(facts: Mapping[str, Fact[object]]) -> tuple[Finding, ...]:
    """A finding for each source that could not be read."""
    return tuple(fact.missing() for fact in facts.values() if not fact.known)


def _now() -> datetime:
    return datetime.now(UTC)
