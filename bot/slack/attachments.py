"""Texts that steps attach, such as terraform's plan: stored whole, in the run's thread as snippets, and printed by `dr show`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from actions.scrub import scrub
from bot.slack.blocks import length
from bot.slack.layout import LONGEST_REPLY
from bot.state.attached import replace_attachment
from bot.state.items import under_way
from bot.state.messages import order_reply
from bot.state.store import Connection, Store
from bot.state.story import WHOLE
from bot.state.timeline import channel_of, redraw

MOST_REPLIES = 20  # of one text; Slack takes one a second
FENCE = "```"


class Attachments:
    """`add` stores a text beside the step that is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, name: str, text: str) -> None:
        """Store the text and order its replies. Nobody may answer Yes to what the step asks before all of them are there."""
        now, text = under_way(), scrub(text)
        key = {"run_id": now.run_id, "step": now.step, "attempt": now.number, "name": name}

        def work(connection: Connection) -> None:
            replace_attachment(connection, key, text)
            channel = channel_of(connection, now.run_id)
            which = hashlib.sha256(text.encode()).hexdigest()[:8]  # gathered again after a crash, it may be another text
            for number, part in enumerate(snippets(now.run_id, name, text), 1):
                row_key = f"{now.step}#{now.number}:{name}:{which}:{number}"
                order_reply(connection, now.run_id, channel, row_key, WHOLE, part)
            redraw(connection, now.run_id)

        await self._store.do(work)


def snippets(run_id: str, name: str, text: str) -> Iterator[str]:
    """The text as it stands in the thread, in as few replies as it fits into; of a very long one the beginning."""
    parts = list(_parts(text, LONGEST_REPLY - 200))
    for number, part in enumerate(parts[:MOST_REPLIES], 1):
        heading = f"*{name}*" if len(parts) == 1 else f"*{name}, part {number} of {len(parts)}*"
        yield f"{heading}\n{FENCE}\n{part.replace(FENCE, chr(39) * 3)}\n{FENCE}"
    if len(parts) > MOST_REPLIES:
        yield f":warning: *{name}* is too long for a thread. `dr show {run_id}` prints the rest of it. Read it before you answer."


def _parts(text: str, longest: int) -> Iterator[str]:
    """The text in parts that end at a line's end if they can. A sign may take five characters as markup."""
    part = ""
    for line in text.splitlines():
        for piece in [line[n : n + longest // 5] for n in range(0, len(line), longest // 5)] or [""]:
            if part and length(part) + 1 + length(piece) > longest:
                yield part
                part = ""
            part = f"{part}\n{piece}" if part else piece
    if part:
        yield part
