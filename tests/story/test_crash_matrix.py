"""The bot is killed with SIGKILL around its records and effects and started again: no effect twice, none missing, all told.

`make test` kills it at a seeded sample of the points of each drill, and of those around what people decide about a run;
`make crash-matrix` at every one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.story.crash_world import COURSES, Lane, Passage

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(7200),
]
DRILLS = [name for name, course in COURSES.items() if not course.since]
DECISIONS = [name for name, course in COURSES.items() if course.since]
LANES = 3  # worlds side by side: most of a passage is waiting
MORE = 1  # how many other points a sample has beside those around the effect
MOST_MISSED = 0.2  # of the points: where two tasks race, a later run may pass them under other names
AROUND = re.compile(r"(before|after) effect: |after record: dr_intents |before record: operation_outputs\(\S+ act\) ")
HANDED_OVER = re.compile(r"after record: .*dr_(decisions|plans)")  # it is on disk, and what follows from it is not
LATER_EDIT = re.compile(r"dr_outbox\(sent_rev\) #(?!1$)")  # a card is edited as often as there is time for it
LATER_STEP_BEGINS = re.compile(r"Step \d+\.(?!1:)\d+: ")  # told in the transaction in which the first step of its stage begins
log = logging.getLogger(__name__)


class Matrix:
    """Points to pass through, spread over the lanes; the uncrashed courses come first and are the measure."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self.uncrashed: dict[str, Passage] = {}

    async def measure(self) -> None:
        """Go through each course without a crash."""
        passages = await self._all([(name, "", None) for name in COURSES])
        self.uncrashed = {passage.course: passage for passage in passages}

    async def crash_at(self, name: str, points: list[str]) -> list[Passage]:
        """Go through a course once for each of the points."""
        return await self._all([(name, point, self.uncrashed[name].told) for point in points])

    async def _all(self, wanted: list[tuple[str, str, list[str] | None]]) -> list[Passage]:
        waiting, passages = list(reversed(wanted)), []

        async def work(lane: Lane) -> None:
            while waiting:
                name, point, expected = waiting.pop()
                passage = await lane.pass_through(COURSES[name], point, expected)
                log.info("%s", passage)
                passages.append(passage)

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(work(lane))
        return passages


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="crash-matrix-"))
    path.chmod(0o755)  # the account of the database servers must get in
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
async def matrix(room: Path) -> AsyncIterator[Matrix]:
    lanes = [Lane(room / f"lane-{number}", room / "cache") for number in range(LANES)]
    made = Matrix(lanes)
    try:
        await lanes[0].world()  # makes the database's template for the others
        await made.measure()
        yield made
    finally:
        await asyncio.gather(*(lane.close() for lane in lanes))


def sample(name: str, points: list[str], around: re.Pattern[str]) -> list[str]:
    """The points around what matters most, and some of the others, always the same ones."""
    chosen = [point for point in points if around.match(point)]
    others = [point for point in points if not around.match(point) and not LATER_EDIT.search(point)]
    return chosen + random.Random(f"crash {name}").sample(others, MORE)


@pytest.mark.parametrize("name", DRILLS)
async def test_a_drill_passes_points_of_every_kind(matrix: Matrix, name: str) -> None:
    passage = matrix.uncrashed[name]
    assert not passage.wrong, str(passage)
    assert sum(" effect: " in point for point in passage.passed) == 2
    assert sum("operation_outputs" in point for point in passage.passed) >= 14
    together = [line for line in passage.told if LATER_STEP_BEGINS.search(line)]
    assert sum("dr_timeline" in point for point in passage.passed) == 2 * (len(passage.told) - len(together))


@pytest.mark.parametrize("name", DRILLS)
async def test_a_bot_killed_around_a_record_or_an_effect_repeats_nothing_and_forgets_nothing(
    matrix: Matrix, name: str, request: pytest.FixtureRequest
) -> None:
    points = matrix.uncrashed[name].passed
    every = request.config.getoption("--every-point")
    await kill_at(matrix, name, points if every else sample(name, points, AROUND))


@pytest.mark.parametrize("name", DECISIONS)
async def test_a_bot_killed_around_a_decision_carries_it_out_once(
    matrix: Matrix, name: str, request: pytest.FixtureRequest
) -> None:
    passage = matrix.uncrashed[name]
    assert not passage.wrong, str(passage)
    since = next(number for number, point in enumerate(passage.passed) if re.match(COURSES[name].since, point))
    points = passage.passed[since:]
    every = request.config.getoption("--every-point")
    await kill_at(matrix, name, points if every else sample(name, points, HANDED_OVER))


async def kill_at(matrix: Matrix, name: str, points: list[str]) -> None:
    """Kill the bot at each of the points; fails with a line for everything that was not right."""
    assert points, f"Without a crash the course passed no point: {matrix.uncrashed[name]}"
    passages = await matrix.crash_at(name, points)
    missed = [passage.point for passage in passages if not passage.reached]
    log.info(
        "%s: %d points, %d reached, %d wrong", name, len(points), len(points) - len(missed), sum(bool(p.wrong) for p in passages)
    )
    wrong = [str(passage) for passage in passages if passage.wrong]
    assert not wrong, "\n".join(wrong)
    assert len(missed) <= MOST_MISSED * len(points), missed
