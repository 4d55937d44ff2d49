"""Read-only reports: what a person may ask for without an approval, because it changes nothing.

`@report("targets")` registers a function of the world and the bot's memory that returns lines. A report comes out within
6 seconds: every source is asked at once and by name, each with a deadline, and one that does not answer is a line of its own.
Only `corruption scan` takes minutes: it reads the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from actions.values import Json
from actions.world import World
from commands.asked import Asked
from commands.facts import UNREAD, Fact
from commands.memory import Memory

SOURCE_SECONDS = 4.0  # what one source gets; all are asked at once, and the rest of the 6 s is for the way to the person


class Mark(StrEnum):
    """How a line weighs: a target is met, missed or unknown; anything else is ok, warn or stop, as in a plan."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "unknown"
    OK = "ok"
    WARN = "warn"
    STOP = "stop"


GOOD = (Mark.MET, Mark.OK)
ORDER = (Mark.STOP, Mark.MISSED, Mark.WARN, Mark.UNKNOWN, Mark.OK, Mark.MET)  # what is wrong is said first


@dataclass(frozen=True, kw_only=True)
class Line:
    """One judgement: what was checked on which object, one sentence with the figure, and the source it comes from."""

    level: Mark
    check: str
    object: str
    says: str
    evidence: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report found, at a moment (UTC)."""

    name: str
    at: datetime
    findings: tuple[Line, ...]

    @property
    def good(self) -> bool:
        """Whether every line is met or ok."""
        return all(line.level in GOOD for line in self.findings)

    def to_json(self) -> dict[str, Json]:
        """The report as `dr report --json` prints it."""
        found = [asdict(line) | {"level": line.level.value} for line in self.findings]
        return {"report": self.name, "at": self.at.isoformat(timespec="seconds"), "findings": found}


ReportFunction = Callable[..., Awaitable[Iterable[Line]]]


@dataclass(frozen=True, kw_only=True)
class ReportKind(Asked):
    """A report that can be asked for: `function(world, memory, **arguments)` only reads and returns lines."""

    async def make(self, world: World, memory: Memory, arguments: Mapping[str, str] | None = None) -> Report:
        """The report as the world is now; sources that did not answer come first. Changes nothing. Raises `BadCommand`."""
        lines = list(await self.function(world, memory, **self.parse(arguments or {})))
        return Report(name=self.name, at=datetime.now(UTC), findings=tuple(sorted(lines, key=_place)))


REPORTS: dict[str, ReportKind] = {}
SOURCE = "source"  # what a line about a source that did not answer says it has checked
MEANING = "what it means"  # what the lines say together, and what to do: it stands last


def report(name: str) -> Callable[[ReportFunction], ReportFunction]:
    """Register a function under the words a person types after `/dr`."""

    def register(function: ReportFunction) -> ReportFunction:
        REPORTS[name] = ReportKind(name=name, function=function)
        return function

    return register


def unread(facts: Iterable[Fact[Any] | None], level: Mark) -> Iterator[Line]:
    """A line for each source that did not answer."""
    for fact in facts:
        if fact is not None and not fact.known:
            says = f"{fact.source} {UNREAD}: what it would say is unknown."
            yield Line(level=level, check=SOURCE, object=fact.source, says=says, evidence=fact.error)


def line(level: Mark, check: str, about: str, says: str, evidence: str = "") -> Line:
    """A line, for short."""
    return Line(level=level, check=check, object=about, says=says, evidence=evidence)


def span(seconds: float) -> str:
    """A length of time as a person says it: "38 s", "4.2 min", "26.5 h", "12.0 days"."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if abs(seconds) < most:
            return f"{seconds / length:.0f} s" if unit == "s" else f"{seconds / length:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def moment(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _place(line: Line) -> tuple[bool, bool, int]:
    return line.check != SOURCE, line.check == MEANING, ORDER.index(line.level)
