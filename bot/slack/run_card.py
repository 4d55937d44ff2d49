"""The card of a run: the state, the clocks against what was promised, who is concerned, the steps, and the buttons."""

from __future__ import annotations

import time
from collections.abc import Iterator

from actions.step import Step
from actions.values import count
from bot.actors import NOBODY, mention
from bot.choices import CHOICES, Choice
from bot.slack import blocks, rich
from bot.slack.blocks import Block, clock, stamp
from bot.slack.layout import IN_THREAD, Draft, lay_out_blocks
from bot.slack.look import Look
from bot.slack.mrkdwn import foreign, inert
from bot.slack.plan_card import CLEANUP, lay_out_plan
from bot.slack.words import listed, running, span, who_could
from bot.state.story import Run, StepState, Story

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
SYMBOLS = {
    "waiting": "✋",
    "done": "✅",
    "failed": "❌",
    "aborted": "⛔",
    "stopped": "⏹️",
    "not started": "⚪",
    "cleaning up": "🧹",
}
GOOD = ("done", "already done")
MOST_SHOWN = 9  # steps on the card: of a longer run those that are done, and those far ahead, are a line each
SHOWN_AROUND = 2  # of a long run: so many steps before and after the one under way


def run_text(story: Story, run: Run) -> str:
    """The run in a line, for notifications."""
    return f"{TITLES[run.state]}: {inert(story.offer.plan.heading)} ({run.id}). {run.says}".strip()


def run_blocks(story: Story, run: Run, look: Look) -> list[Block]:
    """The run's card as it stands."""
    offer = story.offer
    details = f"The details are in the thread; `/dr show {run.id}` has them all."
    return [
        blocks.header(f"{SYMBOLS.get(run.state, '⏳')} {TITLES[run.state]}: {offer.plan.heading}"),
        *_now(story, run, look),
        {"type": "section", "fields": [blocks.field(text) for text in _fields(story, run, look)]},
        *_steps(story, run, look),
        *_buttons(run, offer.unread),
        blocks.context(f"Run `{run.id}`, digest `{offer.digest[:12]}`. {details}"),
    ]


# The head -----------------------------------------------------------------------------------------------------------------


def _now(story: Story, run: Run, look: Look) -> Iterator[Block]:
    """How far it is: the step under way, for how long, and how long it usually takes."""
    steps = dict(story.offer.plan.steps())
    under_way = [state for state in story.steps if state.state == "started"]
    if run.over or run.question or not under_way:
        return
    state, numbers = under_way[0], list(steps)
    usual = look.usual.steps.get(steps[state.step].kind)
    takes = f", usually {span(usual)}" if usual is not None else ""
    others = f" (and {count(len(under_way) - 1, 'other step')} beside it)" if len(under_way) > 1 else ""
    number = f"{numbers.index(state.step) + 1} of {len(numbers)}"
    title = foreign(steps[state.step].title, 300)
    yield blocks.section(f"*{number}: {title}*{others}, for {span(time.time() - state.began)} so far{takes}.")


def _fields(story: Story, run: Run, look: Look) -> Iterator[str]:
    offer = story.offer
    approved = listed((mention(person) for person in offer.approved_by), "and") if offer.approved_by else NOBODY
    yield outage_line(story, run, look)
    yield loss_line(story, look)
    yield f"*Asked for by*\n{mention(offer.requested_by)}, {stamp(offer.requested_at)}"
    yield f"*Approved by*\n{approved}"
    yield f"*Target*\n{foreign(offer.plan.target, 300)}"
    if run.question:
        yield f"*Waits for*\n{_waits_for(story, look)}"
    elif plan_b := _plan_b(story, run, look):
        yield plan_b


def outage_line(story: Story, run: Run, look: Look) -> str:
    """The outage clock against the RTO, or how long ago it was asked for, if no outage was seen."""
    outage, now = story.outage, run.ended or time.time()
    promised = f"{look.rto_minutes:g} min (RTO)"
    if outage is None:
        return f"*Clock*\n{running(now - story.offer.requested_at)} of {promised}, since it was asked for. I've seen no outage."
    seconds = (outage.ended or now) - outage.began
    late = " :rotating_light: *over the target*" if seconds > look.rto_minutes * 60 else ""
    since = f"since the first failed health check at {clock(outage.began)}"
    if outage.ended is None:
        return (
            f"*Outage of {foreign(outage.service, 80)}*\n:red_circle: STILL DOWN, {running(seconds)} of {promised}, {since}{late}"
        )
    until = f"{clock(outage.began)} to {clock(outage.ended)}"
    return f"*Outage of {foreign(outage.service, 80)}*\n:large_green_circle: {running(seconds)} of {promised}, {until}{late}"


def loss_line(story: Story, look: Look) -> str:
    """What of acknowledged data the plan loses, against the RPO."""
    loss, promised = story.offer.plan.loss_seconds, f"{look.rpo_minutes:g} min (RPO)"
    if loss is None:
        return f"*Data loss*\nThe plan can't say; the target is {promised}."
    if loss <= 0:
        return f"*Data loss*\nNone expected; the target is {promised}."
    over = " :rotating_light: *over the target*" if loss > look.rpo_minutes * 60 else ""
    return f"*Data loss*\nUp to {span(loss)} of {promised}{over}"


def _waits_for(story: Story, look: Look) -> str:
    people = list(story.offer.approved_by) + [one for one in look.approvers if one not in story.offer.approved_by]
    return f"{who_could(people)}: the question is the newest message." if people else "An approver: see the newest message."


def _plan_b(story: Story, run: Run, look: Look) -> str:
    """Until when the fallback would still meet the RTO, if an outage is under way and it's known how long the fallback takes."""
    outage, takes = story.outage, look.usual.fallback
    if run.over or outage is None or outage.ended or takes is None or not story.offer.plan.fallback:
        return ""
    until = outage.began + look.rto_minutes * 60 - takes
    if until <= time.time():
        return f"*Plan B*\n`/dr {story.offer.plan.fallback}` usually takes {span(takes)}: too long for the RTO now."
    return f"*Plan B*\nSafe to switch to `/dr {story.offer.plan.fallback}` until {stamp(until)}"


# The steps ----------------------------------------------------------------------------------------------------------------


def _steps(story: Story, run: Run, look: Look) -> list[Block]:
    """The last word and the steps. What a step said is whole in the thread; its command is, or stood whole in the plan."""
    plan = story.offer.plan
    away = lay_out_plan(plan, story.offer.changes).away

    def build(draft: Draft) -> list[Block]:
        says = draft.say("The last word", run.says, end=_whole(run, "The last word", away), ours=True)
        last_word = blocks.sections([f"*{says}*"]) if run.says else []
        return [*last_word, *(_lines if look.simple else _cards)(story, run, draft, away)]

    return lay_out_blocks(build, BODY, away=away)


def _cards(story: Story, run: Run, draft: Draft, away: frozenset[str]) -> Iterator[Block]:
    """The steps as task cards, those of the clean-up in a list of their own."""
    steps, before, after = _window(story)
    yield from blocks.sections([before]) if before else []
    for is_cleanup, title in ((False, "Steps"), (True, CLEANUP.strip("*"))):
        tasks = [
            rich.task(f"{run.id}-{step_id}", f"{step_id} {title_}", state, command, says)
            for step_id, title_, state, command, says in _visible_steps(story, run, draft, away, steps, is_code=False)
            if story.offer.plan.is_cleanup(step_id) is is_cleanup
        ]
        if tasks:
            yield rich.plan(title, tasks, f"plan:{run.id}:{title[:5]}")
    yield from blocks.sections([after]) if after else []


def _lines(story: Story, run: Run, draft: Draft, away: frozenset[str]) -> Iterator[Block]:
    """The steps as plain sections, for a workspace that takes no task cards."""
    plan = story.offer.plan
    steps, before, after = _window(story)
    lines = [before] if before else []
    for step_id, title, state, command, says in _visible_steps(story, run, draft, away, steps, is_code=True):
        if plan.is_cleanup(step_id) and CLEANUP not in lines:
            lines.append(CLEANUP)
        lines += [f"{STATES[state]} *{step_id} {title}*", *([f"      {command}"] if command else [])]
        lines += [f"      {says}"] if says else []
    lines += [after] if after else []
    yield from blocks.sections(lines) if lines else []


def _window(story: Story) -> tuple[list[tuple[str, Step]], str, str]:
    """The steps to show, and a line each for those before and after them: all, or of a long run what needs a person's eyes."""
    steps = list(story.offer.plan.steps())
    if len(steps) <= MOST_SHOWN:
        return steps, "", ""
    states = {state.step: state.state for state in story.steps}
    good = [step for step, _ in steps if states.get(step) in GOOD]
    middle = next((n for n, (step, _) in enumerate(steps) if states.get(step, "") in ("", "started")), len(steps))
    around = steps[max(0, middle - SHOWN_AROUND) : middle + 1 + SHOWN_AROUND]
    bad = [pair for pair in steps if states.get(pair[0], "") not in ("", "started", *GOOD)][: MOST_SHOWN - len(around)]
    chosen = [pair for pair in steps if pair in around or pair in bad]
    shown = dict(chosen)
    folded = [n for n, (step, _) in enumerate(steps) if step in good and step not in shown]
    ahead = sum(not states.get(step) and step not in shown for step, _ in steps)
    after = f"{STATES['']} {count(ahead, 'more step follows', 'more steps follow')}." if ahead else ""
    if others := len(steps) - len(shown) - len(folded) - ahead:
        are = count(others, "other step is", "other steps are")
        after = f":warning: {are} under way or didn't end well: `/dr show {story.offer.id}` has all. {after}".strip()
    return chosen, _done([steps[n][0] for n in folded], folded, len(steps)), after


def _done(names: list[str], places: list[int], total: int) -> str:
    """The line for the steps that are done and not shown: a range, if there is no other step in it."""
    if not names:
        return ""
    is_range = len(names) > 1 and places[-1] - places[0] == len(places) - 1
    which = f"Steps {names[0]} to {names[-1]}" if is_range else count(len(names), "other step", "other steps")
    return f"{STATES['done']} *{which} of {total} {'is' if len(names) == 1 else 'are'} done.*"


def _visible_steps(
    story: Story, run: Run, draft: Draft, away: frozenset[str], steps: list[tuple[str, Step]], *, is_code: bool
) -> Iterator[tuple[str, str, str, str, str]]:
    """What is shown of each step: id, title, state, command and what it said."""
    states = {state.step: state for state in story.steps}
    for step_id, step in steps:
        state = states.get(step_id)
        name = f"Command of step {step_id}"
        title = draft.say(f"Step {step_id}", step.title, end=_whole(run, f"Step {step_id}", away))
        command = draft.say(name, step.command(), is_code=is_code, end=_whole(run, name, away))
        says = _last_words(state, draft, run, step_id)
        yield step_id, title, state.state if state else "", command, says


def _last_words(state: StepState | None, draft: Draft, run: Run, step_id: str) -> str:
    if state and state.says:
        return draft.say(f"End of step {step_id}", state.says, end=_whole(run, "", frozenset()), ours=True)
    if state and state.progress and state.state == "started":
        return draft.say(f"Progress of step {step_id}", state.progress, end=_whole(run, "", frozenset()))
    return ""


def _whole(run: Run, name: str, away: frozenset[str]) -> str:
    return IN_THREAD if name in away else f"… (whole in /dr show {run.id})"


# The buttons --------------------------------------------------------------------------------------------------------------


def _buttons(run: Run, unread: bool) -> list[Block]:
    if run.over:
        return []
    if run.question:
        return question_buttons(run, unread)
    if run.main_end:
        return [blocks.context(f"The run has ended ({run.main_end['state']}). It cleans up, whatever happened.")]
    if run.stop_by:
        return [blocks.context(f"{mention(run.stop_by)} told it to stop; no further step begins.")]
    return [blocks.actions(_button(CHOICES["stop"], f"{run.id}:stop:now", style="danger"))]


def question_buttons(run: Run, unread: bool) -> list[Block]:
    """The buttons of a run's open question, the recommended one first; one that wants the evidence read comes once it's there."""
    question = run.question
    assert question is not None, run.id
    names = sorted(question.choices, key=lambda name: name != question.recommended)
    choices = [CHOICES[name] for name in names if not (unread and CHOICES[name].after_reading)]
    buttons = [_button(choice, question.value, recommended=question.recommended) for choice in choices]
    return [*([blocks.section(POSTING)] if unread else []), *([blocks.actions(*buttons)] if buttons else [])]


def _button(choice: Choice, value: str, *, recommended: str = "", style: str | None = None) -> Block:
    asks, label = choice.confirm, choice.label or choice.title
    confirm = blocks.confirm(asks.title, asks.text, asks.submit) if asks else None
    is_best = choice.name == recommended
    style = style or ("primary" if is_best else None)
    return blocks.button(choice.action_id, f"{label} (recommended)" if is_best else label, value, style=style, confirm=confirm)
