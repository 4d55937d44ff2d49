"""Who is on the lists of dr.toml and no full member of Slack: nobody is called to approve whom the bot would refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.settings import Authority, Override
from bot.slack.authority import Directory
from bot.slack.outsiders import Outsiders
from tests.world.slack_world import SlackWorld, slack_world

LISTS = Authority(approvers=("U0ALICE", "U0GINA", "S0ONCALL"), scenario={"database failover": Override(approvers=("U0CAROL",))})


@pytest.fixture
async def world() -> AsyncIterator[SlackWorld]:
    async with slack_world() as world:
        yield world


async def test_guests_and_people_who_left_are_known_until_they_come_back(world: SlackWorld) -> None:
    outsiders, people = Outsiders(LISTS, Directory(world.web)), world.workspace.people
    assert await outsiders.ask()
    assert outsiders.known == {"U0GINA"}
    people["U0CAROL"] = replace(people["U0CAROL"], deleted=True)
    assert await outsiders.ask()
    assert outsiders.known == {"U0GINA", "U0CAROL"}
    people["U0CAROL"] = replace(people["U0CAROL"], deleted=False)
    assert await outsiders.ask()
    assert outsiders.known == {"U0GINA"}


async def test_a_person_slack_says_nothing_about_stays_what_she_was(world: SlackWorld) -> None:
    outsiders = Outsiders(LISTS, Directory(world.web))
    world.workspace.faults.rate_limit("users.info", times=3)
    assert not await outsiders.ask()
    assert not outsiders.known, "nobody is left out for want of an answer"
    assert await outsiders.ask()
    world.workspace.faults.rate_limit("users.info", times=3)
    assert not await outsiders.ask()
    assert outsiders.known == {"U0GINA"}
