"""Faults of the rehearsal's Slack: an outage, reset sockets, lost answers, rate limits, duplicate envelopes."""

from __future__ import annotations

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from tests.world.slack_world import SlackWorld, envelopes


async def test_an_outage_drops_everything_and_the_bot_comes_back(world: SlackWorld) -> None:
    await world.slack.fault("outage", seconds=0.5)
    with pytest.raises(aiohttp.ClientError):
        await world.web.auth_test()
    away = await world.slack.state()
    assert (away["away"], away["connected"]) == (True, 0)
    assert (await world.slack.command("alice", "incident", "help"))["error"] == "slack_away"
    await world.slack.wait_for(lambda state: state["connected"] and not state["away"], timeout=5)
    assert (await world.slack.command("alice", "incident", "help"))["acked"]


async def test_reset_sockets_are_made_again(world: SlackWorld) -> None:
    await world.slack.fault("reset_sockets")
    await world.slack.wait_for(lambda state: not state["connected"], timeout=2)
    await world.slack.wait_for(lambda state: state["connected"], timeout=5)
    assert (await world.slack.command("alice", "incident", "help"))["acked"]


async def test_a_lost_answer_has_stored_the_message_once(world: SlackWorld) -> None:
    await world.slack.fault("lose_answer", method="chat.postMessage")
    with pytest.raises(aiohttp.ClientError):
        await world.web.chat_postMessage(channel="C0INCIDENT", text="stored and not answered")
    told = [m["text"] for m in await world.slack.messages("incident")]
    assert told.count("stored and not answered") == 1
    assert (await world.web.chat_postMessage(channel="C0INCIDENT", text="next"))["ok"]


async def test_a_rate_limit_says_when_to_come_again(world: SlackWorld) -> None:
    await world.slack.fault("rate_limit", method="chat.update", times=1, retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await world.web.chat_update(channel="C0INCIDENT", ts="1.0", text="x")
    assert caught.value.response["error"] == "ratelimited"
    assert caught.value.response.headers["Retry-After"] == "7"


async def test_a_duplicate_envelope_reaches_the_bot_twice(world: SlackWorld) -> None:
    await world.slack.fault("duplicate_next_envelope")
    await world.slack.command("alice", "incident", "twice")
    await world.slack.wait_for(lambda _: [body["text"] for body in world.heard] == ["twice", "twice"], timeout=2)
    await world.slack.wait_for(lambda _: [e["acks"] for e in envelopes(world)] == [2], timeout=2)
