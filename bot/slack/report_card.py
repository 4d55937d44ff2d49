"""A report as people see it: one message of lines, and what is too long for it whole in messages of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bot.slack import blocks
from bot.slack.blocks import Block, clock
from bot.slack.layout import Draft, Groups, lay_out
from commands.report import ORDER, Line, Mark, Report

BUDGET = 3600  # characters: Slack recommends at most 4,000 for the text of a message
IN_NEXT = "… (whole in the next message)"
MARKS = {
    Mark.MET: ":white_check_mark:",
    Mark.MISSED: ":x:",
    Mark.UNKNOWN: ":grey_question:",
    Mark.OK: ":white_check_mark:",
    Mark.WARN: ":warning:",
    Mark.STOP: ":octagonal_sign:",
}


def report_texts(report: Report) -> tuple[str, ...]:
    """The report as the texts of one or several messages; nothing is cut in the first without being whole in another."""

    def build(draft: Draft) -> Groups:
        lines = [text for number, line in enumerate(report.findings, 1) for text in _lines(number, line, draft)]
        return [[_head(report), *lines]]

    laid = lay_out(build, BUDGET)
    message = "".join(block["text"]["text"] for block in laid.blocks).strip()
    return (message, *laid.replies)


def with_buttons(report: Report) -> tuple[str, ...]:
    """The same; the first message has buttons for the plans that the report speaks for, as `blocks_of` reads them."""
    first, *rest = report_texts(report)
    if buttons := [*_buttons(report)]:
        made = [*blocks.sections(first.split("\n")), blocks.actions(*buttons)]
        first = json.dumps({"text": first, "blocks": made})
    return (first, *rest)


def blocks_of(text: str) -> tuple[str, list[Block]]:
    """A stored message as its text and blocks; one that has no buttons has no blocks."""
    if not text.startswith('{"text": '):
        return text, []
    stored = json.loads(text)
    return str(stored["text"]), list(stored["blocks"])


def _buttons(report: Report) -> Iterator[Block]:
    """A button for each command that a triage names, the likeliest first."""
    for found in report.findings:
        words = found.object.removeprefix("/dr ")
        if report.name == "triage" and found.level in (Mark.STOP, Mark.WARN) and found.object.startswith("/dr "):
            is_first = found.level is Mark.STOP
            yield blocks.button(
                f"dr_plan{'' if is_first else '_' + words.replace(' ', '_')[:60]}",
                f"Plan {words}",
                plan_value(words),
                style="primary" if is_first else None,
            )


def plan_value(words: str) -> str:
    """What a button carries that asks for a plan: the words after `/dr`."""
    return f"plan:{words}"


def report_text(report: Report) -> str:
    """The report as the terminal prints it, a line each."""
    lines = [f"/dr {report.name} at {report.at:%Y-%m-%d %H:%M:%S} UTC: {_counts(report)}."]
    for line in report.findings:
        source = f" [{line.evidence}]" if line.evidence else ""
        lines.append(f"{line.level:8} {line.check} ({line.object}): {line.says}{source}")
    return "\n".join(lines)


def _head(report: Report) -> str:
    return f"*`/dr {report.name}`* at {clock(report.at.timestamp())}: {_counts(report)}. Nothing was changed."


def _lines(number: int, line: Line, draft: Draft) -> Iterator[str]:
    name = f"Line {number}, {line.check}"
    about = draft.say(f"{name}, object", line.object, is_code=True, end=IN_NEXT)
    yield f"{MARKS[line.level]} *{line.check}* ({about}): {draft.say(name, line.says, end=IN_NEXT)}"
    if line.evidence:  # as code: what servers say has underscores and asterisks that are no markup
        evidence = " ".join(line.evidence.split())
        yield f"      {draft.say(f'{name}, source', evidence, is_code=True, end=IN_NEXT)}"


def _counts(report: Report) -> str:
    levels = [line.level for line in report.findings]
    return ", ".join(f"{levels.count(mark)} {mark}" for mark in ORDER if mark in levels) or "nothing to say"
