"""Making plans and offering them: the same way for a first plan, a plan made again, and a fallback."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from actions.world import World
from bot.settings import Settings
from bot.store import Store
from commands.plan import Plan
from commands.scenario import SCENARIOS


class Planner:
    """Reads the world through a scenario, and stores what comes out as an offer with its card."""

    def __init__(self, settings: Settings, world: World, store: Store) -> None:
        self.settings = settings
        self.world = world
        self.store = store

    async def make(self, scenario: str, arguments: Mapping[str, str]) -> Plan:
        """The plan for a scenario as the world is now; changes nothing. Raises `BadCommand` on bad arguments."""
        return expiring(await SCENARIOS[scenario].make(self.world, arguments), self.settings)

    async def offer(self, plan_id: str, plan: Plan, requester: str, changes: Sequence[str] = ()) -> bool:
        """Show a plan in the incident channel; False where this id is shown already, and then nothing changes."""
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
        return await self.store.do(self.store.offer, row)


def plan_id(origin: str) -> str:
    """A short id a person can type, always the same for the same origin, so that planning again makes no second plan."""
    return base64.b32encode(hashlib.sha256(origin.encode()).digest()).decode().lower()[:8]


def expiring(plan: Plan, settings: Settings) -> Plan:
    """The plan with the expiry that the settings give its scenario."""
    minutes = settings.authority.rule(plan.scenario).expiry_minutes
    return replace(plan, expires=datetime.now(UTC) + timedelta(minutes=minutes))
