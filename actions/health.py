"""The health check of the product that is recovered, as a person would do it with curl."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actions.base import Check, Outcome, Unreachable, done, failed

if TYPE_CHECKING:
    from actions.world import World


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
        return f"See health answer {self.expected_status} {self.passes} times in a row"

    @property
    def target(self) -> str:
        return self.url

    def command(self) -> str:
        return f"curl --silent --max-time 5 --output /dev/null --write-out '%{{http_code}}' {shlex.quote(self.url)}"

    async def look(self, world: World) -> Outcome:
        row, said = 0, "no answer yet"
        async for passed in world.ticks(timeout=self.timeout, every=self.interval, at_least=15.0):
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
