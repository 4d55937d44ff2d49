"""Whatever command a message suggests, the grammar takes it: those in the source, and those that plans come out with."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import control_plane, database
from commands.control_plane.seen import DOWN
from commands.plan import Plan
from commands.scenario import SCENARIOS, BadCommand, parse, suggest
from tests.unit.plan_facts import WORLD, fact, health, idle, instance, looked, missing, seen

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"`/dr( [^`]*)?`")
BARE = re.compile(r"/dr ((?:control-plane|database|region|agents|corruption|backup) [a-z]+)")  # without marks around it
UNKNOWN = "\0"  # stands for a value that the source does not tell
PACKAGES = ("actions", "commands", "bot")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "__main__.py")


def commands_in(text: str) -> list[str]:
    return [*((found[1] or "").strip() for found in COMMAND.finditer(text)), *BARE.findall(text)]


def accepted(command: str) -> bool:
    try:
        parse(command)
    except BadCommand:
        return False
    return True


# In the source ------------------------------------------------------------------------------------------------------


def literals(path: Path) -> Iterator[str]:
    """The strings of a module that are not docstrings, with what stands in braces filled in if it is a constant."""
    tree = ast.parse(path.read_text())
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    skipped = {id(part) for node in ast.walk(tree) for part in _not_said(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(_filled_in(part, vars(module)) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _not_said(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, and the pieces of an f-string, which is read as a whole."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield from (part for part in node.values if isinstance(part, ast.Constant))


def _filled_in(part: ast.expr, names: dict[str, Any]) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    value = names.get(part.value.id) if isinstance(part.value, ast.Name) else None
    return value if isinstance(value, str) else UNKNOWN


def possible(command: str) -> list[str]:
    """What a command with unknown values may be: a number, a run's id or a scenario in their place."""
    if UNKNOWN not in command:
        return [command]
    return [command.replace(UNKNOWN, value) for value in ("5", "abcdefgh", *SCENARIOS)]


FOUND = sorted({(path.name, command) for path in FILES for text in literals(path) for command in commands_in(text)})
ABOUT_INPUT = {("scenario.py", text) for text in ("\0", "\0 \0")}  # what a person typed is quoted, and it may be anything


@pytest.mark.parametrize(("file", "command"), FOUND)
def test_every_command_in_a_message_of_the_source_exists(file: str, command: str) -> None:
    assert (file, command) in ABOUT_INPUT or any(map(accepted, possible(command))), f"{file} suggests `/dr {command}`"


def test_the_source_is_searched_for_real() -> None:
    assert {("database.py", "database failover idle_for=\0"), ("findings.py", "control-plane restart anyway=yes")} <= set(FOUND)
    assert len(FOUND) > 12


DOCUMENTS = (
    "README.md",
    "docs/glossary.md",
    "docs/how-to/targets.md",
    "docs/how-to/database-restore.md",
    "docs/how-to/corruption-scan.md",
    "docs/how-to/backup-verify.md",
    "docs/how-to/corruption-repair.md",
    "docs/how-to/corruption-reindex.md",
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists(document: str) -> None:
    for command in commands_in((ROOT / document).read_text()):
        assert accepted(command), command


# In plans -----------------------------------------------------------------------------------------------------------


def every_plan() -> Iterator[Plan]:
    """Plans of all kinds, above all those with findings about what is wrong."""
    nothing = {name: missing() for name in ("service", "history", "ours", "stopped", "previous", "lines", "health", "database")}
    for facts in ({}, nothing, {"health": health(200)}, *({"database": database_is(kind)} for kind in DOWN)):
        for anyway in (False, True):
            yield control_plane.restart_plan(WORLD, seen(**facts), anyway, "")
        yield control_plane.rollback_plan(WORLD, seen(**facts), "why")
    for kind in ("answers", "refused", "timeout", "starting", "read-only", "other", "dns", "tls", "auth"):
        for other in ({}, {"instance": fact(instance(multi_az=False))}, {"instance": fact(instance(status="rebooting"))}):
            yield database.plan_for(WORLD, looked(kind, **other), 60)
    for sessions in (fact([]), fact([idle(20)]), fact([idle(90)]), fact([idle(90)] * 30), missing()):
        yield database.plan_for(WORLD, looked("slots used up", idle=sessions), 60)
    yield database.plan_for(WORLD, looked(instance=missing()), 60)


def database_is(kind: str) -> Any:
    return looked(kind).diagnosis


def texts_of(plan: Plan) -> list[str]:
    found = [text for finding in plan.findings for text in (finding.says, finding.evidence)]
    steps = [text for _, step in plan.steps() for text in (step.title, step.command())]
    return [plan.why, plan.heading, *plan.cost, *found, *steps]


def test_every_command_in_a_plan_exists() -> None:
    found = {command for plan in every_plan() for text in texts_of(plan) for command in commands_in(text)}
    assert {"database failover", "control-plane restart anyway=yes"} <= found
    assert [command for command in found if not accepted(command)] == []
    assert all(not plan.fallback or accepted(plan.fallback) for plan in every_plan())


def test_no_sentence_of_a_plan_ends_twice_or_counts_one_as_many() -> None:
    for text in (text for plan in every_plan() for text in texts_of(plan)):
        assert ".." not in text
        assert not re.search(r"\(s\)|\b1 (?!of )\w+s (are|have)\b|\b1 (sessions|tasks|changes|log lines)\b", text), text


# What is suggested ----------------------------------------------------------------------------------------------------


def test_what_does_not_exist_is_not_suggested_but_done_by_hand() -> None:
    assert suggest("control-plane restart anyway=yes", "restart it by hand") == "plan `/dr control-plane restart anyway=yes`"
    assert suggest("region failover now", "fail over by hand") == "fail over by hand"
    assert suggest("control-plane restart anyhow=yes", "restart it by hand") == "restart it by hand"
