"""The rehearsal's Slack, met by the real slack_bolt and slack_sdk over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from rehearsal.slack.blocks import problems, view_problems
from rehearsal.slack.client import WorkspaceClient
from rehearsal.slack.members import DEFAULT_PERSONS
from rehearsal.slack.server import application
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
SCOPES = [
    "commands",
    "chat:write",
    "channels:read",
    "channels:history",
    "users:read",
    "usergroups:read",
    "pins:write",
    "pins:read",
    "im:write",
]
MANIFEST: Json = {
    "features": {"slash_commands": [{"command": "/dr", "should_escape": True}]},
    "oauth_config": {"scopes": {"bot": SCOPES}},
    "settings": {"event_subscriptions": {"bot_events": ["app_home_opened"]}},
}
CARD: list[Json] = [
    {"type": "header", "text": {"type": "plain_text", "text": "Database failover"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*Plan* to fail over"}},
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "dr_approve",
                "text": {"type": "plain_text", "text": "Approve"},
                "style": "primary",
                "value": "run:1:nonce",
            }
        ],
    },
]
MODAL: Json = {
    "type": "modal",
    "callback_id": "dr_confirm",
    "title": {"type": "plain_text", "text": "Approve the plan"},
    "submit": {"type": "plain_text", "text": "Approve"},
    "blocks": [
        {
            "type": "input",
            "block_id": "name",
            "label": {"type": "plain_text", "text": "Type the name of the database"},
            "element": {"type": "plain_text_input", "action_id": "typed"},
        }
    ],
}


@dataclass(kw_only=True)
class World:
    """The workspace, a bot connected to it, and a client that acts as persons."""

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
        await ack(text=f"I heard {body['text']}.")
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
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": CARD[:2]})

    return app


@pytest.fixture
async def world() -> AsyncIterator[World]:
    workspace = Workspace(
        manifest=MANIFEST,
        persons=DEFAULT_PERSONS,
        channels=("incident", "general"),
        ack_seconds=0.4,
        trigger_seconds=0.4,
    )
    runner = web.AppRunner(application(workspace), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    heard: list[Json] = []
    app = bot(base, heard)
    handler = AsyncSocketModeHandler(app, "xapp-rehearsal", ping_interval=0.3)
    await handler.connect_async()
    async with WorkspaceClient(base) as slack:
        yield World(base=base, workspace=workspace, web=app.client, slack=slack, handler=handler, heard=heard)
    await handler.close_async()
    await runner.cleanup()


async def refusal(call: Any) -> Json:
    """The body with which the Web API refused."""
    with pytest.raises(SlackApiError) as caught:
        await call
    data: Any = caught.value.response.data
    return dict(data)


def envelopes(world: World) -> list[Json]:
    """Every envelope that was delivered so far."""
    return [entry for entry in world.workspace.log if entry["kind"] == "envelope"]


async def plan(world: World) -> Json:
    """The card that the bot posted after `/dr plan`."""
    result = await world.slack.command("alice", "incident", "plan")
    assert result["acked"], result
    return (await world.slack.messages("incident"))[-1]


async def test_command_button_modal_and_update_go_all_the_way_round(world: World) -> None:
    card = await plan(world)
    assert world.heard[0]["user_id"] == "U0ALICE"
    state = await world.slack.state("alice")
    assert state["ephemerals"][-1]["text"] == "I heard plan."
    assert (await world.slack.state("bob"))["ephemerals"] == []

    clicked = await world.slack.click("bob", "incident", card["ts"], "dr_approve")
    assert clicked["acked"]
    assert clicked["ack_ms"] < 400
    assert world.heard[1]["actions"][0]["value"] == "run:1:nonce"
    assert world.heard[1]["message"]["metadata"]["event_payload"] == {"key": "R1"}

    view = (await world.slack.state("bob"))["views"][0]
    wrong = await world.slack.submit("bob", view["id"], {"name": "something"})
    assert wrong["errors"] == {"name": "That is not its name."}
    assert len((await world.slack.state("bob"))["views"]) == 1
    right = await world.slack.submit("bob", view["id"], {"name": "shielda-prod"})
    assert right["acked"]
    assert (await world.slack.state("bob"))["views"] == []
    assert (await world.slack.messages("incident"))[-1]["text"] == "Approved"


async def test_an_empty_required_field_is_refused_before_the_bot_hears_of_it(world: World) -> None:
    card = await plan(world)
    await world.slack.click("bob", "incident", card["ts"], "dr_approve")
    view = (await world.slack.state("bob"))["views"][0]
    assert (await world.slack.submit("bob", view["id"], {}))["error"] == "incomplete"
    assert all(body.get("type") != "view_submission" for body in world.heard)


async def test_a_command_without_an_ack_is_told_to_the_person(world: World) -> None:
    result = await world.slack.command("alice", "incident", "silence")
    assert result["error"] == "operation_timeout"
    state = await world.slack.state("alice")
    assert state["ephemerals"][-1]["text"] == "/dr failed because the app did not respond"


async def test_names_in_a_command_reach_the_bot_as_ids(world: World) -> None:
    await world.slack.command("alice", "incident", "ask @bob in #general, not me@bob")
    assert world.heard[-1]["text"] == "ask <@U0BOB|bob> in <#C0GENERAL|general>, not me@bob"


async def test_a_forged_value_reaches_the_bot_as_forged(world: World) -> None:
    card = await plan(world)
    await world.slack.click("dave", "incident", card["ts"], "dr_approve", value="forged")
    assert world.heard[-1]["actions"][0]["value"] == "forged"
    assert world.heard[-1]["user"]["id"] == "U0DAVE"


async def test_an_unknown_button_is_told_in_a_sentence(world: World) -> None:
    card = await plan(world)
    with pytest.raises(Exception, match="has no button nothing"):
        await world.slack.click("bob", "incident", card["ts"], "nothing")


async def test_blocks_that_slack_would_refuse_are_refused(world: World) -> None:
    long_header = [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]
    said = await refusal(world.web.chat_postMessage(channel="C0INCIDENT", text="x", blocks=long_header))
    assert said["error"] == "invalid_blocks"
    assert said["response_metadata"]["messages"] == [
        "[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"
    ]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "y" * 2900}}
    said = await refusal(world.web.chat_postMessage(channel="C0INCIDENT", text="x", blocks=[section] * 5))
    assert said["error"] == "msg_blocks_too_long"
    empty = world.web.api_call("chat.postMessage", params={"channel": "C0INCIDENT"})
    assert (await refusal(empty))["error"] == "no_text"
    assert (await refusal(world.web.chat_postMessage(channel="C0NONE", text="x")))["error"] == "channel_not_found"


async def test_tokens_scopes_and_methods_are_checked(world: World) -> None:
    strange = AsyncWebClient(token="xoxb-other", base_url=f"{world.base}/api/")
    assert (await refusal(strange.auth_test()))["error"] == "invalid_auth"
    nobody = AsyncWebClient(base_url=f"{world.base}/api/")
    assert (await refusal(nobody.auth_test()))["error"] == "not_authed"
    said = await refusal(world.web.reactions_add(channel="C0INCIDENT", timestamp="1.0", name="eyes"))
    assert (said["error"], said["needed"]) == ("missing_scope", "reactions:write")
    assert (await refusal(world.web.api_call("team.billing.info")))["error"] == "unknown_method"
    said = await refusal(world.web.apps_connections_open(app_token="xoxb-rehearsal"))
    assert said["error"] == "not_allowed_token_type"
    answer = await world.web.auth_test()
    assert answer.headers["X-OAuth-Scopes"].split(",") == SCOPES


async def test_history_tells_metadata_only_when_asked_and_in_pages(world: World) -> None:
    metadata = {"event_type": "dr_timeline", "event_payload": {"key": "R2", "rev": 1}}
    first = await world.web.chat_postMessage(channel="C0GENERAL", text="one", metadata=metadata)
    await world.web.chat_postMessage(channel="C0GENERAL", text="in the thread", thread_ts=first["ts"])
    second = await world.web.chat_postMessage(channel="C0GENERAL", text="two")
    page = await world.web.conversations_history(channel="C0GENERAL", include_all_metadata=True, limit=1)
    assert [m["text"] for m in page["messages"]] == ["two"]
    page = await world.web.conversations_history(
        channel="C0GENERAL", include_all_metadata=True, limit=1, cursor=page["response_metadata"]["next_cursor"]
    )
    assert page["messages"][0]["metadata"] == metadata
    assert page["messages"][0]["reply_count"] == 1
    bare = await world.web.conversations_history(channel="C0GENERAL", oldest=first["ts"])
    assert [m["ts"] for m in bare["messages"]] == [second["ts"]]
    whole = await world.web.conversations_history(channel="C0GENERAL")
    assert "metadata" not in whole["messages"][-1]
    thread = await world.web.conversations_replies(channel="C0GENERAL", ts=first["ts"])
    assert [m["text"] for m in thread["messages"]] == ["one", "in the thread"]


async def test_a_pin_is_refused_the_second_time(world: World) -> None:
    message = await world.web.chat_postMessage(channel="C0INCIDENT", text="pin me")
    await world.web.pins_add(channel="C0INCIDENT", timestamp=message["ts"])
    again = await refusal(world.web.pins_add(channel="C0INCIDENT", timestamp=message["ts"]))
    assert again["error"] == "already_pinned"
    listed = await world.web.pins_list(channel="C0INCIDENT")
    assert listed["items"][0]["message"]["ts"] == message["ts"]
    await world.web.chat_update(channel="C0INCIDENT", ts=message["ts"], text="still pinned")
    assert (await world.slack.messages("incident"))[-1]["pinned"]
    await world.web.pins_remove(channel="C0INCIDENT", timestamp=message["ts"])


async def test_a_trigger_opens_one_view_and_only_for_a_short_time(world: World) -> None:
    await world.slack.command("alice", "incident", "first")
    trigger = world.heard[-1]["trigger_id"]
    opened = await world.web.views_open(trigger_id=trigger, view=MODAL)
    assert (await refusal(world.web.views_open(trigger_id=trigger, view=MODAL)))["error"] == "exchanged_trigger_id"
    updated = await world.web.views_update(view_id=opened["view"]["id"], hash=opened["view"]["hash"], view=MODAL)
    stale = await refusal(world.web.views_update(view_id=opened["view"]["id"], hash=opened["view"]["hash"], view=MODAL))
    assert updated["view"]["id"] == opened["view"]["id"]
    assert stale["error"] == "hash_conflict"
    await world.slack.command("alice", "incident", "second")
    await asyncio.sleep(0.45)
    late = await refusal(world.web.views_open(trigger_id=world.heard[-1]["trigger_id"], view=MODAL))
    assert late["error"] == "expired_trigger_id"


async def test_a_response_url_is_good_five_times(world: World) -> None:
    await world.slack.command("alice", "incident", "respond")
    url = world.heard[-1]["response_url"]
    async with aiohttp.ClientSession() as session:
        for number in range(5):
            async with session.post(url, json={"text": f"answer {number}"}) as answer:
                assert answer.status == 200
        async with session.post(url, json={"text": "once more"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (404, "used_url")
    assert (await world.slack.state("alice"))["ephemerals"][-1]["text"] == "answer 4"


async def test_an_outage_drops_everything_and_the_bot_comes_back(world: World) -> None:
    await world.slack.fault("outage", seconds=0.5)
    with pytest.raises(aiohttp.ClientError):
        await world.web.auth_test()
    away = await world.slack.state()
    assert (away["away"], away["connected"]) == (True, 0)
    assert (await world.slack.command("alice", "incident", "help"))["error"] == "slack_away"
    await world.slack.wait_for(lambda state: state["connected"] and not state["away"], timeout=5)
    assert (await world.slack.command("alice", "incident", "help"))["acked"]


async def test_reset_sockets_are_made_again(world: World) -> None:
    await world.slack.fault("reset_sockets")
    await world.slack.wait_for(lambda state: not state["connected"], timeout=2)
    await world.slack.wait_for(lambda state: state["connected"], timeout=5)
    assert (await world.slack.command("alice", "incident", "help"))["acked"]


async def test_a_lost_answer_has_stored_the_message_once(world: World) -> None:
    await world.slack.fault("lose_answer", method="chat.postMessage")
    with pytest.raises(aiohttp.ClientError):
        await world.web.chat_postMessage(channel="C0INCIDENT", text="stored and not answered")
    told = [m["text"] for m in await world.slack.messages("incident")]
    assert told.count("stored and not answered") == 1
    assert (await world.web.chat_postMessage(channel="C0INCIDENT", text="next"))["ok"]


async def test_a_rate_limit_says_when_to_come_again(world: World) -> None:
    await world.slack.fault("rate_limit", method="chat.update", times=1, retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await world.web.chat_update(channel="C0INCIDENT", ts="1.0", text="x")
    assert caught.value.response["error"] == "ratelimited"
    assert caught.value.response.headers["Retry-After"] == "7"


async def test_a_duplicate_envelope_reaches_the_bot_twice(world: World) -> None:
    await world.slack.fault("duplicate_next_envelope")
    await world.slack.command("alice", "incident", "twice")
    await world.slack.wait_for(lambda _: [body["text"] for body in world.heard] == ["twice", "twice"], timeout=2)
    await world.slack.wait_for(lambda _: [e["acks"] for e in envelopes(world)] == [2], timeout=2)


async def test_each_envelope_goes_to_one_of_several_connections(world: World) -> None:
    second = AsyncSocketModeHandler(world.handler.app, "xapp-rehearsal")
    await second.connect_async()
    try:
        for number in range(4):
            await world.slack.command("alice", "incident", f"command {number}")
    finally:
        await second.close_async()
    assert {len(entry["sent_to"]) for entry in envelopes(world)} == {1}
    assert {entry["sent_to"][0] for entry in envelopes(world)} == {1, 2}
    assert [e for e in await world.slack.log() if e["kind"] == "envelope"] == envelopes(world)
    assert len(world.heard) == 4


async def test_persons_and_groups_are_told_as_they_are(world: World) -> None:
    assert (await world.web.users_info(user="U0GINA"))["user"]["is_restricted"]
    assert (await world.web.usergroups_users_list(usergroup="S0ONCALL"))["users"] == ["U0ALICE", "U0BOB"]
    assert len((await world.web.users_list())["members"]) == 6
    info = await world.web.conversations_info(channel="C0INCIDENT")
    assert info["channel"]["is_ext_shared_channel"] is False


async def test_home_and_direct_messages_are_for_one_person(world: World) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{world.base}/ui/home", json={"person": "bob"}) as a:
        assert (await a.json())["acked"]
    state = await world.slack.wait_for(lambda state: state if state["home"] else None, person="bob")
    assert state["home"]["type"] == "home"
    posted = await world.web.chat_postMessage(channel="U0BOB", text="for you alone")
    assert posted["channel"] in (await world.slack.state("bob"))["messages"]
    assert posted["channel"] not in (await world.slack.state("alice"))["messages"]


async def test_the_page_is_served_with_a_policy_and_the_control_api_only_to_it(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(world.base) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            text = await answer.text()
        for part in ("style.css", "main.js"):
            assert f"/static/{part}" in text
            async with session.get(f"{world.base}/static/{part}") as answer:
                assert answer.status == 200
        async with session.get(f"{world.base}/static/..%2Fserver.py") as answer:
            assert answer.status == 404
        elsewhere = {"Origin": "http://elsewhere.example"}
        async with session.get(f"{world.base}/ui/state", headers=elsewhere) as answer:
            assert answer.status == 403
        async with session.post(f"{world.base}/ui/command", data="{}") as answer:
            assert answer.status == 415


async def test_the_event_stream_tells_of_a_message(world: World) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{world.base}/ui/events") as stream:
        await stream.content.readuntil(b"\n\n")
        await world.slack.post("alice", "incident", "hello")
        line = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 2)
    assert b'"what": "message"' in line


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"type": "marquee"}, "unsupported type"),
        ({"type": "section"}, "missing required field"),
        ({"type": "divider", "text": "x"}, "additional property"),
        ({"type": "context", "elements": []}, "no fewer than 1"),
        ({"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}, "no more than 10"),
        ({"type": "actions", "elements": CARD[2]["elements"] * 2}, "already exists"),
        ({"type": "actions", "elements": [CARD[2]["elements"][0] | {"style": "loud"}]}, "must be one of"),
        ({"type": "actions", "elements": [CARD[2]["elements"][0] | {"value": "v" * 2001}]}, "less than 2001"),
        ({"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}, "less than 2001"),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "must be one of: plain_text"),
        ({"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * 21]}, "no more than 20"),
        ({"type": "task_card", "task_id": "1", "title": "x", "status": "skipped"}, "must be one of"),
        ({"type": "image", "image_url": "https://example.com/x.png"}, "alt_text"),
        ({"type": "input", "label": {"type": "plain_text", "text": "x"}, "element": {"type": "button"}}, "unsupported"),
    ],
)
def test_a_faulty_block_is_named(block: Json, complaint: str) -> None:
    assert any(complaint in line for line in problems([block])), problems([block])


def test_sound_blocks_are_taken() -> None:
    assert problems(CARD) == []
    assert problems([{"type": "divider"}] * 50) == []
    assert problems([{"type": "divider"}] * 51) == ["[ERROR] no more than 50 items allowed [json-pointer:/blocks]"]
    assert view_problems(MODAL) == []
    assert any(
        "24" in line or "25" in line for line in view_problems(MODAL | {"title": {"type": "plain_text", "text": "x" * 25}})
    )
    assert any("submit" in line for line in view_problems({n: v for n, v in MODAL.items() if n != "submit"}))
