"""The one way to wait: it returns what was seen, and after the deadline it says what was not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearsal.waiting import NotSeen, until


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
