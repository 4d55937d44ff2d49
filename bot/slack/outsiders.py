"""Who is on the lists of dr.toml by mistake: guests, bots, people who have left. Nobody is sent to them.

Slack is asked again about whoever presses a button; this only keeps people whom the bot would refuse out of cards and refusals.
"""

from __future__ import annotations

import asyncio

import structlog

from bot.settings import Authority
from bot.slack.authority import Directory
from bot.state.store import Refusal

log = structlog.get_logger(__name__)
EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 60.0  # if Slack did not say everything


class Outsiders:
    """`known` are the listed people who aren't full members according to Slack; those it says nothing about stay listed."""

    def __init__(self, authority: Authority, directory: Directory) -> None:
        rules = [authority, *(authority.rule(scenario) for scenario in authority.scenario)]
        listed = [entry for rule in rules for entry in rule.approvers]
        self._listed = tuple(dict.fromkeys(entry for entry in listed if not entry.startswith("S")))
        self._directory = directory

    @property
    def known(self) -> frozenset[str]:
        """Who they are, as far as Slack has said."""
        return self._directory.outsiders

    async def run(self) -> None:
        """Ask once an hour until cancelled."""
        while True:
            told = await self.ask()
            await asyncio.sleep(EVERY_SECONDS if told else AGAIN_SECONDS)

    async def ask(self) -> bool:
        """Ask about everybody who is listed; whether Slack told about all."""
        found, told = set[str](), True
        for person in self._listed:
            try:
                if why := await self._directory.why_not(person):
                    found.add(person)
                    if person not in self.known:
                        log.warning("approver_is_no_member", person=person, says=why)
            except Refusal:
                told = False
                found |= self.known & {person}
        self._directory.outsiders = frozenset(found)
        return told
