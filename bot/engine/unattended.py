"""What a terminal or a schedule asks for: dr.toml and the plan's own steps say whether it begins without an approval.

The request comes through the inbox like a command. What comes of it is a run like any other, or one sentence that says why not:
to the terminal that asked, or for a schedule as an alert in the incident channel.
"""

from __future__ import annotations

import time

import structlog

from actions.scrub import scrub, unexpected
from bot.actors import SCHEDULE, mention, upper
from bot.engine import offers
from bot.engine.planner import Planner, plan_id
from bot.engine.runs import Runs
from bot.settings import Settings
from bot.slack.alerts import missed_key
from bot.state import approvals
from bot.state.messages import order_alert
from bot.state.plans import plan_row
from bot.state.requests import refuse_request
from bot.state.store import Connection, Item, Refusal
from commands.plan import Plan
from commands.scenario import BadCommand, parse

log = structlog.get_logger(__name__)
STALE_SECONDS = 15 * 60.0  # a request that a crash or an absence kept waiting for longer is no longer carried out


class Unattended:
    """Carries out what was requested, once, or says why not."""

    def __init__(self, planner: Planner, runs: Runs) -> None:
        self._planner = planner
        self._store = planner.store
        self._runs = runs

    async def request(self, item: Item) -> None:
        """Plan what an item of the inbox asks for, and begin it."""
        try:
            await self._request(item)
        except (Refusal, BadCommand) as refusal:
            await self._refuse(item, str(refusal))
        except Exception as error:
            log.exception("request_broke", item=item.id)
            await self._refuse(item, unexpected(error))

    async def _request(self, item: Item) -> None:
        run_id, settings = plan_id(item.id), self._planner.settings
        if await self._store.story(run_id):
            return  # begun before a crash, and resumed like every run
        if time.time() - item.at > STALE_SECONDS:
            raise Refusal("No bot served when it was asked for. Nothing was done; ask again if you still need it.")
        request = parse(item.payload["text"])
        require_policy(settings, request.words)
        plan = await self._planner.make(request.words, request.arguments)
        require_harmless(settings, plan)
        row, replies = self._planner.row(run_id, plan, item.person)
        await self._store.do(self._begin, run_id, row, replies, plan)
        await self._runs.start(run_id)

    def _begin(self, connection: Connection, run_id: str, row: dict[str, object], replies: tuple[str, ...], plan: Plan) -> None:
        approvals.require_free(connection, plan.targets)
        offers.show(connection, row, replies)
        stored = plan_row(connection, run_id)
        assert stored is not None, run_id
        who = mention(stored["requested_by"])
        says = f"Plan {stored['id']} (digest {stored['digest'][:12]}) begins: {plan.heading}. {upper(who)} asked for it. "
        says += "It needs no approval: [authority] unattended of dr.toml lists it, and no step of it changes production."
        approvals.begin_run(connection, stored, stored["requested_by"], says)

    async def _refuse(self, item: Item, says: str) -> None:
        log.warning("request_refused", item=item.id, person=item.person, says=says)
        await self._store.do(self._record_refusal, item, scrub(says))

    def _record_refusal(self, connection: Connection, item: Item, says: str) -> None:
        if not item.person.startswith(SCHEDULE):
            refuse_request(connection, item.id, says)
            return
        who, due = upper(mention(item.person)), item.payload["due"]
        text = f"{who} asked for `/dr {item.payload['text']}`, and it was not started: {says}"
        channel = self._planner.settings.slack.channel
        order_alert(connection, missed_key(due), channel, f"{text} Until it is done, no backup is verified.")


def require_policy(settings: Settings, scenario: str) -> None:
    """Raises `Refusal` if dr.toml doesn't say that this scenario may be carried out without an approval."""
    if scenario not in settings.authority.unattended:
        raise Refusal(
            f"`/dr {scenario}` needs an approval: [authority] unattended of dr.toml doesn't list {scenario!r}. "
            "Nothing was done; ask for it in Slack."
        )


def require_harmless(settings: Settings, plan: Plan) -> None:
    """Raises `Refusal` if the plan needs people whatever dr.toml says, or can't be carried out at all."""
    for scenario in plan.scenarios:
        require_policy(settings, scenario)
    if plan.forbidden:
        raise Refusal(f"{plan.forbidden[0].says} Nothing was done.")
    if why := plan.needs_people({database.instance for database in settings.databases.values()}):
        raise Refusal(
            f"{why} So it needs an approval, whatever [authority] unattended of dr.toml says. "
            f"Nothing was done; ask for it in Slack with `{plan.command}`."
        )
