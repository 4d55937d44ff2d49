"""Facts: read concurrently, each with its source and time. A source that cannot be read is a fact too.

All reads of one plan share a budget. A service that hasn't said a word when it is spent is silent, and the plan does without
it. One that has answered something is only slow: what it still owes may take longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog

from actions.errors import ActionError, Unreachable
from actions.scrub import unexpected
from actions.values import Finding, Level, warn

log = structlog.get_logger(__name__)
UNREAD = "could not be read"
BUDGET_SECONDS = (
    4.8  # for all reads of a plan, one after the other or at once: a plan comes out within 6 s though nothing answers
)
SLOW_SECONDS = 12.0  # for a service that answers, but slowly
LEAST_SECONDS = 0.3  # for a read that begins when the budget is nearly spent
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Fact(Generic[T]):
    """Something observed. `value` is None if the source could not be read, and `error` then says why in a sentence."""

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


@dataclass(kw_only=True)
class Gathering:
    """The reads of one plan: when they began, which services have answered one of them since, and how long they may take."""

    budget: float = BUDGET_SECONDS
    slow: float = SLOW_SECONDS
    began: float = field(default_factory=time.monotonic)
    answered: set[str] = field(default_factory=set)

    def left(self, seconds: float) -> float:
        """How much is left of so many seconds since the beginning."""
        return max(self.began + seconds - time.monotonic(), LEAST_SECONDS)


_gathering: ContextVar[Gathering | None] = ContextVar("gathering", default=None)


@contextmanager
def gathering(budget: float = BUDGET_SECONDS, slow: float = SLOW_SECONDS) -> Iterator[None]:
    """What is read in this block shares one budget; `slow` is what a service gets that has answered something."""
    token = _gathering.set(Gathering(budget=budget, slow=slow))
    try:
        yield
    finally:
        _gathering.reset(token)


async def read(source: str, question: Awaitable[T], *, of: str = "", timeout: float | None = None) -> Fact[T]:
    """Ask one source; whatever goes wrong is a fact too: a plan must come out of a disaster.

    `of` names the service behind the source ("RDS in us-west-2"): as soon as that has answered any read of the same plan,
    its other reads get `SLOW_SECONDS`. `timeout` is the deadline of a source that has one of its own.
    """
    now = _gathering.get() or Gathering()
    service = of or source
    began = time.monotonic()
    try:
        value = await _within_budget(asyncio.ensure_future(question), now, service, timeout)
    except TimeoutError:
        return Fact(source=source, at=_now(), error=f"{source} gave no answer within {time.monotonic() - began:.1f} s.")
    except ActionError as error:
        if isinstance(error, Unreachable) and error.final:  # a refusal is an answer
            now.answered.add(service)
        return Fact(source=source, at=_now(), error=str(error))
    except Exception as error:  # an answer that nobody can understand is none
        log.exception("fact_broke", source=source)
        return Fact(source=source, at=_now(), error=unexpected(error))
    now.answered.add(service)
    return Fact(source=source, at=_now(), value=value)


async def _within_budget(question: asyncio.Future[T], now: Gathering, service: str, timeout: float | None) -> T:
    """The answer. Raises `TimeoutError` when the budget is spent and the service is silent, or much too slow."""
    try:
        done, _ = await asyncio.wait({question}, timeout=now.left(now.budget) if timeout is None else timeout)
        if not done and timeout is None and service in now.answered:
            done, _ = await asyncio.wait({question}, timeout=now.left(now.slow))
    except asyncio.CancelledError:
        question.cancel()
        raise
    if done:
        return question.result()
    question.add_done_callback(_forget)
    question.cancel()
    raise TimeoutError


def _forget(question: asyncio.Future[T]) -> None:
    """Take note of how a question ended that nobody waits for: a cancelled statement ends with an error of its own."""
    if not question.cancelled():
        question.exception()


def unread_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings as people should read them: what could not be read first, and of that first what forbids to go on."""
    return tuple(
        sorted(findings, key=lambda found: (UNREAD not in found.says, UNREAD in found.says and found.level != Level.STOP))
    )


def unanswered(facts: Mapping[str, Fact[object]]) -> tuple[Finding, ...]:
    """A finding for each source that could not be read."""
    return tuple(fact.missing() for fact in facts.values() if not fact.known)


def _now() -> datetime:
    return datetime.now(UTC)
