"""The health check of the product that is recovered, as a person would do it with curl."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.errors import Unreachable
from actions.step import Check
from actions.values import Outcome, count, done, failed

if TYPE_CHECKING:
    from actions.http import Http
    from actions.world import World

TRIES = 3  # one bad answer may be a passing one; three silent ones must fit into the time that a plan has
PAUSE = 0.7  # seconds of our own clock: a rehearsal's web server is no faster than a real one


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a health address answered, try after try: the statuses, 0 for no answer, and `error` for the last of those."""

    url: str
    statuses: tuple[int, ...]
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether most tries got a status in the 200s: one bad answer among good ones is no outage."""
        return 2 * sum(map(_is_good, self.statuses)) > len(self.statuses)

    @property
    def says(self) -> str:
        """What was seen, as a sentence: "https://app.example/health answered 502 in 3 of 3 tries."""
        if len(self.statuses) == 1 and self.good:
            return f"{self.url} answers {self.statuses[0]}."
        tries = len(self.statuses)
        several = Counter(self.statuses).most_common()
        said = [f"{_answered(status)} in {times} of {count(tries, 'try', 'tries')}" for status, times in several]
        return f"{self.url} {' and '.join(said)}."


async def ask_health(world: World, url: str) -> Health:
    """Ask a health address; if the first answer is not good, three times in all, most of a second apart."""
    http = world.http  # made before the first try begins: the time that takes isn't the address's silence
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(_ask(http, url, number * PAUSE)) for number in range(TRIES)]
        first, _ = await tries[0]
        if _is_good(first) and not any(other.done() for other in tries[1:]):
            for other in tries[1:]:
                other.cancel()
    answers = [each.result() for each in tries if not each.cancelled()]
    errors = [error for _, error in answers if error]
    return Health(url=url, statuses=tuple(status for status, _ in answers), error=errors[-1] if errors else "")


async def _ask(http: Http, url: str, after: float) -> tuple[int, str]:
    await asyncio.sleep(after)
    try:
        return (await http.get(url)).status, ""
    except Unreachable as error:
        return 0, str(error)


def _is_good(status: int) -> bool:
    return 200 <= status < 300


def _answered(status: int) -> str:
    return f"answered {status}" if status else "gave no answer"


@dataclass(frozen=True, kw_only=True)
class HealthAnswers(Check, kind="http.health_answers"):
    """Wait until the health address answers as expected several times in a row; one bad answer starts the count again."""

    url: str
    passes: int = 3
    interval: int = 2
    expected_status: int = 200

    timeout: ClassVar[float] = 120.0
    plane: ClassVar[str] = "data"
    region: ClassVar[str] = ""
    permissions: ClassVar[tuple[str, ...]] = ("http:get",)

    @property
    def title(self) -> str:
        return f"Wait for {self.passes} consecutive {self.expected_status}s"

    @property
    def target(self) -> str:
        return self.url

    def command(self) -> str:
        return f"curl --silent --max-time 5 --output /dev/null --write-out '%{{http_code}}' {shlex.quote(self.url)}"

    async def look(self, world: World) -> Outcome:
        row, said = 0, "no answer yet"
        async for passed in world.ticks(timeout=self.timeout, every=self.interval, at_least=15.0, is_steady=True):
            good, said = await self._once(world)
            row = row + 1 if good else 0
            if row >= self.passes:
                return done(
                    f"{self.url} answered {self.expected_status} {row} times in a row; the last one came after {passed:.0f} s."
                )
        return failed(f"{self.url} did not answer {self.expected_status} {self.passes} times in a row; the last answer: {said}")

    async def _once(self, world: World) -> tuple[bool, str]:
        try:
            answer = await world.http.get(self.url)
        except Unreachable as error:
            return False, str(error)
        return answer.status == self.expected_status, f"{answer.status} after {answer.seconds:.2f} s."
