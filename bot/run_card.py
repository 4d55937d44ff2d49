"""The card of a run: how far it is, the clock, and the buttons for what people may decide."""

from __future__ import annotations

import time

from bot import blocks
from bot.actors import NOBODY, mention
from bot.blocks import Block
from bot.choices import CHOICES, Choice
from bot.layout import IN_THREAD, Draft, Groups, lay_out
from bot.mrkdwn import shown
from bot.plan_card import CLEANUP, lay_out_plan, step_lines
from bot.story import Run, Story

BODY = 6500  # characters for the steps; the rest is for the head of the card and its buttons
POSTING = ":hourglass_flowing_sand: *I'm posting the evidence in the thread.* The Yes button appears when it's there."
STATES = {
    "started": ":hourglass_flowing_sand:",
    "done": ":white_check_mark:",
    "already done": ":white_check_mark:",
    "failed": ":x:",
    "skipped": ":fast_forward:",
    "declined": ":no_entry:",
    "unknown": ":grey_question:",
    "": ":white_circle:",
}
TITLES = {
    "approved": "Run begins",
    "running": "Running",
    "waiting": "Waiting for a person",
    "cleaning up": "Cleaning up",
    "done": "Done",
    "failed": "Failed",
    "aborted": "Aborted",
    "stopped": "Stopped",
    "not started": "Not started",
}


def run_text(story: Story, run: Run) -> str:
    """The run in a line, for notifications."""
    return f"{TITLES[run.state]}: {story.offer.plan.heading} ({run.id}). {run.says}".strip()


def run_blocks(story: Story, run: Run, rto_minutes: int) -> list[Block]:
    """The run's card as it stands."""
    offer = story.offer
    approved = ", ".join(f"<@{person}>" for person in offer.approved_by) or NOBODY
    details = f"The details are in the thread; `/dr show {run.id}` has them all."
    return [
        blocks.header(f"{TITLES[run.state]}: {offer.plan.heading}"),
        {
            "type": "section",
            "fields": [
                blocks.field(f"*Target*\n{shown(offer.plan.target, 300)}"),
                blocks.field(f"*Clock*\n{_elapsed(story, run)} of {rto_minutes} min (RTO), since it was asked for"),
                blocks.field(f"*Asked for by*\n{mention(offer.requested_by)}"),
                blocks.field(f"*Approved by*\n{approved}"),
            ],
        },
        *_steps(story, run),
        *_buttons(run, offer.unread),
        blocks.context(f"Run `{run.id}`, digest `{offer.digest[:12]}`. {details}"),
    ]


def _steps(story: Story, run: Run) -> list[Block]:
    """The last word and the steps. What a step said is whole in the thread; its command is, or stood whole in the plan."""
    plan, states = story.offer.plan, {state.step: state for state in story.steps}
    away = lay_out_plan(plan, story.offer.changes).away

    def end(name: str) -> str:
        return IN_THREAD if name in away else f"… (whole in `dr show {run.id}`)"

    def build(draft: Draft) -> Groups:
        lines: list[str] = []
        for step_id, title, command in step_lines(plan, draft, end):
            if plan.is_cleanup(step_id) and CLEANUP not in lines:
                lines.append(CLEANUP)
            state = states.get(step_id)
            lines += [f"{STATES[state.state if state else '']} {title}", command]
            if state and state.says:
                lines.append(f"      {draft.say(f'End of step {step_id}', state.says)}")
            elif state and state.progress and state.state == "started":
                lines.append(f"      {draft.say(f'Progress of step {step_id}', state.progress)}")
        last_word = [f"*{draft.say('The last word', run.says)}*"] if run.says else []
        return [group for group in (last_word, lines) if group]

    return lay_out(build, BODY, away=away).blocks


def _buttons(run: Run, unread: bool) -> list[Block]:
    if run.over:
        return []
    if run.question:
        choices = [CHOICES[name] for name in run.question.choices if not (unread and CHOICES[name].after_reading)]
        buttons = [_button(choice, run.question.value) for choice in choices]
        return [*([blocks.section(POSTING)] if unread else []), *([blocks.actions(*buttons)] if buttons else [])]
    if run.main_end:
        return [blocks.context(f"The run has ended ({run.main_end['state']}). It cleans up, whatever happened.")]
    if run.stop_by:
        return [blocks.context(f"<@{run.stop_by}> told it to stop; no further step begins.")]
    return [blocks.actions(_button(CHOICES["stop"], f"{run.id}:stop:now"))]


def _button(choice: Choice, value: str) -> Block:
    asks = choice.confirm
    confirm = blocks.confirm(asks.title, asks.text, asks.submit) if asks else None
    return blocks.button(choice.action_id, choice.label or choice.title, value, style=choice.style, confirm=confirm)


def _elapsed(story: Story, run: Run) -> str:
    minutes, seconds = divmod(int((run.ended or time.time()) - story.offer.requested_at), 60)
    return f"{minutes}:{seconds:02d}"
