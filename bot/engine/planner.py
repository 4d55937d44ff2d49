"""Making plans and offering them: the same way for a first plan, a plan made again, and a fallback."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from actions.aws.deployments import Own
from actions.values import Json
from actions.world import World
from bot.engine import offers
from bot.settings import Settings
from bot.slack.plan_card import lay_out_plan
from bot.state.own import own_deployments
from bot.state.store import Store
from bot.state.verified_rows import last_rows
from commands.plan import Plan
from commands.scenario import SCENARIOS, parse


class Planner:
    """Reads the world through a scenario, and stores what comes out as an offer with its card.

    It lends the world the bot's memory: what this bot deployed itself is no suspect.
    """

    def __init__(self, settings: Settings, world: World, store: Store) -> None:
        self.settings = settings
        self.world = world
        self.store = store
        world.own_deployments = self._own_deployments
        world.last_rows = self._last_rows

    async def make(self, scenario: str, arguments: Mapping[str, str], *, asked: str = "") -> Plan:
        """The plan for a scenario as the world is now; changes nothing. Raises `BadCommand` on bad arguments.

        `asked` is the scenario that a person asked for, if this one came out of it.
        """
        plan = await SCENARIOS[scenario].make(self.world, arguments)
        return expiring(replace(plan, asked=asked or scenario), self.settings)

    async def make_fallback(self, plan: Plan) -> Plan:
        """The plan of another plan's fallback, as the world is now. Raises `BadCommand` if it can't be planned."""
        wanted = parse(plan.fallback)
        return await self.make(wanted.words, wanted.arguments)

    async def offer(self, plan_id: str, plan: Plan, requester: str, changes: Sequence[str] = ()) -> str:
        """Show a plan in the incident channel; returns the id of the plan that stands: the same may be on offer already."""
        row, replies = self.row(plan_id, plan, requester, changes)
        return await self.store.do(offers.offer, row, replies)

    def row(
        self, plan_id: str, plan: Plan, requester: str, changes: Sequence[str] = ()
    ) -> tuple[dict[str, Json], tuple[str, ...]]:
        """A plan as it is stored, and the replies that hold what its card cannot."""
        row = {
            "id": plan_id,
            "scenario": plan.scenario,
            "target": plan.target,
            "plan": plan.to_json(),
            "digest": plan.digest,
            "nonce": secrets.token_urlsafe(12),
            "requested_by": requester,
            "requested_at": time.time(),
            "expires": plan.expires.timestamp(),
            "status": "offered",
            "closed_by": "",
            "changes": list(changes),
            "channel": self.settings.slack.channel,
        }
        return row, lay_out_plan(plan, changes).replies

    async def _last_rows(self, database: str, at: str) -> Mapping[str, int]:
        return await self.store.do(last_rows, database, datetime.fromisoformat(at))

    async def _own_deployments(self, target: str) -> Sequence[Own]:
        return await self.store.do(own_deployments, target)


def plan_id(origin: str) -> str:
    """A short id a person can type, always the same for the same origin, so that planning again makes no second plan."""
    return base64.b32encode(hashlib.sha256(origin.encode()).digest()).decode().lower()[:8]


def expiring(plan: Plan, settings: Settings) -> Plan:
    """The plan with the expiry that the settings give to what was asked and to what was planned: the earlier one."""
    minutes = min(settings.authority.rule(scenario).expiry_minutes for scenario in plan.scenarios)
    return replace(plan, expires=datetime.now(UTC) + timedelta(minutes=minutes))
