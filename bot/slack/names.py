"""The names of people: what the bot says of `<@U0BOB>` outside Slack, where nobody knows the ids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bot.slack.mrkdwn import INVISIBLE

SECONDS = 4.0  # what Slack gets to answer; then ids have to do
_MENTION = re.compile(r"<@([UW][A-Z0-9]+)>")


def mentioned(text: str) -> set[str]:
    """The ids of the people whom a text mentions."""
    return set(_MENTION.findall(text))


def named_in(text: str, names: Mapping[str, str]) -> str:
    """The text with names in place of mentions; an id stays one if Slack did not say whose it is."""
    return _MENTION.sub(lambda found: f"@{names.get(found[1], found[1])}", text).replace(INVISIBLE, "")


async def names_of(slack: Any, people: Iterable[str]) -> dict[str, str]:
    """The names of these people as Slack has them, of those that it tells within a few seconds."""

    async def ask(person: str) -> tuple[str, str]:
        user = (await slack.users_info(user=person))["user"]
        return person, str(user.get("name") or user.get("real_name") or person)

    tasks = [asyncio.create_task(ask(person)) for person in people]
    if not tasks:
        return {}
    done, late = await asyncio.wait(tasks, timeout=SECONDS)
    for task in late:
        task.cancel()
    return dict(task.result() for task in done if not task.exception())
