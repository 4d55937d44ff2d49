"""Shell completion for `dr`: a script for bash or zsh, made by shtab, with the words of scenarios and reports in it.

The script is static, so that a press of Tab starts no Python. The words of a scenario are completed one by one, as they are typed
in Slack: `dr plan database failover`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import shtab

from commands.report import REPORTS
from commands.scenario import SCENARIOS

SHELLS = ("bash", "zsh")
NEXT_WORD = """\
{name}() {{
  local given="{words_before}" entry
  given="${{given#* }}"  # without plan, run or report
  while [[ "$given" == -* ]]; do given="${{given#* }}"; done
  for entry in {entries}; do
    if [[ "$entry " == "$given"?* ]]; then
      entry="${{entry#"$given"}}"
      {offer}
    fi
  done
}}
"""
BEFORE = {"bash": "${COMP_WORDS[*]:1:COMP_CWORD-1} ", "zsh": "${(j: :)words[1,CURRENT-1]} "}
OFFER = {"bash": 'compgen -W "${entry%% *}" -- "$1"', "zsh": 'compadd -- "${entry%% *}"'}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What the shell has to read to complete this program's words."""
    scenarios, reports = _functions("_dr_scenarios", SCENARIOS), _functions("_dr_reports", REPORTS)
    for word in _words(parser):
        actions = {action.dest: action for action in word._actions}
        kinds: dict[str, Any] = {"config": shtab.FILE, "out": shtab.DIRECTORY}
        if "scenario" in actions:
            kinds |= {"scenario": scenarios, "arguments": scenarios}
        elif "report" in actions:
            kinds |= {"report": reports, "arguments": reports}
        for name, kind in kinds.items():
            if name in actions:
                actions[name].complete = kind  # type: ignore[attr-defined]  # how shtab is told
    return str(shtab.complete(parser, shell))


def _words(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    """The parser of each word, such as that of `dr plan`."""
    return [one for action in parser._subparsers._group_actions for one in action.choices.values()]  # type: ignore[union-attr]


def _functions(name: str, known: Iterable[str]) -> dict[str, Any]:
    """A function for each shell that offers the next word of what is known, after the words that are typed already."""
    entries = " ".join(f'"{one}"' for one in sorted(known))
    preamble = {
        shell: NEXT_WORD.format(name=name, words_before=BEFORE[shell], entries=entries, offer=OFFER[shell]) for shell in SHELLS
    }
    return {**dict.fromkeys(SHELLS, name), "preamble": preamble}
