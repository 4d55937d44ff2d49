"""What follows from a recorded command, click or form. All of it may run again after a crash and then adds nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from actions.scrub import unexpected
from actions.values import Json
from bot.actors import is_person
from bot.choices import CHOICES, Choice
from bot.engine import reports
from bot.engine.offers import already_on_offer
from bot.engine.planner import Planner, plan_id
from bot.engine.runs import Runs
from bot.engine.unattended import Unattended
from bot.slack import cards, evidence
from bot.slack.authority import Gate, approvals_needed
from bot.slack.outbox import Outbox
from bot.slack.pick_form import pick_form
from bot.slack.restore_form import RestoreForm
from bot.state import approvals
from bot.state.approvals import Click
from bot.state.store import Item, Refusal, Store
from bot.state.story import Offer
from commands.plan import Plan
from commands.scenario import BadCommand, parse

log = structlog.get_logger(__name__)
NO_FORM = "Slack did not say that it opened the form. Nothing was done; if it is not there, press {} again."
STALE_SECONDS = 15 * 60.0  # a command that a crash held up for longer is no longer planned


class Handlers:
    """Handles what people did. A refusal is a sentence that only the person sees."""

    def __init__(self, *, store: Store, planner: Planner, gate: Gate, runs: Runs, outbox: Outbox, slack: Any) -> None:
        self.store = store
        self.planner = planner
        self.gate = gate
        self.runs = runs
        self.outbox = outbox
        self.slack = slack
        self.unattended = Unattended(planner, runs)
        self.restore_form = RestoreForm(slack, planner.world)

    async def handle(self, item: Item) -> None:
        """Do what follows from one item."""
        works: dict[str, Callable[[Item], Awaitable[None]]] = {
            "command": self._command,
            "click": self._click,
            "submit": self._submit,
            "form": self._pick,
            "pick": self.restore_form.pick,
            "request": self.unattended.request,
            "evidence": self._save_evidence,
        }
        try:
            await works[item.kind](item)
        except (Refusal, BadCommand) as refusal:
            await self._answer(f"refusal/{item.id}", item, str(refusal))
            log.info("refused", item=item.id, person=item.person, says=str(refusal))
        except Exception as error:
            says = f"{unexpected(error)} Look at `/dr runs` before you try again; the log has the details."
            await self._answer(f"error/{item.id}", item, says)
            log.exception("handling_failed", item=item.id)
        finally:
            self.outbox.wake()

    async def _answer(self, key: str, item: Item, says: str) -> None:
        """Tell the person alone. The outbox tells the same sentence about the same plan or run only once in a while."""
        about = str(item.payload.get("value", "")).partition(":")[0]
        await self.store.ephemeral(key, item.person, item.channel, says, about)

    async def _save_evidence(self, item: Item) -> None:
        says = await evidence.save(self.store, self.gate.directory, self.slack, item)
        await self._answer(f"saved/{item.id}", item, says)

    async def resume(self) -> None:
        """Hand over again what a crash may have cut off: approved runs that never began, answers that never arrived."""
        for run_id in await self.store.unfinished():
            await self.runs.start_if_new(run_id)
            for row in await self.store.do(approvals.decisions_of, run_id):
                question = row["question"].removeprefix(f"{run_id}/")
                await self.runs.answer(run_id, question, row["choice"], row["person"], row["reason"])

    # Commands --------------------------------------------------------------------------------------------------------

    async def _command(self, item: Item) -> None:
        request = parse(item.payload["text"])
        if request.words == "stop":
            await self._stop(request.about, item.person)
            return
        if request.scenario and await self.store.story(plan_id(item.id)):
            return  # planned before a crash
        if time.time() - item.at > STALE_SECONDS:
            raise Refusal(
                f"I was away when you typed `/dr {item.payload['text']}`. Nothing was done; type it again if you still need it."
            )
        await self.gate.may_request(item.person, request.words)
        if request.asks:
            await self.restore_form.open(item, request)
            return
        if request.report:
            await reports.answer(self.store, self.planner.world, item, request.report, request.arguments)
            return
        plan = await self.planner.make(request.words, request.arguments)
        await self._may_request(item.person, plan)
        await self.store.do(approvals.require_free, plan.targets)
        standing = await self.planner.offer(plan_id(item.id), plan, item.person)
        story = await self.store.story(standing)
        if story is not None and standing != plan_id(item.id):
            raise Refusal(already_on_offer(story.offer, item.person))

    async def _pick(self, item: Item) -> None:
        """Open the form for picking a plan, for a person who may ask for one."""
        await self.gate.may_request(item.person, "help")
        form = pick_form(self.planner.settings, item.channel)
        await self._open_form(item, form, "Plan a recovery")

    async def _may_request(self, person: str, plan: Plan, *, is_told: bool = True) -> None:
        """Whether a person may ask for what the plan does, too, if it is something else than what they typed."""
        if plan.scenario in ("", plan.asked):
            return
        try:
            await self.gate.may_request(person, plan.scenario, is_told=is_told)
        except Refusal as refusal:
            raise Refusal(f"The plan for `/dr {plan.asked}` would be: {plan.title}. {refusal}") from refusal

    async def _stop(self, run_id: str, person: str) -> None:
        story = await self.store.story(run_id)
        if story is None:
            raise Refusal(f"There is no run {run_id!r} to stop. `/dr runs` lists them. Nothing was done.")
        await self.gate.may_choose(person, CHOICES["stop"], story.offer.plan)
        question = await self.store.do(approvals.ask_to_stop, run_id, person)
        if question:
            await self.runs.answer(run_id, question, "abort", person, approvals.STOPPED)

    # Clicks ----------------------------------------------------------------------------------------------------------

    async def _click(self, item: Item) -> None:
        action, click = item.payload["action_id"], Click.from_value(item.payload["value"])
        story = await self.store.story(click.run_id)
        if story is None:
            raise Refusal("I don't know the plan of this button. Nothing was done; ask again with `/dr`.")
        plan, scenario = story.offer.plan, story.offer.plan.scenario
        if action == "dr_approve":
            await self._approve(click, item, story.offer)
        elif action == "dr_reject":
            await self.gate.may_end(item.person, scenario)
            await self.store.do(approvals.reject, click, item.person)
        elif action == "dr_stop":
            await self._stop(click.run_id, item.person)
        else:
            await self._choose(CHOICES[action.removeprefix("dr_")], click, item, plan)

    async def _approve(self, click: Click, item: Item, offer: Offer) -> None:
        """Count an approval; one that a name must be typed for gets its form first.

        A plan may have become another scenario since somebody asked: both need the right to both.
        """
        for scenario in offer.plan.scenarios:
            await self.gate.may_approve(item.person, scenario, offer.requested_by)
        if is_person(offer.requested_by):
            await self._may_request(offer.requested_by, offer.plan, is_told=False)
        if offer.plan.confirm and item.kind != "submit":
            await self.store.do(approvals.require_open, click)
            await self._open_form(item, cards.name_form(offer, item.payload["value"], item.channel), "Approve")
            return
        if offer.plan.confirm and (wrong := cards.wrong_name(offer.plan, item.payload.get("typed", ""))):
            raise Refusal(wrong)
        needed = approvals_needed(self.gate.authority, offer.plan)
        enough = await self.store.do(approvals.approve, click, item.person, needed)
        if enough:
            await self.runs.start(click.run_id)

    async def _choose(self, choice: Choice, click: Click, item: Item, plan: Plan) -> None:
        """Take a person's decision; one that needs a reason gets its form first."""
        await self.gate.may_choose(item.person, choice, plan)
        reason = str(item.payload.get("reason", ""))
        if choice.form and not reason:
            await self._open_form(item, cards.reason_form(choice, item.payload["value"], item.channel), choice.title)
            return
        await self.store.do(approvals.answer, click, item.person, choice.name, reason)
        await self.runs.answer(click.run_id, click.question, choice.name, item.person, reason)

    async def _open_form(self, item: Item, view: Json, button: str) -> None:
        try:
            await self.slack.views_open(trigger_id=item.payload["trigger_id"], view=view)
        except Exception as error:  # away, or the click is older than the three seconds that Slack gives to open a form
            log.warning("form_not_opened", item=item.id, error=str(error))
            raise Refusal(NO_FORM.format(button)) from error

    async def _submit(self, item: Item) -> None:
        click = Click.from_value(item.payload["value"])
        story = await self.store.story(click.run_id)
        if story is None:
            raise Refusal(f"There is no run {click.run_id!r}. Nothing was done.")
        if item.payload.get("choice") == cards.APPROVE:
            await self._approve(click, item, story.offer)
            return
        choice = CHOICES[item.payload.get("choice", "skip")]  # what an earlier version recorded was a skip
        await self._choose(choice, click, item, story.offer.plan)
