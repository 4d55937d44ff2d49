"""Lines of a run that wait for Slack are folded into few messages: Slack takes one post a second.

Only the lines of steps are folded, in their order, each whole with its own sign. What a message says is on disk first.
"""

from __future__ import annotations

from typing import Any

from bot.slack.blocks import length
from bot.slack.layout import PACKED, pack
from bot.state.messages import FOLDED, fold_lines, waiting_lines
from bot.state.store import Connection

MOST_BEHIND = 10  # lines that wait: as long as there are no more, each is a message of its own
LONGEST_LINE = 1000  # characters: a longer line stays a message of its own
END_OF_STEP = ":end"  # how the keys of such lines end
SIGNS = {"ok": ":white_check_mark:", "bad": ":x:"}  # the marks of lines that are folded


def fold(connection: Connection, row: Any) -> Any:
    """The row, with the lines that wait behind it in its text if they are many. Safe to repeat: those wait no more."""
    if not _is_short(row):
        return row
    waiting = waiting_lines(connection, row)
    together = _beginning(waiting)
    if len(waiting) <= MOST_BEHIND or len(together) < 2:
        return row
    text = _as_one(together)
    fold_lines(connection, row, together[-1]["seq"], text)
    return {**row, "text": text, "mark": FOLDED}


def _beginning(waiting: Any) -> list[Any]:
    """The first lines that fit into one message."""
    together: list[Any] = []
    characters = 0
    for line in waiting:
        characters += length(line["text"]) + 60  # its sign, and what stands between parts
        if not _is_short(line) or characters > PACKED:
            break
        together.append(line)
    return together


def _is_short(line: Any) -> bool:
    """Whether it is the end of a step, and short. The end of the run, which has such a mark too, stands alone in the channel."""
    return line["key"].endswith(END_OF_STEP) and line["mark"] in SIGNS and length(line["text"]) <= LONGEST_LINE


def _as_one(together: list[Any]) -> str:
    (text,) = pack((f"{SIGNS[line['mark']]} {line['text']}" for line in together), between="\n")
    return text
