"""The app's home: what runs, what would fail tonight, the last runs and verifications, and buttons for what to do now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from actions.values import Json, count
from bot.actors import mention
from bot.cron import next_due
from bot.slack import blocks
from bot.slack.blocks import Block, stamp
from bot.slack.mrkdwn import foreign
from bot.slack.report_card import MARKS, plan_value
from bot.slack.words import span
from bot.state.notes import Told
from bot.state.story import Story
from commands.memory import VERIFICATION
from commands.report import Mark

PICK, TRIAGE, TARGETS = "dr_pick", "dr_plan_triage", "dr_plan_targets"  # ids of the home's buttons
MOST_RUNS, MOST_FINDINGS = 5, 8
ORDER = ("stop", "missed", "warn", "unknown")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the home shows. `check` and `targets` are None before the first one was made; `cron` is when backups are verified."""

    stories: Sequence[Story]
    check: Told | None = None
    targets: Told | None = None
    cron: str = ""


def home_view(seen: Seen, now: datetime | None = None) -> Json:
    """The home as Slack takes it; the same for everybody."""
    return {"type": "home", "callback_id": "dr_home", "blocks": blocks.fit([*_home(seen, now or datetime.now(UTC))])}


def _home(seen: Seen, now: datetime) -> Iterator[Block]:
    yield blocks.header("Disaster recovery")
    yield blocks.actions(
        blocks.button(TRIAGE, "What is broken? (triage)", plan_value("triage"), style="primary"),
        blocks.button(PICK, "Plan a recovery…", plan_value("pick")),
        blocks.button(TARGETS, "Check the targets", plan_value("targets")),
    )
    running = [story for story in seen.stories if story.run and not story.run.over]
    over = [story for story in seen.stories if story.run and story.run.over]
    yield from _part("Running now", [_run(story) for story in running] or ["Nothing runs."])
    yield from _part("What would fail tonight", [*_wrong(seen.check, "`dr check` has not run yet.", "Nothing: all checks pass.")])
    yield from _part("Recovery targets", [*_wrong(seen.targets, "They have not been read yet.", "All are met.")])
    verified = [story for story in over if story.offer.plan.scenario == VERIFICATION][:MOST_RUNS]
    yield from _part("Verifications of backups", [*map(_run, verified), _next(seen.cron, now)])
    others = [story for story in over if story.offer.plan.scenario != VERIFICATION][:MOST_RUNS]
    yield from _part("Last runs", [_run(story) for story in others] or ["None yet. Try a drill: `rehearse drills` lists them."])
    yield blocks.context(f"As of {stamp(now.timestamp())}. `/dr help` lists all commands.")


def _part(title: str, lines: Sequence[str]) -> Iterator[Block]:
    yield {"type": "divider"}
    yield from blocks.sections([f"*{title}*", *lines])


def _run(story: Story) -> str:
    run, plan = story.run, story.offer.plan
    assert run is not None, story.offer.id
    took = f", {span(run.ended - run.began)}" if run.ended else ""
    who = f"asked for by {mention(story.offer.requested_by)} at {stamp(run.began)}"
    return f"• `{run.id}` {foreign(plan.heading, 200)}: *{run.state}*{took}, {who}"


def _wrong(told: Told | None, never: str, fine: str) -> Iterator[str]:
    """The lines that are not good news, the worst first; how many are, and from when that is."""
    if told is None:
        yield never
        return
    bad = sorted((line for line in told.lines if line[0] in ORDER), key=lambda line: ORDER.index(line[0]))
    for level, says in bad[:MOST_FINDINGS]:
        yield f"{MARKS[Mark(level)]} {foreign(says, 400)}"
    if len(bad) > MOST_FINDINGS:
        yield f"… and {count(len(bad) - MOST_FINDINGS, 'more')}."
    good = len(told.lines) - len(bad)
    yield f"{fine if not bad else f'{good} others are as they should be.'} Read at {stamp(told.at)}."


def _next(cron: str, now: datetime) -> str:
    if not cron:
        return "No schedule: `[backups] verify` of dr.toml has none."
    return f"The next one is due at {stamp(next_due(cron, now).timestamp())}."
