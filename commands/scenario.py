"""The registry of scenarios and the grammar of `/dr`: words become a `Request`, or one clear sentence about what is wrong."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from actions.world import World
from commands.asked import Asked, BadCommand, nearest
from commands.facts import gathering, unread_first
from commands.plan import Plan
from commands.report import REPORTS, ReportKind

PlanFunction = Callable[..., Awaitable[Plan]]
__all__ = ["BadCommand", "Request", "Scenario", "help_text", "parse", "scenario", "suggest"]
VERBS = {  # the words of /dr that are no scenario, with their arguments and what the user gets
    "help": ("", "Show this list."),
    "runs": ("", "List the latest runs."),
    "show": ("RUN", "Show one run and its timeline."),
    "stop": ("RUN", "Stop a run at its next step."),
}


@dataclass(frozen=True, kw_only=True)
class Scenario(Asked):
    """A failure of the runbook with its way out: `function(world, **arguments)` only reads and returns a `Plan`.

    `form` is the argument that Slack asks for in a form if a person doesn't type it.
    """

    form: str = ""

    async def make(self, world: World, arguments: Mapping[str, str]) -> Plan:
        """The plan for these arguments. Raises `BadCommand` on an unknown or unreadable one; changes nothing."""
        with gathering():
            plan: Plan = await self.function(world, **self.parse(arguments))
        return replace(plan, asked=self.name, findings=unread_first(plan.findings))


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, *, form: str = "") -> Callable[[PlanFunction], PlanFunction]:
    """Register a planning function under the words a person types after `/dr`; `form` is the argument that a form asks for."""

    def register(function: PlanFunction) -> PlanFunction:
        SCENARIOS[name] = Scenario(name=name, function=function, form=form)
        return function

    return register


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for: a scenario with arguments, a report, or one of `VERBS` with its object (`RUN`) in `about`."""

    words: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    about: str = ""

    @property
    def scenario(self) -> Scenario | None:
        """The scenario asked for; None if the words are a verb or a report."""
        return SCENARIOS.get(self.words)

    @property
    def asks(self) -> str:
        """The argument that must be asked for in a form first; "" if nothing is missing."""
        form = self.scenario.form if self.scenario else ""
        return "" if form in self.arguments else form

    @property
    def report(self) -> ReportKind | None:
        """The report asked for; None if the words are something else."""
        return REPORTS.get(self.words)


def parse(text: str) -> Request:
    """Read what stands after `/dr`. Raises `BadCommand` with the nearest match and the usage."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadCommand(f"`/dr {text}` cannot be read: {error}. Close the quotation mark.") from error
    plain = [word for word in words if "=" not in word]
    if words == ["help"]:
        return Request(words="help")
    if not words:
        return Request(words="triage")  # a report of commands/triage.py, which plans every scenario and so imports this
    if plain and plain[0] in VERBS:
        return _verb(plain[0], words[1:])
    return _asked(plain, [word for word in words if "=" in word])


def suggest(words: str, by_hand: str) -> str:
    """The words "plan `/dr ...`" if there is such a command, else what a person does by hand now: both as part of a sentence."""
    try:
        parse(words)
    except BadCommand:
        return by_hand
    return f"plan `/dr {words}`"


def help_text() -> str:
    """What `/dr help` shows: a line per command, from the scenarios' own docstrings."""
    lines = [f"• `{scenario.usage}`: {scenario.summary}" for scenario in SCENARIOS.values()]
    lines += [f"• `{report.usage}`: {report.summary}" for report in REPORTS.values()]
    lines += [f"• `{' '.join(['/dr', verb, about]).strip()}`: {says}" for verb, (about, says) in VERBS.items()]
    return "\n".join(
        [
            "*What /dr can do.* Nothing is changed before a second person has approved the plan that you will see.",
            *lines,
        ]
    )


def _verb(verb: str, rest: list[str]) -> Request:
    wanted = VERBS[verb][0]
    expected = "one run id, as `/dr runs` lists them" if wanted else "nothing after it"
    if len(rest) != (1 if wanted else 0):
        raise BadCommand(f"`/dr {verb}` takes {expected}, and it got {' '.join(rest)!r}.")
    return Request(words=verb, about=rest[0] if rest else "")


def _asked(plain: list[str], pairs: list[str]) -> Request:
    name = " ".join(plain)
    asked: Asked | None = SCENARIOS.get(name) or REPORTS.get(name)
    if asked is None:
        raise BadCommand(_unknown_words(plain))
    arguments = dict(_pair(pair) for pair in pairs)
    if len(arguments) != len(pairs):
        raise BadCommand(f"An argument of `/dr {name}` is given twice. Usage: `{asked.usage}`")
    asked.parse(arguments)
    return Request(words=name, arguments=arguments)


def _unknown_words(plain: list[str]) -> str:
    name = " ".join(plain)
    endings = [s.partition(" ")[2] for s in (*SCENARIOS, *REPORTS) if plain and s.split()[0] == plain[0]]
    if "" in endings:
        return f"`/dr {plain[0]}` takes nothing after it, and it got {' '.join(plain[1:])!r}. Nothing was done."
    if endings:
        return f"`/dr {name}` is not a command. After `{plain[0]}` comes one of: {', '.join(endings)}. Nothing was done."
    near = nearest(name, [*SCENARIOS, *REPORTS, *VERBS])
    return f"`/dr {name}` is not a command.{near} `/dr help` lists them all. Nothing was done."


def _pair(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    if not name or not value:
        raise BadCommand(f"{pair!r} is not an argument; it must be written name=value, with something on both sides.")
    return name, value
