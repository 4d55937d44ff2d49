"""What only one person is told: once for the same thing, in turn with others, and not minutes late."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, inspect, select, text
from structlog.testing import capture_logs

from bot.slack.outbox import REPEAT_POSTS
from bot.state.database import open_engine
from bot.state.tables import outbox
from tests.story.conftest import tries, until
from tests.world.outbox_world import INCIDENT, SPEED, Told


async def test_the_same_refusal_of_one_person_is_told_at_once_and_then_with_a_count(told: Told) -> None:
    async with told.telling():
        await told.sentence("U0DAVE", "You may not.", "run")
        await until(lambda: told.answers("dave"), 5)
        for _ in range(39):
            await told.sentence("U0DAVE", "You may not.", "run")
        await until(lambda: sum(map(tries, told.workspace.ephemerals("dave"))) == 40, 5)
    first, *later = told.answers("dave")
    assert first == "You may not."
    assert all(says.startswith("You may not.") for says in later)
    at = [call["at"] for call in told.calls("chat.postEphemeral", user="U0DAVE")]
    assert all(next_at - one_at >= REPEAT_POSTS / SPEED for one_at, next_at in itertools.pairwise(at))


async def test_another_person_plan_or_sentence_is_answered_at_once(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack.outbox.REPEAT_POSTS", 10_000)
    about_each = [("U0DAVE", "No.", "a"), ("U0DAVE", "No.", "b"), ("U0DAVE", "Never.", "a"), ("U0GINA", "No.", "a")]
    async with told.telling():
        for one in about_each:
            await told.sentence(*one)
        await until(lambda: len(told.answers("dave")) == 3 and len(told.answers("gina")) == 1, 5)
        for one in about_each:
            await told.sentence(*one)
        await asyncio.sleep(0.5)
    assert (len(told.answers("dave")), len(told.answers("gina"))) == (3, 1)


async def test_people_take_turns_so_that_nobody_is_answered_after_a_flood(told: Told) -> None:
    for number in range(40):
        await told.sentence("U0DAVE", f"You may not: {number}.")
    await told.sentence("U0BOB", "Somebody else must approve it.")
    async with told.telling():
        await until(lambda: told.answers("bob"), 5)
    (of_bob,) = told.workspace.ephemerals("bob")
    assert len([one for one in told.workspace.ephemerals("dave") if one["ts"] < of_bob["ts"]]) <= 3


async def test_a_sentence_that_comes_minutes_late_is_dropped_with_a_line_in_the_log(told: Told) -> None:
    await told.sentence("U0DAVE", "You may not.", at=time.time() - 600)
    await told.sentence("U0BOB", "Somebody else must approve it.", at=time.time() - 30)
    of_dave = outbox.c.person == "U0DAVE"
    with capture_logs() as logs:
        async with told.telling():
            await until(lambda: told.answers("bob"), 5)
    assert told.answers("dave") == []
    assert [line["person"] for line in logs if line["event"] == "ephemeral_dropped"] == ["U0DAVE"]
    (left,) = await told.store.do(lambda c: c.execute(select(outbox.c.rev - outbox.c.sent_rev).where(of_dave)).scalars().all())
    assert left == 0


async def test_a_state_of_an_older_bot_gets_the_new_column_and_keeps_its_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    with open_engine(url).begin() as connection:
        connection.execute(insert(outbox), {"key": "run", "kind": "card", "channel": INCIDENT})
    with create_engine(url).begin() as connection:
        connection.execute(text("ALTER TABLE dr_outbox DROP COLUMN at"))
    for _ in range(2):
        engine = open_engine(url)
        assert "at" in [column["name"] for column in inspect(engine).get_columns("dr_outbox")]
        with engine.begin() as connection:
            assert connection.execute(select(outbox.c.key, outbox.c.at)).all() == [("run", 0.0)]
