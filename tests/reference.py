"""Writes docs/reference.md from the code: `python -m tests.reference > docs/reference.md`. A unit test holds it up to date."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields

from actions.site import DatabaseRef
from actions.step import Action, Check, Hold, Step
from commands.report import REPORTS
from commands.scenario import SCENARIOS, VERBS
from tests import catalogue

assert catalogue  # importing it registers every step


def reference() -> str:
    """The text of docs/reference.md."""
    return (
        "\n".join([*_head(), *_commands(), *_steps("Actions", Action), *_steps("Checks", Check), *_steps("Holds", Hold)]) + "\n"
    )


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made from the code by `python -m tests.reference > docs/reference.md`; the sentences are the docstrings."
    yield ""


def _commands() -> Iterator[str]:
    yield from ("## Commands", "", "| command | what it gets |", "|---|---|")
    for asked in (*SCENARIOS.values(), *REPORTS.values()):
        yield f"| `{asked.usage}` | {asked.summary} |"
    for verb, (about, says) in VERBS.items():
        yield f"| `{' '.join(['/dr', verb, about]).strip()}` | {says} |"
    yield ""


def _steps(title: str, of: type[Step]) -> Iterator[str]:
    known = {k: step for k, step in Step.registry.items() if issubclass(step, of) and not step.__module__.startswith("tests.")}
    if known:
        yield from (f"## {title}", "")
    for kind, step in sorted(known.items()):
        yield from entry(kind, step)


def entry(kind: str, step: type[Step]) -> Iterator[str]:
    """The lines about one kind of step."""
    yield from (f"### `{kind}`", "", (inspect.getdoc(step) or "").replace("\n", " "), "")
    yield f"- arguments: {', '.join(f'`{f.name}`' for f in fields(step)) or 'none'}"
    yield f"- permissions: {', '.join(f'`{p}`' for p in _example(step).permissions) or 'none'}"
    settle = f", settle time {step.settle:g} s" if issubclass(step, Action) else ""
    yield f"- plane: {step.plane}; deadline {step.timeout:g} s{settle} (provider seconds)"
    yield ""


def _example(step: type[Step]) -> Step:
    """A step of this class with made-up arguments of the right types."""
    database = DatabaseRef(name="primary", instance="x", region="x", dsn_env="X")
    made_up = {"DatabaseRef": database, "str": "x", "int": 1, "bool": True, "float": 1.0, "tuple[str, ...]": ()}
    made_up |= {"Settings": {}, "Mapping[str, str]": {}}
    return step(**{f.name: made_up[str(f.type)] for f in fields(step)})


if __name__ == "__main__":
    print(reference(), end="")
