"""The end of a run as the channel is told once: how it ended, the outage, the loss, and what to look at next."""

from __future__ import annotations

from bot.actors import mention
from bot.slack import blocks
from bot.slack.blocks import Block
from bot.slack.look import Look
from bot.slack.mrkdwn import foreign, shown
from bot.slack.run_card import SYMBOLS, TITLES, loss_line, outage_line
from bot.state.story import Run, Story


def end_blocks(story: Story, run: Run, line: str, look: Look) -> list[Block]:
    """The blocks of the reply that ends a run's thread and stands in the channel, too; `line` is its sentence."""
    plan = story.offer.plan
    head = f"{SYMBOLS.get(run.state, '')} *{TITLES[run.state]}: {foreign(plan.heading, 300)}*"
    facts = [outage_line(story, run, look), loss_line(story, look)]
    return [
        *blocks.sections([head, shown(line, 2500)]),
        {"type": "section", "fields": [blocks.field(fact) for fact in facts]},
        blocks.section(f"*Next:* {_next(story, run)}"),
        blocks.context(
            f"Run `{run.id}`, asked for by {mention(story.offer.requested_by)}. `/dr show {run.id}` has its timeline."
        ),
        *([blocks.link(look.canvas, "The report as a canvas")] if look.canvas else []),
    ]


def _next(story: Story, run: Run) -> str:
    """What to look at, or to do, now."""
    plan, outage = story.offer.plan, story.outage
    if outage is not None and outage.ended is None:
        return f"{foreign(outage.service, 80)} still fails its health check. Type `/dr triage` to see what fits."
    if run.state == "done":
        return (
            "Look at `/dr targets`: it says what is unprotected now. Take the pin off this card when you've closed the incident."
        )
    if run.state == "not started":
        return "A newer plan is in this channel; it needs its own approval."
    if plan.fallback:
        return f"`/dr {plan.fallback}` is the other way; `/dr triage` says what fits now."
    return "`/dr triage` says what fits now."
