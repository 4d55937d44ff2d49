"""The shortcut "Save as evidence": a message goes once into the timeline of what is under way in its channel."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import update

from bot.slack.app import slack_client
from bot.slack.authority import Directory
from bot.slack.evidence import MOST_TEXT, read_shortcut, save
from bot.slack.look import Look
from bot.slack.mrkdwn import INVISIBLE
from bot.slack.pace import Pace
from bot.slack.run_report import markdown
from bot.state.store import Item, Refusal
from bot.state.story import SAVED, Line
from bot.state.tables import outbox, plans, runs
from rehearsal.slack import payloads
from tests.world.outbox_world import GENERAL, INCIDENT, Json, Told


class Savers:
    """People who save messages of the workspace as evidence."""

    def __init__(self, told: Told) -> None:
        self.told = told
        scopes = told.workspace.manifest["oauth_config"]["scopes"]
        scopes["bot"] = [*scopes["bot"], "users:read"]
        self.slack = slack_client(told.site)
        self.directory = Directory(self.slack, Pace(1000))

    async def wrote(self, text: str, thread: str | None = None) -> Json:
        """A message of Dave's in the incident channel."""
        return await self.told.workspace.post("dave", "incident", text, thread)

    def shortcut(self, message: Json, person: str = "alice", channel: str = INCIDENT) -> Item:
        """What follows from the shortcut on a message, as the bot reads it."""
        who, where = self.told.workspace.person(person), self.told.workspace.channel(channel)
        of = {"trigger_id": "1.2.3", "response_url": "", "action_ts": self.told.workspace.store.next_ts()}
        return read_shortcut(payloads.message_shortcut(who, where, message, "dr_evidence", **of))

    async def save(self, message: Json, person: str = "alice", channel: str = INCIDENT) -> str:
        """The sentence that the person gets."""
        return await save(self.told.store, self.directory, self.slack, self.shortcut(message, person, channel))

    async def saved(self, run: str) -> list[Line]:
        """The evidence in the timeline of a run."""
        story = await self.told.store.story(run)
        assert story is not None
        return [line for line in story.timeline if line.mark == SAVED]

    async def run(self, run_id: str, state: str = "running") -> None:
        """A run whose card is in the incident channel."""
        await self.told.card(run_id)
        row = {"id": run_id, "target": run_id, "state": state, "says": "", "began": time.time()}
        await self.told.store.do(lambda c: c.execute(runs.insert().values(row)))


@pytest.fixture
async def savers(told: Told) -> Savers:
    return Savers(told)


async def test_a_message_is_saved_once_with_text_author_time_and_permalink(savers: Savers, told: Told) -> None:
    await savers.run("abcdefgh")
    message = await savers.wrote("Since 10:31 all logins fail & hang")
    assert await savers.save(message) == "Saved to the timeline of run `abcdefgh`; `/dr show abcdefgh` and the report have it."
    assert "is in the timeline of run `abcdefgh` already" in await savers.save(message, "bob")
    (line,) = await savers.saved("abcdefgh")
    assert line.text.startswith("Evidence, saved by <@U0ALICE>: <@U0DAVE> wrote on 20")
    assert "“Since 10:31 all logins fail & hang” (https://shielda.rehearsal.invalid/archives/C0INCIDENT/p" in line.text
    story = await told.store.story("abcdefgh")
    assert story is not None
    report = markdown(story, Look(), [], {"U0DAVE": "dave", "U0ALICE": "alice"})
    assert "## Evidence\n\n- Evidence, saved by @alice: @dave wrote on" in report
    assert report.count("all logins fail") == 1


async def test_saved_evidence_adds_no_message_to_the_channel(savers: Savers, told: Told) -> None:
    await savers.run("abcdefgh")
    await savers.save(await savers.wrote("It hangs"))
    told_lines = await told.store.do(lambda c: c.execute(outbox.select().where(outbox.c.kind == "reply")).all())
    assert told_lines == []


@pytest.mark.parametrize("state", ["", "done", "failed"])
async def test_without_a_recovery_under_way_nothing_is_saved_and_it_says_so(savers: Savers, told: Told, state: str) -> None:
    if state:
        await savers.run("abcdefgh", state)
    message = await savers.wrote("It hangs")
    with pytest.raises(Refusal, match=r"No recovery is under way in <#C0INCIDENT>.* Nothing was saved\."):
        await savers.save(message)
    assert not state or await savers.saved("abcdefgh") == []


async def test_a_plan_that_waits_for_approval_gets_evidence_until_it_expires(savers: Savers, told: Told) -> None:
    await told.card("abcdefgh")
    await savers.save(await savers.wrote("It hangs"))
    assert len(await savers.saved("abcdefgh")) == 1
    await told.store.do(lambda c: c.execute(update(plans).values(expires=time.time() - 1)))
    message = await savers.wrote("It hangs still")
    with pytest.raises(Refusal, match="No recovery is under way"):
        await savers.save(message)


async def test_of_two_runs_the_thread_tells_which_and_the_channel_means_both(savers: Savers, told: Told) -> None:
    await savers.run("abcdefgh")
    card = told.workspace.messages(INCIDENT)[-1]["ts"]
    await savers.run("ijklmnop")
    await savers.save(await savers.wrote("About the first", card))
    assert [len(await savers.saved(run)) for run in ("abcdefgh", "ijklmnop")] == [1, 0]
    assert "runs `abcdefgh` and `ijklmnop`" in await savers.save(await savers.wrote("About both"))
    assert [len(await savers.saved(run)) for run in ("abcdefgh", "ijklmnop")] == [2, 1]
    with pytest.raises(Refusal, match="in <#C0GENERAL>"):
        await savers.save(await told.workspace.post("dave", "general", "Lunch?"), channel=GENERAL)


async def test_a_guest_saves_nothing(savers: Savers) -> None:
    await savers.run("abcdefgh")
    message = await savers.wrote("It hangs")
    with pytest.raises(Refusal, match="is a guest in Slack"):
        await savers.save(message, "gina")
    assert await savers.saved("abcdefgh") == []


async def test_if_slack_does_not_tell_the_link_the_message_is_saved_without_it(savers: Savers, told: Told) -> None:
    await savers.run("abcdefgh")
    message = await savers.wrote("It hangs")
    told.workspace.faults.rate_limit("chat.getPermalink")
    await savers.save(message)
    (line,) = await savers.saved("abcdefgh")
    assert f"(message {message['ts']} of channel C0INCIDENT; Slack didn't give its link)" in line.text


@pytest.mark.parametrize(
    ("message", "author", "said"),
    [
        (
            {"user": "U0DAVE", "text": "&lt;!channel&gt; <!here> xoxb-geheim"},
            "<@U0DAVE>",
            f"<{INVISIBLE}!channel> <{INVISIBLE}!here> ***",
        ),
        ({"user": "U0DAVE", "text": "x" * 9000}, "<@U0DAVE>", "x" * 100),
        ({"username": "Pager <@U0EVIL>", "text": "Down"}, f"the app Pager <{INVISIBLE}@U0EVIL>", "Down"),
        (
            {"bot_profile": {"name": "CloudWatch"}, "text": "", "attachments": [{"fallback": "CPU high"}]},
            "the app CloudWatch",
            "CPU high",
        ),
        ({"text": "", "attachments": ["strange"]}, "an app", "(a message without text)"),
    ],
)
def test_whatever_a_message_holds_its_evidence_is_short_and_calls_nobody(message: Json, author: str, said: str) -> None:
    body: dict[str, Any] = {"type": "message_action", "callback_id": "dr_evidence", "action_ts": "1.2"}
    body |= {"user": {"id": "U0ALICE"}, "channel": {"id": INCIDENT}, "message": {"ts": "1736937000.000123", **message}}
    item = read_shortcut(body)
    assert item.payload["author"] == author
    assert item.payload["text"].startswith(said)
    assert len(item.payload["text"]) <= MOST_TEXT
    assert "geheim" not in str(item)
