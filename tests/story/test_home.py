"""The app's home and the triage: what people press there is planned as if they had typed it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.waiting import until
from rehearsal.world import Rehearsal
from tests.story.conftest import Incident, calm_options


@pytest.fixture(scope="module")
async def world(work_dirs: Path, cache: Path) -> AsyncIterator[Rehearsal]:
    """A rehearsal whose bot draws the reports of its runs."""
    async with Rehearsal(calm_options(work_dir=work_dirs / "home", cache=cache, reports=True)) as world:
        await world.witness.healthy()
        yield world


def text_of(home: Any) -> str:
    return str(home["blocks"])


async def test_a_plan_is_picked_in_the_home_and_a_triage_finds_what_is_broken(incident: Incident) -> None:
    slack, known = incident.slack, incident.ids()
    assert (await slack.open_home("alice"))["acked"]
    home = await until(lambda: slack.modals.homes.get("U0ALICE"), 10)
    assert "Nothing runs." in text_of(home)
    await slack.click_view("alice", home["id"], "dr_pick")
    form = await incident.form("alice")
    assert (await slack.submit("alice", form["id"], {"scenario": "control-plane restart"}))["acked"]
    await incident.new_plan(known)
    before = len(slack.ephemerals("alice"))
    await incident.type("alice", "")
    triage = await until(lambda: [m for m in slack.ephemerals("alice")[before:] if "No scenario fits" in m["text"]], 20)
    assert "dr_plan" not in str(triage[0]["blocks"])
    assert incident.effects() == []


async def test_a_message_that_is_saved_as_evidence_is_in_the_timeline(incident: Incident) -> None:
    run = await incident.plan("alice")
    message = await incident.slack.post("dave", "incident", "Logins hang since 10:31")
    async with incident.told("alice") as sentences:
        assert (await incident.slack.shortcut("alice", "dr_evidence", "incident", message["ts"]))["acked"]
    assert f"Saved to the timeline of run `{run}`" in sentences[0]
    saved = [line["text"] for line in (await incident.story(run))["timeline"] if line["mark"] == "saved"]
    assert len(saved) == 1
    assert "Logins hang since 10:31" in saved[0]


async def test_a_run_ends_once_in_the_channel_with_its_report_and_few_messages(incident: Incident) -> None:
    run = await incident.approved("alice", "bob")
    assert await incident.ended(run) == "Done", incident.thread(run)
    thread = await until(lambda: _with_files(incident, run), 20)
    ours = [m for m in incident.messages() if run in str(m.get("metadata")) or run in str(m.get("blocks"))]
    assert [m.get("subtype") for m in ours] == [None, "thread_broadcast"]
    assert "Outage" in str(ours[1]["blocks"]) or "no outage" in str(ours[1]["blocks"])
    (shared,) = [m["files"] for m in thread if m.get("files")]
    assert [file["name"] for file in shared] == [f"run-{run}.md", f"run-{run}.png"]
    report = incident.slack.uploads.files[shared[0]["id"]].content.decode()
    assert "@bob approved plan" in report, [line for line in report.splitlines() if "approved" in line.lower()]
    steps = len((await incident.story(run))["steps"])
    assert len(thread) <= steps + 1 + 2, [
        m["text"][:60] for m in thread
    ]  # one decision; the evidence, and the end with the report
    assert thread[-1]["files"] == shared
    code, out, _ = await incident.dr("report", run, "--out", str(incident.world.work_dir / "report"))
    assert code == 0
    assert len(out.splitlines()) == 2


def _with_files(incident: Incident, run: str) -> Any:
    thread = incident.slack.messages("incident", incident.card(run)["ts"])[1:]
    return thread if any(m.get("files") for m in thread) else None
