"""The report of a run as Markdown: what was wrong, what was done, how long it took, what was lost, and every line of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from actions.values import Json
from bot.slack.blocks import clock, day
from bot.slack.look import Look
from bot.slack.names import mentioned, named_in
from bot.slack.words import running, span
from bot.state.story import SAVED, Story


def markdown(story: Story, look: Look, items: list[dict[str, Json]], names: Mapping[str, str]) -> str:
    """The report. `names` are those of people by their ids; `items` are what `dr show` lists of a step on many things."""
    return named_in("\n".join(_lines(story, look, items)), names) + "\n"


def people_in(story: Story, look: Look, items: list[dict[str, Json]]) -> set[str]:
    """The ids of the people whom the report mentions."""
    return mentioned("\n".join(_lines(story, look, items)))


def _lines(story: Story, look: Look, items: list[dict[str, Json]]) -> Iterator[str]:
    plan, run = story.offer.plan, story.run
    yield f"# {plan.heading}"
    yield ""
    state, says = (run.state, run.says) if run else (story.offer.status, "")
    yield f"Run `{story.offer.id}` of `{plan.command}`: **{state}**. {says}"
    yield ""
    yield from _facts(story, look)
    yield from ["", "## Why", "", plan.why, ""]
    yield from _findings(story)
    yield from ["## Steps", "", "| step | what | outcome | took |", "|---|---|---|---|", *_steps(story), ""]
    yield from ["## Commands", "", *_commands(story)]
    if items:
        yield from ["## What it was done to", "", "| what | outcome | said |", "|---|---|---|"]
        yield from (f"| {_cell(item['item'])} | {_cell(item['state'])} | {_cell(item['says'])} |" for item in items)
        yield ""
    if saved := [line for line in story.timeline if line.mark == SAVED]:
        yield from ["## Evidence", "", *(f"- {' '.join(line.text.split())}" for line in saved), ""]
    yield from ["## Timeline (UTC)", ""]
    yield from (f"- {clock(line.at)} {' '.join(line.text.split())}" for line in story.timeline if line.mark != SAVED)


def _facts(story: Story, look: Look) -> Iterator[str]:
    offer, run = story.offer, story.run
    outage, loss = story.outage, offer.plan.loss_seconds
    down = "none was seen" if outage is None else f"{running((outage.ended or time.time()) - outage.began)} ({outage.service})"
    facts: dict[str, Any] = {
        "Asked for by": f"<@{offer.requested_by}>, {day(offer.requested_at)} {clock(offer.requested_at)}",
        "Approved by": ", ".join(f"<@{person}>" for person in offer.approved_by) or "nobody",
        "Outage": f"{down}; the target is {look.rto_minutes:g} min (RTO)",
        "Data loss": f"{'not known' if loss is None else span(loss)} by the plan; the target is {look.rpo_minutes:g} min (RPO)",
        "Took": span(run.ended - run.began) if run and run.ended else "not over",
        "Target": offer.plan.target,
        "Digest": f"`{offer.digest}`",
    }
    yield from ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts.items())]


def _findings(story: Story) -> Iterator[str]:
    if story.offer.plan.findings:
        yield from ["## What was looked at", ""]
        for finding in story.offer.plan.findings:
            evidence = f" ({' '.join(finding.evidence.split())})" if finding.evidence else ""
            yield f"- **{finding.level}** {finding.says}{evidence}"
        yield ""


def _steps(story: Story) -> Iterator[str]:
    states = {state.step: state for state in story.steps}
    for step_id, step in story.offer.plan.steps():
        state = states.get(step_id)
        took = span(state.ended - state.began) if state and state.ended else ""
        outcome = f"{state.state}: {state.says}" if state else "not begun"
        yield f"| {step_id} | {_cell(step.title)} | {_cell(outcome)} | {took} |"


def _commands(story: Story) -> Iterator[str]:
    for step_id, step in story.offer.plan.steps():
        yield from [f"{step_id} {step.title}", "", *(f"    {line}" for line in step.command().splitlines()), ""]


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
