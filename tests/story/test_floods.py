"""Nobody can drown the story: forty refused clicks delay neither the run's lines nor anybody else's click.

Slack's limits are near its own here: four times as fast, and not 25 times as in the other stories.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rehearsal.world import Rehearsal
from tests.story.conftest import Incident, calm_options, tries, until

CLICKS = 40
SLACK_SPEED = 4.0
REPEAT_SECONDS = 10 / SLACK_SPEED
ONE_BY_ONE = CLICKS / SLACK_SPEED  # seconds that forty messages take at the pace of posts


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal whose Slack takes four posts a second."""
    options = calm_options(work_dir=work_dirs / "floods", cache=cache, slack_speed=SLACK_SPEED)
    async with Rehearsal(options) as world:
        await world.witness.healthy()
        yield world


async def flood(incident: Incident, person: str, run: str, value: Callable[[int], str | None] = lambda _: None) -> None:
    """Forty presses of Approve by one person, as fast as they go."""
    await asyncio.gather(*(incident.click(person, run, "dr_approve", value(n)) for n in range(CLICKS)))


def calls(incident: Incident, method: str, **arguments: str) -> list[dict[str, Any]]:
    """The calls of a method with these arguments, oldest first."""
    of_method = [e for e in incident.slack.log if e["kind"] == "call" and e["method"] == method]
    return [e for e in of_method if all(e["args"].get(name) == value for name, value in arguments.items())]


async def told_after_approval(incident: Incident, run: str) -> tuple[float, float]:
    """Bob approves; the seconds until the first line in the thread, and until the card names the end."""
    began = time.time()
    await incident.click("bob", run, "dr_approve")
    await until(lambda: incident.is_over(run), 60)
    assert incident.title(run) == "Done"
    ts = incident.card(run)["ts"]
    done = [e for e in calls(incident, "chat.update", ts=ts) if e["args"]["text"].startswith("Done")]
    return calls(incident, "chat.postMessage", thread_ts=ts)[0]["at"] - began, done[0]["at"] - began


def asked_about(incident: Incident, since: int) -> list[str]:
    """The people about whom Slack was asked, in order."""
    return [e["args"]["user"] for e in calls(incident, "users.info")[since:]]


def nothing_was_too_fast(incident: Incident) -> bool:
    """Slack had to refuse no call for its limits."""
    return not any(e["kind"] == "call" and e["error"] == "ratelimited" for e in incident.slack.log)


async def test_forty_refusals_of_a_stranger_delay_no_line_of_a_run(incident: Incident) -> None:
    first, done = await told_after_approval(incident, await incident.plan("alice"))
    run, told = await incident.plan("alice"), len(calls(incident, "chat.postEphemeral"))
    await flood(incident, "dave", run, lambda n: f"nonsense{n}:plan:x")  # forty sentences, each about something else
    flooded_first, flooded_done = await told_after_approval(incident, run)
    assert flooded_first < first + ONE_BY_ONE / 4
    assert flooded_done < done + ONE_BY_ONE / 2
    line = calls(incident, "chat.postMessage", thread_ts=incident.card(run)["ts"])[0]
    before = [e for e in calls(incident, "chat.postEphemeral", user="U0DAVE")[told:] if e["at"] < line["at"]]
    assert len(before) < CLICKS / 2
    await until(lambda: len(calls(incident, "chat.postEphemeral", user="U0DAVE")) >= told + CLICKS, 30)
    assert nothing_was_too_fast(incident)


async def test_forty_clicks_of_a_stranger_are_few_answers_and_all_on_record(incident: Incident) -> None:
    run, before = await incident.plan("alice"), len(incident.slack.ephemerals("dave"))
    await flood(incident, "dave", run)
    await until(lambda: sum(map(tries, incident.slack.ephemerals("dave")[before:])) == CLICKS, 20)
    first, *later = [m["text"] for m in incident.slack.ephemerals("dave")[before:]]
    assert "not an approver" in first
    assert later
    at = [e["at"] for e in calls(incident, "chat.postEphemeral", user="U0DAVE") if "not an approver" in e["args"]["text"]]
    assert all(next_at - one_at >= REPEAT_SECONDS for one_at, next_at in itertools.pairwise(at))
    log = [json.loads(line) for line in incident.world.bot_log.read_text().splitlines() if line.startswith("{")]
    refused = [
        line for line in log if line["event"] == "refused" and line["person"] == "U0DAVE" and "not an approver" in line["says"]
    ]
    assert len({line["item"] for line in refused}) == CLICKS
    with contextlib.closing(sqlite3.connect(incident.world.work_dir / "state.sqlite", timeout=5)) as state:
        query = "SELECT count(*) FROM dr_inbox WHERE person = 'U0DAVE' AND handled AND payload LIKE ?"
        assert state.execute(query, [f"%{run}%"]).fetchone()[0] == CLICKS
    await incident.click("bob", run, "dr_reject")
    await until(lambda: incident.buttons(run) == [])


async def test_forty_clicks_of_a_guest_delay_no_approval_and_use_up_no_limit(incident: Incident) -> None:
    run, asked = await incident.plan("alice"), len(calls(incident, "users.info"))
    await flood(incident, "gina", run)  # she is on the list, so that Slack is asked about her at each click
    await incident.click("bob", run, "dr_approve")
    people = await until(lambda: asked_about(incident, asked) if "U0BOB" in asked_about(incident, asked) else None, 20)
    assert people.index("U0BOB") < CLICKS / 2
    assert await incident.ended(run) == "Done"
    assert nothing_was_too_fast(incident)
