"""The report of a run as a canvas, if the workspace gave the app the scope for it; the message of the end leads there.

A canvas is tried once: if Slack doesn't answer, we can't tell whether it's there, and a second one would be worse than none.
Whatever goes wrong costs the canvas and nothing else, for the report is a file in the thread in any case.

https://docs.slack.dev/surfaces/canvases
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import structlog

from actions.scrub import plain
from bot.slack.errors import LOST
from bot.state.notes import change_note, note, note_once
from bot.state.store import Connection, Store
from bot.state.story import Story

log = structlog.get_logger(__name__)
SCOPE = "canvases:write"
MOST_CELLS = 300  # of one table in a canvas


async def add_canvas(slack: Any, store: Store, story: Story, report: str) -> None:
    """Make the canvas of a run's report, which everybody in the plan's channel may read, unless it was tried before."""
    run_id = story.offer.id
    try:
        team = await slack.auth_test()
        if SCOPE not in team.headers.get("x-oauth-scopes", "") or not await store.do(note_once, _name(run_id), ""):
            return
        content = {"type": "markdown", "markdown": canvas_text(report)}
        made = await slack.canvases_create(title=f"Report of run {run_id}", document_content=content)
        canvas = str(made["canvas_id"])
        await slack.canvases_access_set(canvas_id=canvas, access_level="read", channel_ids=[story.offer.channel])
    except LOST as error:  # an answer that refuses, too
        log.warning("no_canvas", run=run_id, says=plain(error))
        return
    await store.do(change_note, _name(run_id), f"{team['url']}docs/{team['team_id']}/{canvas}")


def canvas_link(connection: Connection, run_id: str) -> str:
    """The address of the canvas of a run's report; "" if there is none."""
    return str(note(connection, _name(run_id)) or "")


def canvas_text(report: str) -> str:
    """A report as a canvas takes it: a table that is too long for one is a list, and nothing in it mentions anybody."""
    parts = groupby(report.replace("![](", "!\\[](").splitlines(), key=lambda line: line.startswith("|"))
    return "\n".join(line for is_table, lines in parts for line in (_table(list(lines)) if is_table else lines)) + "\n"


def _table(rows: list[str]) -> Iterator[str]:
    """The lines of a table of Markdown; as those of a list if it has too many cells."""
    cells = [row.strip("|").split(" | ") for row in rows if set(row) - set("|-")]
    if sum(map(len, cells)) <= MOST_CELLS:
        yield from rows
    else:
        yield from ("- " + ", ".join(cell.strip() for cell in row if cell.strip()) for row in cells)


def _name(run_id: str) -> str:
    return f"canvas of {run_id}"
