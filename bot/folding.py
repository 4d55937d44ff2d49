"""Lines of a run that wait for Slack are folded into few messages: Slack takes one post a second.

Only the lines of steps are folded, in their order, each whole with its own sign. What a message says is on disk first.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from bot.blocks import length
from bot.layout import PACKED, pack
from bot.tables import outbox

MOST_BEHIND = 10  # lines that wait: as long as there are no more, each is a message of its own
FOLDED = "folded"  # stands for the ts of a line that is part of another's message
LONGEST_LINE = 1000  # characters: a longer line stays a message of its own
END_OF_STEP = ":end"  # how the keys of such lines end
SIGNS = {"ok": ":white_check_mark:", "bad": ":x:"}  # the marks of lines that are folded


def fold(connection: Connection, row: Any) -> Any:
    """The row, with the lines that wait behind it in its text if they are many. Safe to repeat: those wait no more."""
    if not _is_short(row):
        return row
    of_run = outbox.c.run_id == row["run_id"], outbox.c.kind == "reply", outbox.c.ts == "", outbox.c.seq >= row["seq"]
    waiting = connection.execute(select(outbox).where(*of_run).order_by(outbox.c.seq)).mappings().all()
    together = _beginning(waiting)
    if len(waiting) <= MOST_BEHIND or len(together) < 2:
        return row
    text = _as_one(together)
    last = together[-1]["seq"]
    rest = outbox.c.seq > row["seq"], outbox.c.seq <= last, *of_run[:3]
    connection.execute(update(outbox).where(*rest).values(ts=FOLDED, sent_rev=outbox.c.rev))
    connection.execute(update(outbox).where(outbox.c.seq == row["seq"]).values(text=text, mark=FOLDED))
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
