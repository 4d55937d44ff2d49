"""HTTP mode at the socket: what Slack signed is taken once and handled as over a socket, and nothing else is."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from sqlalchemy import func, select

from bot import settings
from bot.slack.app import App, slack_client
from bot.slack.inbox import Inbox
from bot.state.database import open_engine
from bot.state.store import Item, Store
from bot.state.tables import inbox, requests
from rehearsal.slack import payloads
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.posting import Posted, Posting
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from tests.conftest import SetVariable
from tests.story.conftest import until

ROOT = Path(__file__).parents[2]
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # of Slack's own documentation


@dataclass(frozen=True, kw_only=True)
class Door:
    """A workspace that posts to a bot in HTTP mode, and what the bot has on record."""

    workspace: Workspace
    posting: Posting
    store: Store
    site: settings.Settings
    handled: list[Item]

    async def recorded(self) -> tuple[int, int]:
        """How many things that people did, and how many requests, are on record."""

        def work(connection: Any) -> tuple[int, int]:
            first, second = (
                connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (inbox, requests)
            )
            return first, second

        return await self.store.do(work)

    def command(self, text: str = "control-plane restart") -> dict[str, Any]:
        """The payload of a command of Alice's."""
        who, where = self.workspace.person("alice"), self.workspace.channel("incident")
        trigger = self.workspace.modals.trigger(who.id)
        return payloads.slash_command(who, where, "/dr", text, trigger_id=trigger, response_url="http://127.0.0.1/x")


@pytest.fixture
async def door(tmp_path: Path, set_variable: SetVariable) -> AsyncIterator[Door]:
    set_variable("SLACK_BOT_TOKEN", "xoxb-rehearsal")
    set_variable("SLACK_SIGNING_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
    workspace = Workspace(
        manifest=yaml.safe_load((ROOT / "manifest.yml").read_text()), people=PEOPLE, channels=("incident", "general")
    )
    workspace.sockets.posting = Posting(url=f"http://{listen}/slack/events", secret=SECRET)
    async with serve(workspace) as base:
        site = settings.load(ROOT / "dr.toml")
        slack = {"mode": "http", "listen": listen, "api_url": f"{base}/api/"}
        site = site.model_copy(update={"slack": site.slack.model_copy(update=slack)})
        store, handled = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")), list[Item]()

        async def handle(item: Item) -> None:
            handled.append(item)

        ours = Inbox(store)
        await ours.open(handle)
        app = App(site, slack_client(site), ours, store)
        await app.connect()
        yield Door(workspace=workspace, posting=workspace.sockets.posting, store=store, site=site, handled=handled)
        await app.close()
        await ours.close()
        store.close()


async def test_a_command_over_http_is_answered_recorded_and_handled_once(door: Door) -> None:
    said = await door.workspace.command("alice", "incident", "control-plane restart")
    assert said["acked"], said
    assert "Collecting facts for `/dr control-plane restart`" in door.workspace.ephemerals("alice")[-1]["text"]
    await until(lambda: len(door.handled) == 1, 5)
    assert (door.handled[0].kind, door.handled[0].person) == ("command", "U0ALICE")
    assert door.handled[0].payload["text"] == "control-plane restart"
    await door.workspace.command("alice", "incident", "help")
    assert "/dr database failover" in door.workspace.ephemerals("alice")[-1]["text"]
    assert await door.recorded() == (1, 2)


async def test_a_command_about_a_payload_is_a_command_over_http_too(door: Door) -> None:
    await door.workspace.command("alice", "incident", "corruption repair table=payload time=10:30 & more")
    await door.workspace.command("alice", "incident", "show payload")
    assert "There is no run 'payload'" in door.workspace.ephemerals("alice")[-1]["text"]


async def test_clicks_forms_and_the_home_come_over_http_too(door: Door) -> None:
    where, button = door.workspace.channel("incident"), {"type": "button", "action_id": "dr_approve", "block_id": "b"}
    button |= {"text": {"type": "plain_text", "text": "Approve"}, "value": "abcdefgh:plan:nonce"}
    card = door.workspace.store.bot_message(where, "A card", [{"type": "actions", "block_id": "b", "elements": [button]}])
    assert (await door.workspace.click("bob", "incident", card["ts"], "dr_approve"))["acked"]
    await until(lambda: [item.kind for item in door.handled] == ["click"], 5)
    assert (await door.workspace.open_home("alice"))["acked"]
    await until(lambda: "U0ALICE" in door.workspace.modals.homes, 10)


async def test_the_shortcut_on_a_message_is_recorded_and_elsewhere_answered_at_once(door: Door) -> None:
    here = await door.workspace.post("dave", "incident", "It hangs")
    assert (await door.workspace.shortcut("alice", "dr_evidence", "incident", here["ts"]))["acked"]
    await until(lambda: [(item.kind, item.payload["text"]) for item in door.handled] == [("evidence", "It hangs")], 5)
    there = await door.workspace.post("dave", "general", "Lunch?")
    assert (await door.workspace.shortcut("alice", "dr_evidence", "general", there["ts"]))["acked"]
    said = await until(lambda: door.workspace.ephemerals("alice"), 5)
    assert said[-1]["text"].startswith("Recoveries are reported in <#C0INCIDENT>")
    assert len(door.handled) == 1


def forged(posted: Posted, **headers: str) -> Posted:
    return replace(posted, headers={**posted.headers, **headers})


BAD = {
    "without a signature": lambda door: forged(door.posting.sign("slash_commands", door.command()), **{"X-Slack-Signature": ""}),
    "of another secret": lambda door: replace(door.posting, secret=SECRET[::-1]).sign("slash_commands", door.command()),
    "older than five minutes": lambda door: door.posting.sign("slash_commands", door.command(), at=time.time() - 310),
    "of the future": lambda door: door.posting.sign("slash_commands", door.command(), at=time.time() + 310),
    "with a body that was changed": lambda door: replace(
        door.posting.sign("slash_commands", door.command()), body=door.posting.sign("slash_commands", door.command("help")).body
    ),
    "with a time that was changed": lambda door: forged(
        door.posting.sign("slash_commands", door.command(), at=time.time() - 310),
        **{"X-Slack-Request-Timestamp": str(int(time.time()))},
    ),
    "with a time that is no number": lambda door: forged(
        door.posting.sign("slash_commands", door.command()), **{"X-Slack-Request-Timestamp": "soon"}
    ),
    "with a signature that is no ASCII": lambda door: forged(
        door.posting.sign("slash_commands", door.command()), **{"X-Slack-Signature": "v0=ä"}
    ),
    "with a body that is no text": lambda door: replace(
        door.posting.sign("slash_commands", door.command()), body=b"\xff\xfe\x00"
    ),
    "that claims to check a certificate": lambda door: forged(
        door.posting.sign("slash_commands", {**door.command(), "ssl_check": "1"}), **{"X-Slack-Signature": "v0=0"}
    ),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_slack_did_not_sign_now_is_refused_and_not_recorded(door: Door, kind: str) -> None:
    status, _ = await door.posting.send(BAD[kind](door))
    assert status == 401
    assert await door.recorded() == (0, 0)
    assert door.handled == []
    assert (await door.posting.send(door.posting.sign("slash_commands", door.command())))[0] == 200  # the honest one goes on


async def test_a_request_that_comes_twice_is_refused_the_second_time(door: Door) -> None:
    door.workspace.faults.duplicate_next_envelope()
    assert (await door.workspace.command("alice", "incident", "control-plane restart"))["acked"]
    (entry,) = [e for e in door.workspace.log if e["kind"] == "envelope"]
    assert entry["statuses"] == [200, 401]
    await until(lambda: len(door.handled) == 1, 5)
    assert await door.recorded() == (1, 1)


async def test_a_replay_is_refused_by_the_bot_that_leads_next_too(door: Door) -> None:
    posted = door.posting.sign("slash_commands", door.command())
    assert (await door.posting.send(posted))[0] == 200
    listen = door.site.slack.listen.rpartition(":")[0] + ":0"
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
    site = door.site.model_copy(update={"slack": door.site.slack.model_copy(update={"listen": listen})})
    app = App(site, slack_client(site), Inbox(door.store), door.store)
    await app.connect()
    there = replace(door.posting, url=f"http://{listen}/slack/events")
    assert (await there.send(posted))[0] == 401
    await app.close()
    assert await door.recorded() == (1, 1)


async def test_what_is_signed_and_unreadable_is_refused_and_slack_may_check_the_address(door: Door) -> None:
    challenge = door.posting.sign("events_api", {"type": "url_verification", "challenge": "abc"})
    assert await door.posting.send(challenge) == (200, {"challenge": "abc"})
    assert (await door.posting.send(door.posting.sign("slash_commands", {"payload": "{"})))[0] == 400
    async with ClientSession() as session:
        async with session.get(door.posting.url) as answer:
            assert answer.status == 200
        async with session.post(door.posting.url, data=BytesIO(b"x" * 2**21)) as answer:
            assert answer.status == 413
    assert await door.recorded() == (0, 2)
