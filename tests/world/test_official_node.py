"""Slack's official Node packages: Bolt holds a conversation with the workspace, and what the workspace sends fits their types."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from rehearsal.waiting import until
from tests.slack_samples import MANIFEST, MENUS, MODAL, SCOPES, Json
from tests.world.slack_world import SlackWorld, plan

NODE = Path(__file__).parents[1] / "node"
NEWEST_NEEDS = 20
EXPORT = """import type * as bolt from "@slack/bolt";
import type * as slack from "@slack/types";
"""


def node() -> str:
    """The path of node; skips the test, with the reason, if it or Slack's packages are missing."""
    programs = [path for path in (shutil.which("node"), shutil.which("node", path=NODE / "node_modules/.bin")) if path]
    new_enough = [program for program in programs if major_version(program) >= NEWEST_NEEDS]
    if not new_enough:
        pytest.skip(f"Slack's Bolt needs node {NEWEST_NEEDS}; here is {programs or 'none'}. Run make node.")
    if not (NODE / "node_modules/@slack/bolt").is_dir():
        pytest.skip("Slack's Node packages aren't installed: make node.")
    return new_enough[0]


def major_version(program: str) -> int:
    """The 22 of v22.23.3."""
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", version)[0])


class Talk:
    """What the app in Node has printed so far."""

    def __init__(self) -> None:
        self.heard: list[Json] = []

    async def hears(self, what: str) -> Json:
        """Wait for a line of this kind."""
        return await until(lambda: next((one for one in self.heard if one["what"] == what), None), 20, what)


@asynccontextmanager
async def conversation(base: str) -> AsyncIterator[Talk]:
    """The app in Node, connected."""
    talk, pipe = Talk(), asyncio.subprocess.PIPE
    app = await asyncio.create_subprocess_exec(node(), str(NODE / "conversation.mjs"), base, stdin=pipe, stdout=pipe)
    assert app.stdin is not None
    reading = asyncio.create_task(_read(app, talk))
    try:
        await talk.hears("started")
        yield talk
    finally:
        app.stdin.close()
        await asyncio.wait_for(app.wait(), 10)
        await reading


async def _read(app: asyncio.subprocess.Process, talk: Talk) -> None:
    assert app.stdout is not None
    async for line in app.stdout:
        talk.heard.append(json.loads(line))


async def test_bolt_for_node_holds_a_whole_conversation() -> None:
    node()
    manifest = MANIFEST | {"oauth_config": {"scopes": {"bot": [*SCOPES, "reactions:write"]}}}
    slack = Workspace(manifest=manifest, people=PEOPLE, channels=("incident", "general"), ack_seconds=10, trigger_seconds=10)
    async with serve(slack) as base, conversation(base) as talk:
        typed = await slack.command("alice", "incident", "plan")
        assert typed["acked"], typed
        assert (await talk.hears("command"))["text"] == "plan"
        card = slack.messages("incident")[-1]
        assert (await slack.click("bob", "incident", card["ts"], "approve"))["acked"]
        assert (await talk.hears("action"))["value"] == "v1"
        form = slack.views("bob")[-1]
        assert (await slack.submit("bob", form["id"], {"name": "other"}))["errors"] == {"name": "That is not its name."}
        assert (await slack.submit("bob", form["id"], {"name": "shielda-prod"}))["acked"]
        await talk.hears("view")
        assert slack.messages("incident")[-1]["text"] == "Approved"
        assert (await slack.open_home("bob"))["acked"]
        await talk.hears("home")
        assert (await slack.click_view("bob", slack.modals.homes["U0BOB"]["id"], "from_home"))["acked"]
        assert (await talk.hears("from_home"))["view"] == "home"
        said = await slack.post("bob", "incident", "@dr hello")
        assert (await talk.hears("mention"))["text"] == "<@U0DRBOT> hello"
        await talk.hears("message")
        assert slack.messages("incident", said["ts"])[-1]["text"] == "Hello, too."
        assert said["reactions"] == [{"name": "eyes", "users": ["U0DRBOT"], "count": 1}]
        assert (await slack.shortcut("bob", "save_evidence", "incident", said["ts"]))["acked"]
        await talk.hears("shortcut")
        assert slack.ephemerals("bob")[-1]["text"] == "Saved."


TYPES = {
    "slash_commands": "bolt.SlashCommand",
    "block_actions": "bolt.BlockAction",
    "view_submission": "bolt.ViewSubmitAction",
    "message_action": "bolt.MessageShortcut",
    "shortcut": "bolt.GlobalShortcut",
    "app_home_opened": "bolt.EnvelopedEvent<slack.AppHomeOpenedEvent>",
    "app_mention": "bolt.EnvelopedEvent<slack.AppMentionEvent>",
    "message": "bolt.EnvelopedEvent<slack.GenericMessageEvent>",
    "reaction_added": "bolt.EnvelopedEvent<slack.ReactionAddedEvent>",
}


async def test_what_the_workspace_sends_fits_slacks_own_types(world: SlackWorld, tmp_path: Path) -> None:
    node()
    await _use_everything(world)
    kinds = {_kind(body) for body in world.heard}
    assert kinds >= TYPES.keys(), TYPES.keys() - kinds
    lines = [f"const x{n}: {TYPES[_kind(body)]} = {_typed(body)};" for n, body in enumerate(world.heard) if _kind(body) in TYPES]
    (tmp_path / "payloads.ts").write_text(EXPORT + "\n".join([*lines, "export {};"]))
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "node16", "--moduleResolution", "node16"]
    compiler = [node(), str(NODE / "node_modules/.bin/tsc"), *options, "payloads.ts"]
    told = await asyncio.to_thread(subprocess.run, compiler, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout[:4000]


async def _use_everything(world: SlackWorld) -> None:
    """Use each kind of thing that a person can use, so that the small bot hears of it."""
    card = await plan(world)
    assert (await world.slack.click("bob", "incident", card["ts"], "dr_approve"))["acked"]
    view = world.workspace.views("bob")[-1]
    await world.slack.submit("bob", view["id"], {"name": "shielda-prod"})
    menus = await world.web.chat_postMessage(channel="C0INCIDENT", text="menus", blocks=[MENUS])
    choices = {
        "ticks": ["one"],
        "pick": "red",
        "day": "2025-02-01",
        "time": "10:30",
        "many": ["a"],
        "who": "U0BOB",
        "more": "copy",
    }
    for action_id, value in choices.items():
        assert (await world.slack.click("bob", "incident", menus["ts"], action_id, value=value))["acked"]
    await world.slack.do("home", person="bob")
    home = await world.slack.wait_for(lambda state: state["home"], person="bob")
    await world.slack.do("click_view", person="bob", view_id=home["id"], action_id="pick", value="blue")
    await world.slack.do("home", person="bob")
    await world.slack.do("shortcut", person="bob", callback_id="save_evidence", channel="incident", ts=card["ts"])
    await world.slack.do("shortcut", person="bob", callback_id="start_recovery")
    await world.web.views_open(trigger_id=world.heard[-1]["trigger_id"], view=MODAL)
    said = await world.slack.post("alice", "incident", "@dr hello")
    await world.slack.do("react", person="bob", channel="incident", ts=said["ts"], name="eyes")
    await until(lambda: any(_kind(body) == "reaction_added" for body in world.heard), 5)


def _kind(body: Json) -> str:
    if "command" in body:
        return "slash_commands"
    return str(body["event"]["type"] if body["type"] == "event_callback" else body["type"])


def _typed(body: Json) -> str:
    """The payload as TypeScript, but for what Slack sends and its types don't have: docs/critiques.md lists it."""
    sent = copy.deepcopy(body)
    if sent.get("enterprise", "") is None:
        del sent["enterprise"]  # the types want it left out; Slack's samples have null
    if sent.get("type") == "view_submission":
        del sent["user"]["username"]
    if sent.get("type") == "block_actions":
        sent.setdefault("response_url", "")  # the types require it, and Slack sends none from a view
        sent["actions"][0].pop("style", None)
    event = sent.get("event", {})
    if event.get("type") == "app_home_opened" and "view" in event:
        event["view"] = {
            name: event["view"][name] for name in ("type", "blocks")
        }  # they have what an app sends, not what it gets
    if event.get("type") == "message":
        event["subtype"] = None
    return json.dumps(sent).replace('"subtype": null', '"subtype": undefined')
