"""Runs that no person asked for: from the terminal and by a schedule, within what dr.toml allows and no step forbids."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rehearsal.waiting import until
from tests.story.held_world import HeldIncident, HeldWorld, held_incident, held_world

VERIFY = "backup verify"
HARMLESS = f'unattended = ["{VERIFY}"]'
ALLOWED = f'unattended = ["{VERIFY}", "test hold", "control-plane restart"]'
TERMINAL = re.compile(r"the terminal \([\w.-]+@[\w.-]+\)")


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[HeldWorld]:
    async with held_world(work_dirs / "unattended", cache) as world:
        yield world


@pytest.fixture
async def incident(world: HeldWorld) -> AsyncIterator[HeldIncident]:
    """With a dr.toml that allows three scenarios, of which only one is harmless."""
    async with held_incident(world) as incident:
        if ALLOWED not in world.config.read_text():
            await incident.reconfigure(HARMLESS, ALLOWED)
        yield incident


def alerts(incident: HeldIncident) -> list[str]:
    """The messages that stand in the channel by themselves and are no card."""
    return [message["text"] for message in incident.messages() if ":rotating_light:" in message["text"]]


async def test_the_terminal_runs_what_is_harmless_through_a_crash(incident: HeldIncident) -> None:
    incident.control(make="slow")
    running = asyncio.create_task(incident.dr("run", VERIFY, "--unattended"))
    await until(lambda: "trying" in incident.done, 60)
    incident.control()
    await incident.revive()
    code, out, err = await asyncio.wait_for(running, 60)
    assert (code, err) == (0, ""), out
    (run,) = re.findall(r"This is run (\w+)\.", out)
    assert out.rstrip().endswith("The clean-up is done and proven (step 2.1). The run is over: done.")
    assert (incident.done.count("make"), incident.done[-1]) == (1, "drop")
    assert TERMINAL.search(incident.says(run))
    assert "nobody: dr.toml allows it" in incident.says(run)
    assert "It needs no approval" in incident.thread(run)[0]
    assert await incident.ended(run) == "Done"
    _, listed, _ = await incident.dr("runs")
    assert TERMINAL.search(next(line for line in listed.splitlines() if run in line))
    assert alerts(incident) == []


REFUSED = {
    "control-plane rollback": (1, "`/dr control-plane rollback` needs an approval: [authority] unattended"),
    "control-plane restart": (1, "changes production: Restart service control-plane. So it needs an approval, whatever"),
    "test hold": (1, "Step 2.1 asks an approver: Is the file good enough? So it needs an approval, whatever"),
    "targets": (2, "`dr run` takes a scenario"),
}


async def test_what_needs_people_is_refused_and_does_nothing(incident: HeldIncident) -> None:
    before = incident.ids()
    ended = await asyncio.gather(*(incident.dr("run", words, "--unattended") for words in REFUSED))
    for (code, says), (exited, _, err) in zip(REFUSED.values(), ended, strict=True):
        assert (exited, says in err) == (code, True), err
    assert (incident.ids(), incident.done, incident.effects()) == (before, [], [])


async def test_a_run_that_fails_alerts_and_exits_with_1(incident: HeldIncident) -> None:
    incident.control(make="refused")
    running = asyncio.create_task(incident.dr("run", VERIFY, "--unattended"))
    run = await incident.unattended_run()
    await incident.waiting(run, 60)
    await until(lambda: any("waits for a decision" in text and run in text for text in alerts(incident)), 30)
    await incident.click("carol", run, "dr_abort")
    code, out, _ = await asyncio.wait_for(running, 60)
    assert code == 1
    assert "The run is over: aborted." in out
    await until(lambda: any("ended as aborted" in text and run in text for text in alerts(incident)), 30)
    await asyncio.sleep(6)  # one more look of the watch
    assert Counter(alerts(incident)).most_common(1)[0][1] == 1


async def test_each_due_time_is_one_run_through_a_crash(incident: HeldIncident) -> None:
    backups = '[backups]\nverify = "*/8 * * * * *"\nalert = ["U0CAROL", "S0ONCALL"]\n\n'
    await incident.reconfigure("[authority]", f"{backups}[authority]")
    first = await incident.unattended_run(timeout=90)
    await incident.ended(first, 60)
    assert "the schedule" in incident.says(first)
    await until(lambda: len(requests(incident)) > 1, 60)
    await incident.revive()
    known = len(requests(incident))
    await until(lambda: len(requests(incident)) > known, 60)
    await incident.reconfigure('verify = "*/8 * * * * *"', 'verify = ""')
    await incident.quiet(2.0)
    asked = requests(incident)
    runs = [run for run in incident.ids() if "the schedule" in incident.says(run)]
    refused = [text for text in alerts(incident) if "was not started" in text]
    assert len(asked) == len({*asked}) == len(runs) + len(refused)
    assert incident.done.count("make") == len(runs)
    for text in refused:
        assert text.startswith("<@U0CAROL> <!subteam^S0ONCALL>")


def requests(incident: HeldIncident) -> list[str]:
    """The requests of the schedule, as they are recorded."""
    with sqlite3.connect(incident.world.work_dir / "state.sqlite") as connection:
        rows = connection.execute("SELECT id FROM dr_inbox WHERE id LIKE 'request/schedule/%' AND handled").fetchall()
    return [row[0] for row in rows]
