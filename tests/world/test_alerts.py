"""Alerts in the incident channel: each is told once, by itself, and mentions whom dr.toml names."""

from __future__ import annotations

import asyncio

import pytest

from bot.settings import Backups
from bot.state.messages import order_alert
from tests.story.conftest import until
from tests.world.outbox_world import INCIDENT, Json, Told


@pytest.fixture
def told(told: Told) -> Told:
    """With a schedule, and people and groups whom an alert mentions."""
    backups = Backups(verify="0 4 * * 1", alert=("U0CAROL", "S0ONCALL"))
    told.site = told.site.model_copy(update={"backups": backups})
    return told


async def order(told: Told, key: str, says: str) -> bool:
    return await told.store.do(order_alert, key, INCIDENT, says)


def alerts(told: Told) -> list[Json]:
    return [message for message in told.workspace.messages(INCIDENT) if ":rotating_light:" in message["text"]]


async def test_an_alert_stands_by_itself_and_mentions_people_and_groups(told: Told) -> None:
    assert await order(told, "missed/1", "It did not begin <!channel>, token=geheim1234.")
    assert not await order(told, "missed/1", "It did not begin, and this is the second time.")
    async with told.telling():
        await until(lambda: alerts(told), 5)
        await asyncio.sleep(0.5)
    (message,) = alerts(told)
    assert message["text"] == "<@U0CAROL> <!subteam^S0ONCALL> :rotating_light: It did not begin &lt;!channel&gt;, token=***."
    assert "thread_ts" not in message


async def test_an_alert_whose_answer_was_lost_is_not_told_twice(told: Told) -> None:
    told.workspace.faults.lose_answer("chat.postMessage")
    await order(told, "missed/1", "The first.")
    await order(told, "missed/2", "The second.")
    async with told.telling():
        await until(lambda: len(alerts(told)) == 2, 10)
        await asyncio.sleep(1.0)
    assert sorted(message["text"].rpartition(": ")[2] for message in alerts(told)) == ["The first.", "The second."]
    assert told.calls("conversations.history")
    assert not told.calls("chat.update")
