"""What people see in Slack, as pure functions: the card of a plan or run, the lines of its thread, and the form for a reason."""

from __future__ import annotations

from actions.values import Json, count
from bot.actors import mention
from bot.choices import Choice
from bot.slack import blocks
from bot.slack.blocks import Block, clock, stamp
from bot.slack.layout import PART
from bot.slack.look import Look
from bot.slack.mrkdwn import foreign, inert, shown
from bot.slack.plan_card import plan_blocks, plan_text
from bot.slack.run_card import run_blocks, run_text
from bot.state.story import Offer, Story
from commands.plan import Plan

APPROVE = "approve"  # what a form is for if it isn't about a choice of a run
MOST_NAME = 200  # characters of a name that is typed
MARKS = {
    "note": ":arrow_forward:",
    "question": ":raised_hand:",
    "saved": ":paperclip:",
    "begin": ":arrow_forward:",
    "ok": ":white_check_mark:",
    "warn": ":warning:",
    "bad": ":x:",
    "ask": ":raised_hand:",
    "end": ":checkered_flag:",
}


def render(story: Story, look: Look) -> tuple[str, list[Block]]:
    """A plan's card as it stands: the short text for notifications, and the blocks."""
    if story.run is None:
        text, made = plan_text(story.offer), plan_blocks(story.offer, look)
    else:
        text, made = run_text(story, story.run), run_blocks(story, story.run, look)
    return shown(text, 2900), blocks.fit(made)


def reply(mark: str, text: str) -> str:
    """A line of the timeline as it stands in the thread."""
    return shown(f"{MARKS.get(mark, '')} {text.partition(PART)[0]}".strip(), 3000) or "…"  # Slack refuses an empty one


def reply_blocks(text: str) -> list[Block]:
    """The blocks of a reply of several parts; none for one that is a text."""
    return [blocks.section(part) | {"expand": True} for part in text.split(PART)] if PART in text else []


def story_text(story: Story) -> str:
    """A run and its timeline as text, for `/dr show`."""
    plan, state = story.offer.plan, story.run.state if story.run else story.offer.status
    head = f"*{story.offer.id}* {inert(plan.heading)} (`{plan.command}`): {state}."
    asked = f"Asked for by {mention(story.offer.requested_by)}."
    head = shown(f"{head} {asked} {story.run.says if story.run else ''}".strip(), 600)
    lines: list[str] = []
    for line in reversed(story.timeline):
        text = shown(f"{clock(line.at)} {reply(line.mark, line.text)}", 800)
        if sum(map(len, lines)) + len(lines) + len(text) > 2800:
            lines.append(f"{count(len(story.timeline) - len(lines), 'earlier line is', 'earlier lines are')} in the thread.")
            break
        lines.append(text)
    return "\n".join([head, *reversed(lines)])


def runs_text(stories: list[Story]) -> str:
    """The latest runs, a line each, for `/dr runs`."""
    if not stories:
        return "There has been no run yet. `/dr help` lists what you can ask for."
    return shown("\n".join(_run_line(story) for story in stories if story.run), 3500)


def _run_line(story: Story) -> str:
    assert story.run is not None
    plan, run = story.offer.plan, story.run
    asked = f"asked for by {mention(story.offer.requested_by)}, began {stamp(run.began)}"
    return f"• *{run.id}* {inert(plan.heading)} (`{plan.command}`): {run.state}, {asked}. {shown(run.says, 200)}"


def name_form(offer: Offer, value: str, channel: str) -> Json:
    """The form in which an approver types the name of what the plan changes."""
    plan = offer.plan
    lines = [f"*{plan.heading}*", plan.why, *([f"This interrupts {plan.interrupts}."] if plan.interrupts else []), *plan.cost]
    return {
        "type": "modal",
        "callback_id": "dr_confirm",
        "private_metadata": f"{channel}|{value}|{APPROVE}",
        "title": blocks.plain("Approve this plan?"),
        "submit": blocks.plain("Approve"),
        "close": blocks.plain("Go back"),
        "blocks": [
            *blocks.sections(foreign(line, 1500) for line in lines),
            {
                "type": "input",
                "block_id": "typed",
                "label": blocks.plain(f"Type {plan.confirm} to approve"),
                "element": {"type": "plain_text_input", "action_id": "typed", "min_length": 1, "max_length": MOST_NAME},
            },
            blocks.context(f"Plan `{offer.id}`, digest `{offer.digest[:12]}`. Nothing is done before you have approved."),
        ],
    }


def wrong_name(plan: Plan, typed: str) -> str:
    """What is wrong with the name that an approver typed, in one line; "" if it is right."""
    if typed == plan.confirm:
        return ""
    return f"That isn't {plan.confirm}. Type exactly this name, or go back; nothing was done."


def reason_form(choice: Choice, value: str, channel: str) -> Json:
    """The form that asks for the reason of a choice."""
    form = choice.form
    assert form is not None, choice.name
    return {
        "type": "modal",
        "callback_id": "dr_confirm",
        "private_metadata": f"{channel}|{value}|{choice.name}",
        "title": blocks.plain(form.title),
        "submit": blocks.plain(form.submit),
        "close": blocks.plain("Go back"),
        "blocks": [
            blocks.section(form.warning),
            {
                "type": "input",
                "block_id": "reason",
                "label": blocks.plain(form.label),
                "element": {"type": "plain_text_input", "action_id": "reason", "min_length": 3, "max_length": 300},
            },
        ],
    }
