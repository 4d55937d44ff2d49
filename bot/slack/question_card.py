"""The message that asks a question of a run: it notifies those who are concerned, says how bad it is, and recommends a choice.

When it's answered, it is edited to say by whom: an edit notifies nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from actions.values import Result
from bot.actors import mention
from bot.choices import CHOICES, Question
from bot.slack import blocks
from bot.slack.blocks import Block, clock
from bot.slack.look import Look
from bot.slack.mrkdwn import foreign, inert, shown
from bot.slack.run_card import question_buttons
from bot.slack.words import concerned, running
from bot.state.story import Outage, Run, StepState, Story

MOST_SAID = 700  # characters of what each step said; the thread has all of it
MOST_STEPS = 3  # of which the message says what they said


def question_message(story: Story, run: Run, name: str, decision: Any, look: Look) -> tuple[str, list[Block]]:
    """The text and the blocks of a question as it stands; `decision` is the row of its answer, or None."""
    asked = run.question
    if asked is None or asked.name != name:
        closed = shown(_closed_text(run, decision), 2900)
        return closed, [blocks.section(closed)]
    lines = [_headline(story, asked), *_what_steps_said(story, asked)]
    lines += [shown(_question_text(story, run, asked), 1500), *_recommendation(asked)]
    text = f"{lines[0]} {run.says}"
    made = [*blocks.sections(lines), *question_buttons(run, story.offer.unread)]
    return shown(text, 2900), [*made, blocks.context(f"Run `{run.id}`: {foreign(story.offer.plan.heading, 300)}")]


def _headline(story: Story, asked: Question) -> str:
    people = concerned(story.offer.requested_by, story.offer.approved_by)
    holds = "hold_no" in asked.choices
    mark, what = ("✋", "I need your answer") if holds else ("❌", "I need your decision")
    return f"{mark} {people + ': ' if people else ''}*{what}*{_service(story.outage)}"


def _service(outage: Outage | None) -> str:
    """Whether the service is still down, as the end of a sentence."""
    if outage is None:
        return "."
    if outage.ended is None:
        down = running(time.time() - outage.began)
        return f", and *{foreign(outage.service, 80)} is STILL DOWN* ({down} since the first failed check)."
    return f". {foreign(outage.service, 80)} has answered again since {clock(outage.ended)}."


def _what_steps_said(story: Story, asked: Question) -> Iterator[str]:
    for state in _failed_steps(story, asked)[:MOST_STEPS]:
        how = "is in doubt" if state.state == Result.UNKNOWN else state.state
        yield f"Step {state.step} {how}: {shown(state.says, MOST_SAID)}"


def _failed_steps(story: Story, asked: Question) -> list[StepState]:
    return [state for state in story.steps if state.step in asked.steps and state.says]


def _question_text(story: Story, run: Run, asked: Question) -> str:
    """What the run asks, without saying once more what the lines about each step say already."""
    everything_said = len(_failed_steps(story, asked)) == len(asked.steps) <= MOST_STEPS
    if everything_said and run.says.endswith(asks := asked.asks(story.offer.plan.fallback)):
        return asks
    return run.says


def _recommendation(asked: Question) -> Iterator[str]:
    if asked.recommended:
        choice = CHOICES[asked.recommended]
        yield f"*I recommend {choice.title}.*"


def _closed_text(run: Run, decision: Any) -> str:
    if decision is None:
        return f"⚪ This question of run `{run.id}` is closed. The run is {run.state}."
    by = mention(decision["person"]) if decision["person"] else "Nobody"
    because = f", because: {inert(decision['reason'])}" if decision["reason"] else ""
    return f"⚪ {by} decided at {clock(decision['at'])}: *{CHOICES[decision['choice']].title.lower()}*{because}. Run `{run.id}`."
