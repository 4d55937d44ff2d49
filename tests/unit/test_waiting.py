"""The one way to wait: it returns what was seen, and after the deadline it says what was not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rehearsal.waiting import NotSeen, together, until


@pytest.fixture
def later() -> Iterator[str]:
    """Something that shows at the third look."""
    return iter(["", "", "the plan"])


async def test_what_is_seen_is_returned(later: Iterator[str]) -> None:
    assert await until(lambda: next(later), every=0) == "the plan"


async def test_a_look_may_be_a_question_that_is_awaited(later: Iterator[str]) -> None:
    async def look() -> str:
        return next(later)

    assert await until(look, every=0) == "the plan"


@pytest.mark.parametrize("what", ["a plan", lambda: "a plan"])
async def test_after_the_deadline_it_says_what_was_not_seen(what: object) -> None:
    with pytest.raises(NotSeen, match=r"Not seen within 0\.01 s: a plan\."):
        await until(lambda: None, 0.01, what, every=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [True, False])
async def test_if_one_part_fails_or_all_are_cancelled_every_part_has_ended_before_it_raises(fails: bool) -> None:
    ended: list[str] = []

    async def part() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            ended.append("part")

    async def other() -> None:
        await asyncio.sleep(0 if fails else 600)
        raise OSError("no luck")

    waiting = asyncio.create_task(together(part(), other()))
    await asyncio.sleep(0.01)
    if not fails:
        waiting.cancel()
    with pytest.raises(OSError if fails else asyncio.CancelledError):
        await waiting
    assert ended == ["part"]
