"""Shell completion: what the shells themselves offer when Tab is pressed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bot.cli import WORDS, _parser
from bot.completion import script
from commands.scenario import SCENARIOS

BASH = """
eval "$(cat)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_dr; printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { }
compadd() { print -r -- "${@[2,-1]}" }
eval "$(cat)"
words=("${@[2,-1]}"); CURRENT=$#words; _dr_scenarios
"""
HAS_ZSH = ["zsh"] if shutil.which("zsh") else []  # if there is one, it's asked, too


def offered(shell: str, *typed: str) -> list[str]:
    """What the shell offers for the last of these words."""
    program = [shell, "--norc", "-c", BASH, "_"] if shell == "bash" else [shell, "-f", "-c", ZSH, "_"]
    said = subprocess.run([*program, *typed], input=script(_parser(), shell), capture_output=True, text=True, check=True)
    assert said.stderr == ""
    return sorted({line for line in said.stdout.splitlines() if line})


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("dr", ""), sorted(WORDS)),
        (("dr", "ser"), ["serve"]),
        (("dr", "plan", ""), sorted({name.split()[0] for name in SCENARIOS})),
        (("dr", "plan", "database", ""), ["failover", "restore"]),
        (("dr", "plan", "--json", "database", "f"), ["failover"]),
        (("dr", "run", "backup", "v"), ["verify"]),
        (("dr", "report", "backup", ""), ["status"]),
        (("dr", "plan", "--j"), ["--json"]),
        (("dr", "completion", ""), ["bash", "zsh"]),
    ],
)
def test_tab_offers_the_words_that_can_follow(typed: tuple[str, ...], expected: list[str]) -> None:
    assert offered("bash", *typed) == expected


@pytest.mark.parametrize("shell", ["bash", *HAS_ZSH])
def test_every_scenario_can_be_typed_by_tab_word_by_word(shell: str) -> None:
    for name in ("database failover", "region failback", "control-plane restart"):
        *before, last = name.split()
        assert last in offered(shell, "dr", "plan", *before, "")
