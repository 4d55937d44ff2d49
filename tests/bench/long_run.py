"""A run of 500 fast steps against a Slack with Slack's own limits, on their own clock: `python -m tests.bench.long_run [faults]`.

The real engine, store and outbox, and 500 actions that do nothing. It prints how fast Slack was called, how long after the end
the card had its last state, and whether the thread has every line, in order and once. With `faults`, Slack refuses the blocks of
task cards, answers 429 for a minute, stores two posts without an answer, and is away for two minutes, while the run goes on.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from actions.world import World
from bot import log, settings
from bot.engine.planner import Planner
from bot.engine.runs import Runs
from bot.slack.app import slack_client
from bot.slack.outbox import Outbox
from bot.state import approvals
from bot.state.database import open_engine
from bot.state.store import Store
from bot.state.story import QUIET
from commands.plan import Plan
from commands.scenario import scenario
from rehearsal.settings import BOT_TOKEN
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from rehearsal.waiting import until
from tests.bench.engine import Noop, ended, story_of
from tests.bench.figures import machine
from tests.bench.subjects import ROOT, config

STEPS, RUN, CHANNEL = 500, "longrun1", "incident"
LAG_SECONDS, EDITS = 5.0, 40  # the aims: seconds, and edits in any minute
OVER = 10.0  # seconds over which posts are counted: how long a call is on its way varies


@scenario("bench long run")
async def long_run(world: World) -> Plan:
    """Do nothing 500 times, one after the other."""
    return Plan(
        scenario="bench long run",
        arguments={},
        why="To measure what a long run asks of Slack.",
        target="nothing",
        stages=tuple((Noop(number=number),) for number in range(STEPS)),
        basis={},
    )


async def main(with_faults: bool) -> int:
    """Carry the run out and print what Slack saw of it; 1 if something of it isn't as it must be."""
    where = machine()
    os.environ["SLACK_BOT_TOKEN"] = BOT_TOKEN
    manifest = yaml.safe_load((ROOT / "manifest.yml").read_text())
    workspace = Workspace(manifest=manifest, people=PEOPLE, channels=(CHANNEL,), limits_speed=1.0)
    with tempfile.TemporaryDirectory(prefix="long-run-") as folder:
        async with serve(workspace) as url:
            workspace.sockets.base = url
            known = settings.load(config(Path(folder), url))
            known = known.model_copy(update={"slack": known.slack.model_copy(update={"posts_per_second": 1.0, "report": True})})
            store = Store(open_engine(known.state.url))
            runs = Runs(store, Planner(known, World(known), store))
            client = slack_client(known)
            client.session = aiohttp.ClientSession()
            outbox = asyncio.create_task(Outbox(store, client, known).run())
            runs.launch(known.state.url)
            trouble = asyncio.create_task(_trouble(workspace)) if with_faults else None
            over = await _carry_out(runs)
            if trouble:
                await trouble
            told = await _told(store, workspace, over)
            outbox.cancel()
            await asyncio.gather(outbox, return_exceptions=True)
            await client.session.close()
            await asyncio.to_thread(runs.close)
            store.close()
    print(f"{where} (python -m tests.bench.long_run{' faults' if with_faults else ''})")
    return _judged(workspace, told, with_faults)


async def _carry_out(runs: Runs) -> float:
    """Have the run approved and carried out; returns when it ended."""
    plan = await runs.planner.make("bench long run", {})
    await runs.planner.offer(RUN, plan, "U0ALICE")

    async def is_read() -> bool:
        return not (await story_of(runs, RUN)).offer.unread

    await until(is_read, 600, "the whole plan in its thread")
    click = approvals.Click(run_id=RUN, question="plan", nonce=(await story_of(runs, RUN)).offer.nonce)
    await runs.store.do(approvals.approve, click, "U0BOB", 1)
    await runs.start(RUN)
    run = await ended(runs, RUN, 600.0)
    assert run.state == "done", run
    print(f"{STEPS} steps took {(run.ended or 0) - run.began:.1f} s.")
    return float(run.ended or 0)


async def _trouble(workspace: Workspace) -> None:
    """Everything that Slack may do to a run, one after the other."""
    faults = workspace.faults
    faults.refuse_blocks("plan")
    await until(lambda: _posts(workspace, in_thread=True), 60, "the first reply")
    faults.lose_answer("chat.postMessage", times=2)
    await asyncio.sleep(10.0)
    faults.rate_limit("chat.postMessage", retry_after=60)
    faults.rate_limit("chat.update", retry_after=60)
    await asyncio.sleep(65.0)
    faults.outage(120.0)
    await asyncio.sleep(121.0)


async def _told(store: Store, workspace: Workspace, over: float) -> dict[str, Any]:
    """Wait until the card has its last state and the thread all lines; the seconds that the card took, and the lines."""
    story = await store.story(RUN)
    assert story is not None
    lines = [line.text for line in story.timeline if line.mark not in QUIET]
    done = await until(lambda: [e for e in _edits(workspace) if e["args"]["text"].startswith("Done")], 300, "the last state")
    await until(lambda: any(one.get("files") for one in workspace.messages(CHANNEL, _card(workspace)["ts"])), 300, "the report")
    return {"lag": done[0]["at"] - over, "lines": lines}


def _judged(workspace: Workspace, told: dict[str, Any], with_faults: bool) -> int:
    posts, edits = _posts(workspace), _edits(workspace)
    thread = "\n".join(_text(message) for message in workspace.messages(CHANNEL, _card(workspace)["ts"])[1:])
    places = [thread.find(line[:200]) for line in told["lines"]]
    limited = [e for e in workspace.log if e["kind"] == "call" and e["error"] == "ratelimited"]
    seen = {
        "every line is in the thread, in order": -1 not in places and places == sorted(places),
        "every line is there once": all(thread.count(line[:200]) == 1 for line in told["lines"]),
        f"at most one post a second, over any {OVER:g} s ({_most_in(posts, OVER)} posts)": _most_in(posts, OVER) <= OVER + 1,
        f"at most {EDITS} edits in any minute ({_most_in(edits, 60)})": _most_in(edits, 60) <= EDITS,
        f"Slack refused no call for its limits ({len(limited)} refused)": with_faults or not limited,
        f"the last state is on the card within {LAG_SECONDS:g} s ({told['lag']:.1f} s after the end)": with_faults
        or told["lag"] <= LAG_SECONDS,
    }
    print(f"{len(told['lines'])} lines in {len(posts)} posts, {len(edits)} edits.")
    for says, holds in seen.items():
        print(f"{'ok   ' if holds else 'WRONG'} {says}")
    return 0 if all(seen.values()) else 1


def _calls(workspace: Workspace, method: str) -> list[dict[str, Any]]:
    return [e for e in workspace.log if e["kind"] == "call" and e["method"] == method and e["ok"]]


def _posts(workspace: Workspace, *, in_thread: bool = False) -> list[dict[str, Any]]:
    return [e for e in _calls(workspace, "chat.postMessage") if e["args"].get("thread_ts") or not in_thread]


def _edits(workspace: Workspace) -> list[dict[str, Any]]:
    return _calls(workspace, "chat.update")


def _card(workspace: Workspace) -> Any:
    return next(message for message in workspace.messages(CHANNEL) if RUN in str(message["blocks"]))


def _text(message: Any) -> str:
    """All that a message says, as it was before Slack's escapes."""
    texts = [block["text"]["text"] for block in message["blocks"] if block["type"] == "section" and "text" in block]
    return "\n".join(texts or [message["text"]])


def _most_in(calls: list[dict[str, Any]], seconds: float) -> int:
    """The most calls in any so many seconds, by when Slack took them."""
    return max(sum(one["at"] <= other["at"] < one["at"] + seconds for other in calls) for one in calls)


if __name__ == "__main__":
    log.set_up(level="ERROR")
    sys.exit(asyncio.run(main("faults" in sys.argv[1:])))
