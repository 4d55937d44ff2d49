"""Who may ask, approve and decide. Lists come from dr.toml; Slack is asked whether the person is still one of us."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from bot.actors import mention
from bot.choices import Choice, Who
from bot.settings import Authority
from bot.slack.pace import Pace, lane_of
from bot.slack.words import called, listed
from bot.state.store import Refusal
from commands.plan import Plan
from commands.scenario import parse

log = structlog.get_logger(__name__)
MOST_NAMED = 6  # of those who could do what somebody may not
GROUP_SECONDS = 60.0  # how long a user group's members are remembered; Slack is asked about a person every time
_OUTSIDERS = {
    "deleted": "is deactivated in Slack",
    "is_bot": "is a bot",
    "is_restricted": "is a guest in Slack",
    "is_ultra_restricted": "is a guest in Slack",
    "is_stranger": "belongs to another company's Slack",
}


def approvals_needed(authority: Authority, plan: Plan) -> int:
    """How many people must approve a plan: as many as the stricter of what was asked and what was planned takes."""
    return max(authority.rule(scenario).approvals for scenario in plan.scenarios)


class Directory:
    """What Slack knows of people: whether a person is a full member now, and who is in a user group (kept for a minute)."""

    def __init__(self, client: Any, pace: Pace | None = None) -> None:
        self._client = client
        self._pace = pace or Pace()
        self._groups: dict[str, tuple[float, list[str]]] = {}
        self.outsiders: frozenset[str] = frozenset()  # listed people who aren't full members: nobody is sent to them

    async def require_member(self, person: str, ask: str = "") -> None:
        """Raises `Refusal` for a guest, a bot, a deactivated or foreign user, and if Slack is silent. `ask` says who could."""
        if says := await self.why_not(person):
            raise Refusal(f"<@{person}> {says}, and only full members may do this. {ask}".strip())

    async def why_not(self, person: str) -> str:
        """Why a person is not a full member ("is a guest in Slack"), "" for a member. Raises `Refusal` if Slack is silent."""
        await self._pace.turn(lane_of("users.info", ""))  # else many clicks of one person would use up Slack's limit for all
        user = await self._ask(f"user {person}", lambda: self._client.users_info(user=person), "user")
        if user.get("id") != person:
            raise _unknown(f"user {person}")
        return next((says for flag, says in _OUTSIDERS.items() if user.get(flag)), "")

    async def members(self, entries: Iterable[str]) -> frozenset[str]:
        """The user ids behind ids (U...) and user groups (S...). Raises `Refusal` if Slack does not answer."""
        people: set[str] = set()
        for entry in entries:
            people.update(await self._group(entry) if entry.startswith("S") else [entry])
        return frozenset(people)

    async def _group(self, group: str) -> list[str]:
        at, members = self._groups.get(group, (-GROUP_SECONDS, []))
        if time.monotonic() - at >= GROUP_SECONDS:
            members = await self._ask(f"group {group}", lambda: self._client.usergroups_users_list(usergroup=group), "users")
            self._groups[group] = (time.monotonic(), members)
        return members

    async def _ask(self, name: str, question: Any, field: str) -> Any:
        try:
            answer = (await question())[field]
            if answer is None:
                raise LookupError(f"Slack's answer has no {field}.")
            return answer
        except Exception as error:  # any failure of Slack's client means the same here: we do not know, so we refuse
            log.warning("authority_unknown", about=name, error=str(error))
            raise _unknown(name) from error


def _unknown(name: str) -> Refusal:
    return Refusal(f"Slack did not say who {name} is, so this is refused. Nothing was done; try again in a minute.")


class Gate:
    """The rules of dr.toml, applied to people. Every method returns in silence or raises `Refusal` with the sentence."""

    def __init__(self, authority: Authority, directory: Directory) -> None:
        self.authority = authority
        self.directory = directory

    async def may_request(self, person: str, scenario: str, *, is_told: bool = True) -> None:
        """Whether a person may ask for a plan. Without `is_told`, whoever approves it is told."""
        rule = self.authority.rule(scenario)
        who = "You" if is_told else mention(person)
        await self._require_listed(person, [*rule.requesters, *rule.approvers], f"{who} can't ask for `/dr {scenario}`.")

    async def may_approve(self, person: str, scenario: str, requester: str) -> None:
        """Whether a person may approve what another asked for."""
        approvers = self.authority.rule(scenario).approvers
        if person == requester:
            raise Refusal(f"You asked for this plan yourself, so you can't approve it. {self._ask(approvers, requester)}")
        await self._require_listed(person, approvers, f"You're not an approver of `/dr {scenario}`.", requester)

    async def may_decide(self, person: str, scenario: str) -> None:
        """Whether a person may decide what an approver decides in a run."""
        approvers = self.authority.rule(scenario).approvers
        await self._require_listed(
            person, approvers, f"You're not an approver of `/dr {scenario}`, so you can't decide in its run."
        )

    async def may_end(self, person: str, scenario: str) -> None:
        """Whether a person may reject a plan, stop or abort a run: everyone who may ask or approve."""
        rule = self.authority.rule(scenario)
        says = f"You can't reject a plan or end a run of `/dr {scenario}`."
        await self._require_listed(person, [*rule.requesters, *rule.approvers], says)

    async def may_choose(self, person: str, choice: Choice, plan: Plan) -> None:
        """Whether a person may make this choice in a run of the plan."""
        if choice.who is Who.LISTED:
            await self.may_end(person, plan.scenario)
            return
        for scenario in plan.scenarios:
            await self.may_decide(person, scenario)
        if choice.name == "fallback" and plan.fallback:
            await self.may_request(person, parse(plan.fallback).words)

    async def _require_listed(self, person: str, entries: Sequence[str], says: str, besides: str = "") -> None:
        """Raises `Refusal` with `says` and who could, unless the person is on the list and a full member."""
        if person not in await self.directory.members(entries):
            raise Refusal(f"{says} {self._ask(entries, besides)}")
        await self.directory.require_member(person, self._ask([one for one in entries if one != person], besides))

    def _ask(self, entries: Sequence[str], besides: str = "") -> str:
        """Who could do it instead, as a sentence."""
        others = [one for one in dict.fromkeys(entries) if one != besides and one not in self.directory.outsiders]
        if not others:
            return "Nobody else is listed in [authority] (dr.toml)."
        more = ["another of [authority] (dr.toml)"] if len(others) > MOST_NAMED else []
        return f"Ask {listed([*map(called, others[:MOST_NAMED]), *more])}."
