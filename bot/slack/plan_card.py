"""The card of a plan: what it does and who can approve it, what needs their eyes, what is done, what it costs, the buttons.

Good news and evidence go into the thread, where they stay after the approval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from actions.step import Action, Hold, Step
from actions.values import Finding, Level, count
from bot.actors import is_person, mention
from bot.slack import blocks
from bot.slack.blocks import Block, stamp
from bot.slack.layout import IN_THREAD, Draft, Groups, Laid, Piece, lay_out, pack
from bot.slack.look import Look
from bot.slack.mrkdwn import inert
from bot.slack.words import listed, span, who_could
from bot.state.story import Offer
from commands.plan import Plan

BODY = 7500  # characters for what is the same as long as the plan is on offer; the rest is for what may still change
MOST_FINDINGS = 5  # that need the approver's eyes and stand in the message
MOST_STEPS, FIRST_STEPS = 20, 8  # a plan of more steps shows the first ones, and the rest is in its thread
LEVELS = {Level.OK: ":white_check_mark:", Level.WARN: ":warning:", Level.STOP: ":octagonal_sign:"}
CLEANUP = "*At the end, whatever happens*"
CLOSED = {"superseded": "superseded by a newer plan or run"}
KEPT_CAPITAL = 2  # a first word with so many capital letters is an abbreviation


def plan_text(offer: Offer) -> str:
    """The plan in a line, for notifications."""
    return f"Plan {offer.id}: {inert(offer.plan.heading)}. Asked for by {mention(offer.requested_by)}. {inert(offer.plan.why)}"


def plan_blocks(offer: Offer, look: Look) -> list[Block]:
    """The plan's card as it stands."""
    head, *rest = [*_head(offer, look)]
    body = lay_out_plan(offer.plan, offer.changes).blocks
    return [head, *rest, *body, *_footer(offer, look)]


def lay_out_plan(plan: Plan, changes: Sequence[str] = ()) -> Laid:
    """The part of the card that people approve, and the replies that must stand in its thread before they can."""

    def build(draft: Draft) -> Groups:
        return [group for group in _groups(plan, changes, draft) if group]

    laid = lay_out(build, BODY)
    return Laid(blocks=laid.blocks, away=laid.away, replies=pack([*laid.replies, *_more_steps(plan), *_more_findings(plan)]))


def evidence(plan: Plan) -> tuple[str, ...]:
    """What was looked at, with the evidence, as replies of the thread."""
    if not plan.findings:
        return ()
    parts = [part for finding in plan.findings for part in _evidence(finding)]
    return pack(["*What I looked at*", *parts], between="\n")


def step_lines(plan: Plan, draft: Draft, end: Callable[[str], str] = lambda _: IN_THREAD) -> Iterator[tuple[str, str, str]]:
    """Each step's id, with a line for its title and one for its command; `end` says where the rest of a piece is."""
    for step_id, step in plan.steps():
        name, command = f"Step {step_id}", f"Command of step {step_id}"
        title = f"*{step_id} {draft.say(name, step.title, end=end(name))}*"
        yield step_id, title, f"      {draft.say(command, step.command(), is_code=True, end=end(command))}"


def in_words(title: str) -> str:
    """A title as it goes on after a colon: "end 24 sessions", but "RDS ..." as it is."""
    first = title.partition(" ")[0]
    return title if sum(letter.isupper() for letter in first) >= KEPT_CAPITAL else title[:1].lower() + title[1:]


def kind(step: Step) -> str:
    """The sign of a step: it changes something, it asks a person, or it only looks."""
    return ":wrench:" if isinstance(step, Action) else ":raised_hand:" if isinstance(step, Hold) else ":mag:"


# The head -----------------------------------------------------------------------------------------------------------------


def _head(offer: Offer, look: Look) -> Iterator[Block]:
    """What it is, and what is asked of whom. A plan that can't be approved says why first."""
    plan = offer.plan
    if offer.status != "offered":
        yield blocks.header(f"⚪ Plan {CLOSED.get(offer.status, offer.status)}: {plan.heading}")
        return
    if plan.forbidden:
        yield blocks.header(f"⛔ Can't be approved: {plan.heading}")
        why = plan.forbidden[0].says
        yield blocks.section(f"*{inert(why) if len(why) <= 600 else 'The reason has this sign below: :octagonal_sign:.'}*")
        return
    yield blocks.header(f"🔴 Approval needed: {plan.heading}")
    yield blocks.section(_who_approves(offer, look))


def _who_approves(offer: Offer, look: Look) -> str:
    """Who must approve, and by when, by name: a new message notifies those it mentions."""
    typing = f", and type `{offer.plan.confirm}`," if offer.plan.confirm else ""
    have = f" Approved so far by {listed((mention(p) for p in offer.approved_by), 'and')}." if offer.approved_by else ""
    minutes = round((offer.expires - offer.requested_at) / 60)
    until = f"by {stamp(offer.expires)}, {count(max(minutes, 0), 'minute')} after it was asked for"
    return f":raised_hand: *{_people(offer, look)} must approve*{typing} {until}.{have}"


def _people(offer: Offer, look: Look) -> str:
    asked = offer.requested_by
    those = who_could(look.approvers, asked)
    if not those:
        besides = f"other {'person' if look.needed == 1 else 'people'} than {mention(asked)}" if is_person(asked) else ""
        number = ("Another " if look.needed == 1 else f"{look.needed} ") + besides if besides else ""
        return number.replace("Another other", "Another") or ("A person" if look.needed == 1 else f"{look.needed} people")
    but = f" (not {mention(asked)}, who asked)" if is_person(asked) else ""
    return f"{those}{but}" if look.needed == 1 else f"{look.needed} of {those.replace(' or ', ' and ')}{but}"


# What people approve ------------------------------------------------------------------------------------------------------


def _groups(plan: Plan, changes: Sequence[str], draft: Draft) -> Iterator[list[str]]:
    if len(f"⛔ Can't be approved: {plan.heading}") > 150:  # more than a header takes
        yield [draft.say("What it does", plan.heading)]
    yield [f"*{draft.say('Why', plan.why)}*"]
    made_again = [f"• {draft.say(f'Change {n}', change)}" for n, change in enumerate(changes, 1)]
    if made_again:
        yield ["*Made again, because the last one no longer holds:*", *made_again]
    yield [*_findings(plan, draft)]
    steps = dict(plan.steps())
    lines = [
        (plan.is_cleanup(step), f"{kind(steps[step])} {title}", command) for step, title, command in _visible_steps(plan, draft)
    ]
    for is_cleanup, heading in ((False, "*What will be done, in this order*"), (True, CLEANUP)):
        group = [line for which, *pair in lines if which is is_cleanup for line in pair]
        hidden = len(steps) - len(lines)
        more = [f"… and {count(hidden, 'more step')}, whole in the thread."] if hidden and not is_cleanup else []
        if group:
            yield [heading, *group, *more]
    yield [*_impact(plan, draft)]


def _visible_steps(plan: Plan, draft: Draft) -> Iterator[tuple[str, str, str]]:
    for number, lines in enumerate(step_lines(plan, draft) if len(list(plan.steps())) <= MOST_STEPS else _first(plan, draft)):
        if number < MOST_STEPS:
            yield lines


def _first(plan: Plan, draft: Draft) -> Iterator[tuple[str, str, str]]:
    lines = step_lines(plan, draft)
    return (next(lines) for _ in range(FIRST_STEPS))


def _more_steps(plan: Plan) -> Iterator[str]:
    """The steps that a long plan does not show, each with its whole command, for the thread."""
    steps = list(plan.steps())
    for step_id, step in steps[FIRST_STEPS:] if len(steps) > MOST_STEPS else []:
        yield from Piece(name=f"Step {step_id}", text=step.title).replies()
        yield from Piece(name=f"Command of step {step_id}", text=step.command(), is_code=True).replies()


def _findings(plan: Plan, draft: Draft) -> Iterator[str]:
    """What needs the approver's eyes, a line each; the rest is counted."""
    eyes = _for_eyes(plan)
    for number, finding in enumerate(eyes[:MOST_FINDINGS], 1):
        yield f"{LEVELS[finding.level]} {draft.say(f'Finding {number}', finding.says)}"
    more, fine = len(eyes) - MOST_FINDINGS, len(plan.findings) - len(eyes)
    if more > 0:
        yield f":warning: *{count(more, 'more warning is', 'more warnings are')} in the thread.*"
    if fine:
        yield f":white_check_mark: {count(fine, 'thing is', 'things are')} as expected. The evidence is in the thread."
    elif eyes and any(finding.evidence for finding in eyes):
        yield "The evidence is in the thread."


def _for_eyes(plan: Plan) -> list[Finding]:
    order = (Level.STOP, Level.WARN)
    return sorted((f for f in plan.findings if f.level in order), key=lambda finding: order.index(finding.level))


def _more_findings(plan: Plan) -> Iterator[str]:
    """The warnings for which the message has no room: they must be read, too."""
    for number, finding in enumerate(_for_eyes(plan)[MOST_FINDINGS:], MOST_FINDINGS + 1):
        yield from Piece(name=f"Finding {number}", text=finding.says).replies()


def _evidence(finding: Finding) -> Iterator[str]:
    """A finding with its evidence: as code, because what logs and servers say has underscores that are no markup."""
    says, *rest = list(Piece(name="", text=finding.says).parts()) or [""]
    yield f"{LEVELS[finding.level]} {says}"
    yield from rest
    yield from Piece(name="", text=" ".join(finding.evidence.split()), is_code=True).parts()


def _impact(plan: Plan, draft: Draft) -> Iterator[str]:
    if plan.interrupts:
        yield f":warning: *This interrupts {plan.interrupts}.*"
    if plan.cost:
        yield "*Impact*"
    for number, sentence in enumerate(plan.cost, 1):
        yield f"• {draft.say(f'Cost {number}', sentence)}"


# The end ------------------------------------------------------------------------------------------------------------------


def _footer(offer: Offer, look: Look) -> list[Block]:
    if offer.status != "offered":
        by = f" by {mention(offer.closed_by)}" if offer.closed_by else ""
        status = CLOSED.get(offer.status, offer.status)
        return [blocks.section(f":no_entry: This plan is *{status}*{by}. Nothing has changed."), _request_line(offer)]
    if offer.plan.forbidden:
        helps = f" `/dr {offer.plan.fallback}` may help instead." if offer.plan.fallback else ""
        return [
            blocks.section(f":octagonal_sign: *This plan cannot be approved.* Nothing has changed.{helps}"),
            _request_line(offer),
        ]
    value = f"{offer.id}:plan:{offer.nonce}"
    reject = blocks.button("dr_reject", "Reject", value)
    took = [blocks.section(_duration(look))]
    if offer.unread:
        waits = ":hourglass_flowing_sand: *I'm posting the whole text in the thread.* The Approve button appears when it's there."
        return [*took, blocks.section(waits), blocks.actions(reject), _request_line(offer)]
    return [*took, blocks.actions(_approve(offer.plan, value), reject), _request_line(offer)]


def _duration(look: Look) -> str:
    usual = look.usual
    if usual.whole is None:
        return ":stopwatch: I have no earlier run of this scenario, so I can't say how long it takes."
    runs = "its last run" if usual.runs == 1 else f"the median of its last {usual.runs} runs"
    return f":stopwatch: Usually takes {span(usual.whole)} ({runs}); the target is {look.rto_minutes:g} min (RTO)."


def _approve(plan: Plan, value: str) -> Block:
    label = plan.approve or _label(plan)
    if plan.confirm:  # the form asks instead
        return blocks.button("dr_approve", label, value, style="danger")
    if plan.approve or not plan.interrupts:
        confirm = blocks.confirm("Approve this plan?", _question(plan), "Approve")
        return blocks.button("dr_approve", label, value, style="danger" if plan.approve else "primary", confirm=confirm)
    confirm = blocks.confirm(f"Interrupt {plan.interrupts}?", _question(plan), "Interrupt it", style="danger")
    return blocks.button("dr_approve", label, value, style="danger", confirm=confirm)


def _label(plan: Plan) -> str:
    """What the button says: what it does, if that is short enough; half a name would say something else."""
    does = f"interrupt {plan.interrupts}" if plan.interrupts else in_words(plan.title)
    return f"Approve: {does}" if does and len(does) <= 65 else "Approve"


def _question(plan: Plan) -> str:
    """What is asked once more before an approval counts: as many of the sentences as fit whole."""
    changes = count(len(plan.actions()), "change")
    says = f"{plan.heading}: {changes} on {plan.target}."
    if len(says) > 290:
        return f"{changes}, as the plan says."
    for sentence in plan.cost:
        if len(says) + 1 + len(sentence) > 290:
            break
        says += f" {sentence}"
    return says


def _request_line(offer: Offer) -> Block:
    fallback = f" If a step fails: `/dr {offer.plan.fallback}`." if offer.plan.fallback else ""
    asked = f"asked for by {mention(offer.requested_by)} at {stamp(offer.requested_at)}.{fallback}"
    return blocks.context(f"Plan `{offer.id}`, digest `{offer.digest[:12]}`, {asked}")
