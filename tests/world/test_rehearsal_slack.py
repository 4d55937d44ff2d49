"""The rehearsal's Slack, met by the real slack_bolt over real sockets: what people do reaches the bot, and back."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

from tests.slack_samples import MODAL
from tests.world.slack_world import SlackWorld, envelopes, plan, refusal


async def test_command_button_modal_and_update_go_all_the_way_round(world: SlackWorld) -> None:
    card = await plan(world)
    assert world.heard[0]["user_id"] == "U0ALICE"
    state = await world.slack.state("alice")
    assert state["ephemerals"][-1]["text"] == "You typed plan."
    assert (await world.slack.state("bob"))["ephemerals"] == []

    clicked = await world.slack.click("bob", "incident", card["ts"], "dr_approve")
    assert clicked["acked"]
    assert 0 <= clicked["ack_ms"] < 3000  # what Slack waits for
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


async def test_an_empty_required_field_is_refused_before_it_reaches_the_bot(world: SlackWorld) -> None:
    card = await plan(world)
    await world.slack.click("bob", "incident", card["ts"], "dr_approve")
    view = (await world.slack.state("bob"))["views"][0]
    assert (await world.slack.submit("bob", view["id"], {}))["error"] == "incomplete"
    assert all(body.get("type") != "view_submission" for body in world.heard)


async def test_a_command_without_an_ack_is_told_to_the_person(world: SlackWorld) -> None:
    result = await world.slack.command("alice", "incident", "silence")
    assert result["error"] == "operation_timeout"
    state = await world.slack.state("alice")
    assert state["ephemerals"][-1]["text"] == "/dr failed because the app did not respond"


async def test_names_in_a_command_reach_the_bot_as_ids(world: SlackWorld) -> None:
    await world.slack.command("alice", "incident", "ask @bob in #general, not me@bob")
    assert world.heard[-1]["text"] == "ask <@U0BOB|bob> in <#C0GENERAL|general>, not me@bob"


async def test_a_forged_value_reaches_the_bot_as_forged(world: SlackWorld) -> None:
    card = await plan(world)
    await world.slack.click("dave", "incident", card["ts"], "dr_approve", value="forged")
    assert world.heard[-1]["actions"][0]["value"] == "forged"
    assert world.heard[-1]["user"]["id"] == "U0DAVE"


async def test_an_unknown_button_is_told_in_a_sentence(world: SlackWorld) -> None:
    card = await plan(world)
    with pytest.raises(Exception, match="has no button nothing"):
        await world.slack.click("bob", "incident", card["ts"], "nothing")


async def test_a_trigger_opens_one_view_and_only_for_a_short_time(world: SlackWorld) -> None:
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


async def test_a_response_url_is_good_five_times(world: SlackWorld) -> None:
    await world.slack.command("alice", "incident", "respond")
    url = world.heard[-1]["response_url"]
    async with aiohttp.ClientSession() as session:
        for number in range(5):
            async with session.post(url, json={"text": f"answer {number}"}) as answer:
                assert answer.status == 200
        async with session.post(url, json={"text": "once more"}) as answer:
            assert (answer.status, (await answer.json())["error"]) == (404, "used_url")
    assert (await world.slack.state("alice"))["ephemerals"][-1]["text"] == "answer 4"


async def test_each_envelope_goes_to_one_of_several_connections(world: SlackWorld) -> None:
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


async def test_home_and_direct_messages_are_for_one_person(world: SlackWorld) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{world.base}/ui/home", json={"person": "bob"}) as a:
        assert (await a.json())["acked"]
    state = await world.slack.wait_for(lambda state: state if state["home"] else None, person="bob")
    assert state["home"]["type"] == "home"
    posted = await world.web.chat_postMessage(channel="U0BOB", text="for you alone")
    assert posted["channel"] in (await world.slack.state("bob"))["messages"]
    assert posted["channel"] not in (await world.slack.state("alice"))["messages"]


async def test_the_page_is_served_with_a_policy_and_the_control_api_only_to_it(world: SlackWorld) -> None:
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


async def test_ten_pages_are_told_of_a_message(world: SlackWorld) -> None:
    async with aiohttp.ClientSession() as session:
        pages = [await session.ws_connect(f"{world.base}/ui/live") for _ in range(10)]
        for page in pages:
            assert await page.receive_json(timeout=2) == {"what": "hello"}
        await world.slack.post("alice", "incident", "hello")
        told = [await page.receive_json(timeout=2) for page in pages]
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(f"{world.base}/ui/live", headers={"Origin": "http://elsewhere.example"})
        for page in pages:
            await page.close()
    assert [change["what"] for change in told] == ["message"] * 10
