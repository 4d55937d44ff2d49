"""The report of a run as a canvas: made once, if the workspace allows it, and linked from the message of the end."""

from __future__ import annotations

import re

import aiohttp

from bot.slack.canvas import SCOPE
from bot.state.tables import runs
from tests.story.conftest import until
from tests.world.outbox_world import INCIDENT, Json, Told
from tests.world.test_lost_uploads import RUN, allow_files, ended, thread

RUN_ID = str(RUN["id"])


async def reported(told: Told) -> Json:
    """The message of the end, once the report hangs on it and what comes later is told."""
    await told.store.do(lambda c: c.execute(runs.insert().values(**RUN)))
    await ended(told, RUN_ID)
    async with told.telling():
        await until(lambda: any(m.get("files") for m in thread(told)), 20)
        await told.lines(RUN_ID, 1)
        await until(lambda: thread(told)[-1]["text"].endswith("x"), 10)
    (end,) = [m for m in thread(told) if m.get("files")]
    return end


async def test_the_end_leads_to_a_canvas_that_the_channel_may_read(told: Told) -> None:
    allow_files(told, SCOPE)
    end = await reported(told)
    (canvas,) = told.workspace.store.canvases.values()
    assert canvas["title"] == f"Report of run {RUN_ID}"
    assert canvas["access"] == {INCIDENT: "read"}
    (link,) = re.findall(r"<(http[^|>]+)\|The report as a canvas>", str(end["blocks"]))
    async with aiohttp.ClientSession() as client, client.get(link) as answer:
        text = await answer.text()
    assert text == canvas["text"]
    assert f"Run `{RUN_ID}`" in text
    assert "## Timeline" in text


async def test_without_the_scope_there_is_no_canvas_and_nothing_is_said_of_it(told: Told) -> None:
    allow_files(told)
    end = await reported(told)
    assert told.workspace.store.canvases == {}
    assert "canvas" not in str(end["blocks"])
    assert not [e for e in told.workspace.log if e["kind"] == "call" and e["method"].startswith("canvases.")]


async def test_a_canvas_whose_answer_got_lost_is_not_made_twice_and_costs_the_report_nothing(told: Told) -> None:
    allow_files(told, SCOPE)
    told.workspace.faults.lose_answer("canvases.create")
    told.workspace.faults.lose_answer("chat.update", times=2)
    end = await reported(told)
    assert len(told.workspace.store.canvases) == 1
    assert "canvas" not in str(end["blocks"])


async def test_a_canvas_that_slack_refuses_costs_the_report_nothing(told: Told) -> None:
    allow_files(told, SCOPE)
    told.workspace.faults.rate_limit("canvases.create")
    end = await reported(told)
    assert told.workspace.store.canvases == {}
    assert "canvas" not in str(end["blocks"])
