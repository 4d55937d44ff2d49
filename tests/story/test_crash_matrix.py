"""The bot is killed with SIGKILL around its records and effects and started again: no effect twice, none missing, all said.

`make test` kills it at a seeded sample of the points of each drill, and of those around what people decide about a run;
`make crash-matrix` at every one. `--drill NAME` takes only one drill or decision.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.story.crash_courses import COURSES, REGIONS, Course
from tests.story.crash_judge import Judge
from tests.story.crash_world import Lane, Recovery, Trial

pytestmark = [pytest.mark.crash, pytest.mark.spread, pytest.mark.timeout(7200)]
DRILLS = [name for name, course in COURSES.items() if not course.since]
DECISIONS = [name for name, course in COURSES.items() if course.since]
LONG = {"database-restore", "backup-verification", "backup-damaged"}  # as long as all others: only by name, or --every-point
MOVES = {course.drill.name for course in REGIONS}  # an hour and more: only by name, and then around each change
MORE = 1  # how many other points a sample has beside those around the effect
AROUND = re.compile(r"(before|after) effect: ")
HANDED_OVER = re.compile(r"after record: .*dr_(decisions|plans)")  # it is on disk, and what follows from it is not
LATER_EDIT = re.compile(r"dr_outbox\(sent_rev\) #(?!1$)")  # a card is edited as often as there is time for it
LATER_MESSAGE = re.compile(r"dr_outbox\((sent_rev|in_flight|sent_rev,in_flight,ts)\) #(?!1$)")  # in no sample: see below
# Said in the transaction of another line: the first step of its stage begins, or the evidence leads to its question.
SAID_WITH_ANOTHER = re.compile(r"Step \d+\.(?!1:)\d+: |\*Evidence for step ")
log = logging.getLogger(__name__)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test for every drill or every decision, or those that `--drill` names."""
    chosen = _chosen(metafunc.config)
    if unknown := set(chosen) - COURSES.keys():
        raise pytest.UsageError(f"--drill does not know {', '.join(sorted(unknown))}; it knows {', '.join(COURSES)}.")
    for argument, names in (("drill", DRILLS), ("decision", DECISIONS)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, [name for name in names if name in chosen])


def _chosen(config: pytest.Config) -> list[str]:
    """The courses to take: those that `--drill` names, or all, without the long ones if only a sample is taken."""
    named: list[str] = config.getoption("--drill")
    every = config.getoption("--every-point")
    return named or [name for name in COURSES if name not in MOVES and (name not in LONG or every)]


class Matrix:
    """Trials in one rehearsal. The first of a course is without a kill; the others are compared with it."""

    def __init__(self, lanes: dict[bool, Lane]) -> None:
        self._lanes = lanes  # by whether there are two regions
        self._without_kill: dict[str, Trial] = {}

    async def without_kill(self, name: str) -> Trial:
        """How the course goes if nothing is killed."""
        if name not in self._without_kill:
            self._without_kill[name] = await try_once(self._lane(name), COURSES[name], "", None)
        return self._without_kill[name]

    async def kill_at(self, name: str, points: list[str]) -> list[Trial]:
        """Go through a course once for each of the points."""
        expected = (await self.without_kill(name)).thread
        trials = []
        for point in points:
            trials.append(await try_once(self._lane(name), COURSES[name], point, expected))
            log.info("%s", trials[-1])
        return trials

    def _lane(self, name: str) -> Lane:
        return self._lanes[name in MOVES]


async def try_once(lane: Lane, course: Course, point: str, expected: list[str] | None) -> Trial:
    """Go through a course and kill the bot at the point; without an `expected` thread, only to see what is normal."""
    trial, began = Trial(course=course.drill.name, point=point), time.monotonic()
    world = await lane.world()
    recovery = Recovery(world, course, trial)
    try:
        await recovery.go()
        trial.wrong += await Judge(recovery).judge(expected)
    except Exception as error:  # whatever it is belongs to this point, and the next point gets a new rehearsal
        lines = recovery.people.thread(recovery.run) if recovery.run else []
        trial.wrong.append(f"{error!r} | the thread: {lines} | the bot's log: {recovery.log()}")
    finally:
        await recovery.end_bot()
    trial.seconds = time.monotonic() - began
    try:
        await (lane.close() if trial.wrong else lane.restore(world))
    except Exception as error:
        trial.repeats.append(f"the rehearsal is replaced: {error!r}")
        await lane.close()
    return trial


@pytest.fixture(scope="module")
async def matrix(work_dirs: Path, cache: Path) -> AsyncIterator[Matrix]:
    lanes = {two: Lane(work_dirs / f"lane-{two:d}", cache, two_regions=two) for two in (False, True)}
    yield Matrix(lanes)
    for lane in lanes.values():
        await lane.close()


def sample(name: str, points: list[str], around: re.Pattern[str]) -> list[str]:
    """The points around what matters most, and some of the others, always the same ones. A long course has its own choice.

    None is a later message to Slack: how many are recorded by themselves may depend on how much a plan has to say.
    """
    if own := COURSES[name].sampled:
        return [point for point in points if re.match(own, point)]
    chosen = [point for point in points if around.match(point)]
    others = [point for point in points if not around.match(point) and not LATER_MESSAGE.search(point)]
    return chosen + random.Random(f"crash {name}").sample(others, MORE)


async def test_a_drill_passes_points_of_every_kind(matrix: Matrix, drill: str) -> None:
    trial = await matrix.without_kill(drill)
    assert not trial.wrong, str(trial)
    course = COURSES[drill]
    unanswered = 1 if course.lost else 0  # there is no moment after an effect whose answer never comes
    assert sum(" effect: " in point for point in trial.points) == 2 * course.applied - unanswered
    assert sum("operation_outputs" in point for point in trial.points) >= 14
    together = [line for line in trial.recorded if SAID_WITH_ANOTHER.search(line)]
    assert sum("dr_timeline" in point for point in trial.points) == 2 * (len(trial.recorded) - len(together))


async def test_a_bot_killed_in_a_drill_repeats_and_forgets_nothing(
    matrix: Matrix, drill: str, request: pytest.FixtureRequest
) -> None:
    points = (await matrix.without_kill(drill)).points
    every = request.config.getoption("--every-point")
    await kill_at(matrix, drill, points if every and drill not in MOVES else sample(drill, points, AROUND))


async def test_a_bot_killed_around_a_decision_carries_it_out_once(
    matrix: Matrix, decision: str, request: pytest.FixtureRequest
) -> None:
    trial = await matrix.without_kill(decision)
    assert not trial.wrong, str(trial)
    since = next(number for number, point in enumerate(trial.points) if re.match(COURSES[decision].since, point))
    points = trial.points[since:]
    every = request.config.getoption("--every-point")
    await kill_at(matrix, decision, points if every else sample(decision, points, HANDED_OVER))


async def kill_at(matrix: Matrix, name: str, points: list[str]) -> None:
    """Kill the bot at each of the points; fails with a line for everything that was wrong and every kill that was missed.

    A later edit of a card may not come at all the next time, and then there's nobody to kill.
    """
    assert points, f"Without a kill the course passed no point: {await matrix.without_kill(name)}"
    trials = await matrix.kill_at(name, points)
    alive = [trial.point for trial in trials if not trial.killed]
    missed = [point for point in alive if not LATER_EDIT.search(point)]
    wrong = [str(trial) for trial in trials if trial.wrong]
    log.info("%s: %d points, %d killed, %d wrong", name, len(points), len(points) - len(alive), len(wrong))
    assert not wrong, "\n".join(wrong)
    assert not missed, missed
