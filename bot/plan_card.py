"""The card of a plan: what was found, what is done, what it costs, and the buttons to approve or reject it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from actions.base import Level, count
from bot import blocks
from bot.actors import is_person, mention
from bot.blocks import Block, stamp
from bot.layout import IN_THREAD, Draft, Groups, Laid, lay_out
from bot.story import Offer
from commands.plan import Plan

BODY = 8000  # characters for what is the same as long as the plan is on offer; the rest is for what may still change
LEVELS = {Level.OK: ":white_check_mark:", Level.WARN: ":warning:", Level.STOP: ":octagonal_sign:"}
CLEANUP = "*At the end, whatever happens*"
CLOSED = {"superseded": "superseded by a newer plan or run"}


def plan_text(offer: Offer) -> str:
    """The plan in a line, for notifications."""
    return f"Plan {offer.id}: {offer.plan.heading}. Asked for by {mention(offer.requested_by)}. {offer.plan.why}"


def plan_blocks(offer: Offer, needed: int) -> list[Block]:
    """The plan's card as it stands."""
    body = lay_out_plan(offer.plan, offer.changes).blocks
    return [blocks.header(f"Plan: {offer.plan.heading}"), *body, *_footer(offer, needed)]


def lay_out_plan(plan: Plan, changes: Sequence[str] = ()) -> Laid:
    """The part of the card that people approve, and the replies that must stand in its thread before they can."""

    def build(draft: Draft) -> Groups:
        return [group for group in _groups(plan, changes, draft) if group]

    return lay_out(build, BODY)


def step_lines(plan: Plan, draft: Draft, end: Callable[[str], str] = lambda _: IN_THREAD) -> Iterator[tuple[str, str, str]]:
    """Each step's id, with a line for its title and one for its command; `end` says where the rest of a piece is."""
    for step_id, step in plan.steps():
        name, command = f"Step {step_id}", f"Command of step {step_id}"
        title = f"*{step_id} {draft.say(name, step.title, end=end(name))}*"
        yield step_id, title, f"      {draft.say(command, step.command(), is_code=True, end=end(command))}"


def _groups(plan: Plan, changes: Sequence[str], draft: Draft) -> Iterator[list[str]]:
    if len(f"Plan: {plan.heading}") > 150:  # more than a header takes
        yield [draft.say("What it does", plan.heading)]
    yield [f"*{draft.say('Why', plan.why)}*"]
    made_again = [f"• {draft.say(f'Change {n}', change)}" for n, change in enumerate(changes, 1)]
    if made_again:
        yield ["*Made again, because the last one no longer holds:*", *made_again]
    found = list(_findings(plan, draft)) or ["Nothing beyond what the steps say."]
    yield ["*What I found*", *found]
    steps = [(plan.is_cleanup(step), f":white_circle: {title}", command) for step, title, command in step_lines(plan, draft)]
    for is_cleanup, heading in ((False, "*What will be done, in this order*"), (True, CLEANUP)):
        lines = [line for which, *lines in steps if which is is_cleanup for line in lines]
        if lines:
            yield [heading, *lines]
    cost = [f"• {draft.say(f'Cost {n}', sentence)}" for n, sentence in enumerate(plan.cost, 1)]
    if cost:
        yield ["*What it costs*", *cost]


def _findings(plan: Plan, draft: Draft) -> Iterator[str]:
    for number, finding in enumerate(plan.findings, 1):
        yield f"{LEVELS[finding.level]} {draft.say(f'Finding {number}', finding.says)}"
        if finding.evidence:  # as code: what logs and servers say has underscores and asterisks that are no markup
            evidence = " ".join(finding.evidence.split())
            yield f"      {draft.say(f'Evidence for finding {number}', evidence, is_code=True)}"


def _footer(offer: Offer, needed: int) -> list[Block]:
    if offer.status != "offered":
        by = f" by <@{offer.closed_by}>" if offer.closed_by else ""
        status = CLOSED.get(offer.status, offer.status)
        return [blocks.section(f":no_entry: This plan is *{status}*{by}. Nothing has changed."), _asked(offer)]
    if offer.plan.forbidden:
        why = offer.plan.forbidden[0].says
        why = why if len(why) <= 300 else "The reason has this sign above."
        return [blocks.section(f":octagonal_sign: *This plan cannot be approved.* {why}"), _asked(offer)]
    value = f"{offer.id}:plan:{offer.nonce}"
    reject = blocks.button("dr_reject", "Reject", value)
    if offer.unread:
        waits = ":hourglass_flowing_sand: *I'm posting the whole text in the thread.* The Approve button appears when it's there."
        return [blocks.section(waits), blocks.actions(reject), _asked(offer)]
    return [blocks.section(_who_approves(offer, needed)), blocks.actions(_approve(offer.plan, value), reject), _asked(offer)]


def _who_approves(offer: Offer, needed: int) -> str:
    people = "Another person" if needed == 1 else f"{needed} other people"
    people += f" than {mention(offer.requested_by)}"
    if not is_person(offer.requested_by):
        people = "A person" if needed == 1 else f"{needed} people"
    have = f" Approved so far by {', '.join(f'<@{p}>' for p in offer.approved_by)}." if offer.approved_by else ""
    typing = f", and type `{offer.plan.confirm}`," if offer.plan.confirm else ""
    asks = f":raised_hand: *{people} must approve*{typing} by {stamp(offer.expires)}.{have}"
    return f":warning: *This interrupts {offer.plan.interrupts}.*\n{asks}" if offer.plan.interrupts else asks


def _approve(plan: Plan, value: str) -> Block:
    if plan.confirm:  # the form asks instead
        label = plan.approve or (f"Approve: interrupt {plan.interrupts}" if plan.interrupts else "Approve")
        return blocks.button("dr_approve", label, value, style="danger")
    if plan.approve or not plan.interrupts:
        confirm = blocks.confirm("Approve this plan?", _question(plan), "Approve")
        style = "danger" if plan.approve else "primary"
        return blocks.button("dr_approve", plan.approve or "Approve", value, style=style, confirm=confirm)
    title, label = f"Interrupt {plan.interrupts}?", f"Approve: interrupt {plan.interrupts}"
    confirm = blocks.confirm(title, _question(plan), "Interrupt it", style="danger")
    return blocks.button("dr_approve", label, value, style="danger", confirm=confirm)


def _question(plan: Plan) -> str:
    """What is asked once more before an approval counts: of the sentences as many as fit whole."""
    changes = count(len(plan.actions()), "change")
    says = f"{plan.heading}: {changes} on {plan.target}."
    if len(says) > 290:
        return f"{changes}, as the plan says."
    for sentence in plan.cost:
        if len(says) + 1 + len(sentence) > 290:
            break
        says += f" {sentence}"
    return says


def _asked(offer: Offer) -> Block:
    fallback = f" Fallback: `/dr {offer.plan.fallback}`." if offer.plan.fallback else ""
    asked = f"asked for by {mention(offer.requested_by)} at {stamp(offer.requested_at)}.{fallback}"
    return blocks.context(f"Plan `{offer.id}`, digest `{offer.digest[:12]}`, {asked}")
