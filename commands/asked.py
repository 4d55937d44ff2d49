"""What can be asked for by words after `/dr`: its summary and usage come from the function behind it, its arguments are typed."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class BadCommand(ValueError):
    """The words of a command make no request. The message says what is wrong and what is expected."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A scenario or a report: the words it is asked for by, and the function that answers."""

    name: str
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """What the user gets: the docstring's first line."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def parameters(self) -> dict[str, type]:
        """The arguments it takes, with their types (str, int or bool)."""
        parameters = inspect.signature(self.function, eval_str=True).parameters
        return {name: p.annotation for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def usage(self) -> str:
        """The command with its optional arguments, as a person types it."""
        return " ".join(["/dr", self.name, *(f"[{name}={_example(kind)}]" for name, kind in self.parameters.items())])

    def parse(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """The arguments in their types. Raises `BadCommand`."""
        for name in arguments:
            if name not in self.parameters:
                raise BadCommand(
                    f"/dr {self.name} has no argument {name!r}.{nearest(name, self.parameters)} Usage: `{self.usage}`"
                )
        return {name: _typed(name, value, self.parameters[name]) for name, value in arguments.items()}


def nearest(word: str, known: Iterable[str]) -> str:
    """The question whether the most similar of the known words was meant; "" if none is similar."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else ""


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
