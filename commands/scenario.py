"""The registry of scenarios and the grammar of `/dr`: words become a `Request`, or one clear sentence about what is wrong."""

from __future__ import annotations

import difflib
import inspect
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actions.world import World
from commands.plan import Plan

PlanFunction = Callable[..., Awaitable[Plan]]
VERBS = {  # the words of /dr that are no scenario, with their arguments and what the user gets
    "help": ("", "Show this list."),
    "runs": ("", "List the latest runs."),
    "show": ("RUN", "Show one run and its timeline."),
    "stop": ("RUN", "Stop a run at its next step."),
}


class BadCommand(ValueError):
    """The words of a command make no request. The message says what is wrong and what is expected."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A failure of the runbook with its way out: `plan(world, **arguments)` only reads and returns a `Plan`."""

    name: str
    plan: PlanFunction

    @property
    def summary(self) -> str:
        """What the user gets: the docstring's first line."""
        return (inspect.getdoc(self.plan) or "").split("\n")[0]

    @property
    def parameters(self) -> dict[str, type]:
        """The arguments the scenario takes, with their types (str, int or bool)."""
        parameters = inspect.signature(self.plan, eval_str=True).parameters
        return {name: p.annotation for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def usage(self) -> str:
        """The command with its optional arguments, as a person types it."""
        return " ".join(["/dr", self.name, *(f"[{name}={_example(kind)}]" for name, kind in self.parameters.items())])

    async def make(self, world: World, arguments: Mapping[str, str]) -> Plan:
        """The plan for these arguments. Raises `BadCommand` on an unknown or unreadable one; changes nothing."""
        return replace(await self.plan(world, **self.parse(arguments)), asked=self.name)

    def parse(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """The arguments in their types. Raises `BadCommand`."""
        for name in arguments:
            if name not in self.parameters:
                raise BadCommand(
                    f"/dr {self.name} has no argument {name!r}.{_nearest(name, self.parameters)} Usage: `{self.usage}`"
                )
        return {name: _typed(name, value, self.parameters[name]) for name, value in arguments.items()}


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str) -> Callable[[PlanFunction], PlanFunction]:
    """Register a planning function under the words a person types after `/dr`."""

    def register(function: PlanFunction) -> PlanFunction:
        SCENARIOS[name] = Scenario(name=name, plan=function)
        return function

    return register


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for: a scenario with arguments, or one of `VERBS` with its object (`RUN`) in `about`."""

    words: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    about: str = ""

    @property
    def scenario(self) -> Scenario | None:
        """The scenario asked for; None where the words are a verb."""
        return SCENARIOS.get(self.words)


def parse(text: str) -> Request:
    """Read what stands after `/dr`. Raises `BadCommand` with the nearest match and the usage."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadCommand(f"`/dr {text}` cannot be read: {error}. Close the quotation mark.") from error
    plain = [word for word in words if "=" not in word]
    if not words or words == ["help"]:
        return Request(words="help")
    if plain and plain[0] in VERBS:
        return _verb(plain[0], words[1:])
    return _scenario(plain, [word for word in words if "=" in word])


def suggest(words: str, by_hand: str) -> str:
    """The words "plan `/dr ...`" if there is such a command, else what a person does by hand now: both as part of a sentence."""
    try:
        parse(words)
    except BadCommand:
        return by_hand
    return f"plan `/dr {words}`"


def help_text() -> str:
    """What `/dr help` shows: a line per command, from the scenarios' own docstrings."""
    lines = [f"• `{s.usage}`: {s.summary}" for s in SCENARIOS.values()]
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


def _scenario(plain: list[str], pairs: list[str]) -> Request:
    name = " ".join(plain)
    if name not in SCENARIOS:
        raise BadCommand(_unknown_words(plain))
    arguments = dict(_pair(pair) for pair in pairs)
    if len(arguments) != len(pairs):
        raise BadCommand(f"An argument of `/dr {name}` is given twice. Usage: `{SCENARIOS[name].usage}`")
    SCENARIOS[name].parse(arguments)
    return Request(words=name, arguments=arguments)


def _unknown_words(plain: list[str]) -> str:
    name = " ".join(plain)
    endings = [s.partition(" ")[2] for s in SCENARIOS if plain and s.split()[0] == plain[0]]
    if endings:
        return f"`/dr {name}` is not a command. After `{plain[0]}` comes one of: {', '.join(endings)}. Nothing was done."
    return f"`/dr {name}` is not a command.{_nearest(name, [*SCENARIOS, *VERBS])} `/dr help` lists them all. Nothing was done."


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else ""


def _pair(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    if not name or not value:
        raise BadCommand(f"{pair!r} is not an argument; it must be written name=value, with something on both sides.")
    return name, value


def _example(kind: type) -> str:
    return {int: "NUMBER", bool: "yes"}.get(kind, "TEXT")


def _typed(name: str, value: str, kind: type) -> Any:
    if kind is int:
        if not value.isascii() or not value.isdecimal():
            raise BadCommand(f"Argument {name} is {value!r}, and a whole number is expected.")
        return int(value)
    if kind is bool:
        if value not in ("yes", "no"):
            raise BadCommand(f"Argument {name} is {value!r}, and yes or no is expected.")
        return value == "yes"
    return value
