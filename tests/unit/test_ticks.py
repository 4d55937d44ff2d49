"""How often a wait looks: less and less often at AWS, and steadily at what answers anybody."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.unit.plan_facts import WORLD


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, on a clock that stands still otherwise."""
    pauses = list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


async def test_the_pauses_of_a_wait_grow_to_five_times_the_first(slept: list[float]) -> None:
    looks = [passed async for passed in WORLD.ticks(timeout=300, every=2.0)]
    assert slept[:3] == pytest.approx([2.0, 2.4, 2.88])
    assert max(slept) == 10.0
    assert looks[-1] == pytest.approx(300)


async def test_the_pauses_of_a_steady_wait_stay_as_they_are(slept: list[float]) -> None:
    looks = [passed async for passed in WORLD.ticks(timeout=120, every=2.0, is_steady=True)]
    assert set(slept) == {2.0}
    assert looks == list(itertools.accumulate([0.0, *slept]))
    assert looks[-1] == 120.0
