"""The rehearsal's Slack for tests, with a small app of the real slack_bolt connected to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from tests.slack_samples import CARD, MANIFEST, MENUS, MODAL, Json
from tests.world.slack_client import WorkspaceClient

EVERYTHING = re.compile(".*")


@dataclass(kw_only=True)
class SlackWorld:
    """The workspace, a bot connected to it, and a client that acts as people."""

    base: str
    workspace: Workspace
    web: AsyncWebClient
    slack: WorkspaceClient
    handler: AsyncSocketModeHandler
    heard: list[Json] = field(default_factory=list)


def bot(base: str, heard: list[Json]) -> AsyncApp:
    """A small app: /dr posts a card, Approve opens a modal, the modal rewrites the card."""
    client = AsyncWebClient(token="xoxb-rehearsal", base_url=f"{base}/api/", retry_handlers=[])
    app = AsyncApp(client=client, signing_secret="unused", process_before_response=True)

    @app.command("/dr")
    async def command(ack: Any, body: Json) -> None:
        heard.append(body)
        if body["text"] == "silence":
            return
        await ack(text=f"You typed {body['text']}.")
        if body["text"] == "plan":
            metadata = {"event_type": "dr_timeline", "event_payload": {"key": "R1"}}
            await client.chat_postMessage(channel=body["channel_id"], text="A plan", blocks=CARD, metadata=metadata)

    @app.action("dr_approve")
    async def approve(ack: Any, body: Json) -> None:
        heard.append(body)
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL | {"private_metadata": body["message"]["ts"]})
        await ack()

    @app.view("dr_confirm")
    async def confirm(ack: Any, view: Json, body: Json) -> None:
        heard.append(body)
        if view["state"]["values"]["name"]["typed"]["value"] != "shielda-prod":
            await ack(response_action="errors", errors={"name": "That is not its name."})
            return
        await client.chat_update(channel="C0INCIDENT", ts=view["private_metadata"], text="Approved", blocks=CARD[:2])
        await ack()

    @app.event("app_home_opened")
    async def home(body: Json, event: Json) -> None:
        heard.append(body)
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [*CARD, MENUS]})

    async def hear(ack: Any, body: Json) -> None:
        heard.append(body)
        await ack()

    app.action(EVERYTHING)(hear)
    app.shortcut(EVERYTHING)(hear)
    app.view(EVERYTHING)(hear)
    for name in ("app_mention", "message", "reaction_added", "reaction_removed", "member_joined_channel"):
        app.event(name)(hear)
    return app


@asynccontextmanager
async def slack_world(seconds: float = 0.4) -> AsyncIterator[SlackWorld]:
    """A workspace with the bot connected to it; `seconds` are in place of Slack's three."""
    workspace = Workspace(
        manifest=MANIFEST,
        people=PEOPLE,
        channels=("incident", "general"),
        ack_seconds=seconds,
        trigger_seconds=seconds,
        retry_seconds=(0.0, 0.3, 1.0, 5.0),
    )
    async with serve(workspace) as base, WorkspaceClient(base) as slack:
        heard: list[Json] = []
        app = bot(base, heard)
        handler = AsyncSocketModeHandler(app, "xapp-rehearsal", ping_interval=0.3)
        await handler.connect_async()
        yield SlackWorld(base=base, workspace=workspace, web=app.client, slack=slack, handler=handler, heard=heard)
        await handler.close_async()


async def refusal(call: Any) -> Json:
    """The body with which the Web API refused."""
    with pytest.raises(SlackApiError) as caught:
        await call
    data: Any = caught.value.response.data
    return dict(data)


def envelopes(world: SlackWorld) -> list[Json]:
    """Every envelope that was delivered so far."""
    return [entry for entry in world.workspace.log if entry["kind"] == "envelope"]


async def plan(world: SlackWorld) -> Json:
    """The card that the bot posted after `/dr plan`."""
    result = await world.slack.command("alice", "incident", "plan")
    assert result["acked"], result
    return (await world.slack.messages("incident"))[-1]
