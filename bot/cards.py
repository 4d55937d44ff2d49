"""What people see in Slack, as pure functions: the plan, the run in progress, the end of it, and the form for a reason.

A message carries at most 10,000 characters of blocks: long parts are cut with a sentence that says where the rest is.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from actions.base import Json, Level
from bot.mrkdwn import cut, shown
from bot.store import Offer, Run, Story

Block = dict[str, Any]
MOST_CHARACTERS = 10_000
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
MARKS = {
    "begin": ":arrow_forward:",
    "ok": ":white_check_mark:",
    "warn": ":warning:",
    "bad": ":x:",
    "ask": ":raised_hand:",
    "end": ":checkered_flag:",
}
LEVELS = {Level.OK: ":white_check_mark:", Level.WARN: ":warning:", Level.STOP: ":octagonal_sign:"}
STATES = {
    "started": ":hourglass_flowing_sand:",
    "done": ":white_check_mark:",
    "already done": ":white_check_mark:",
    "failed": ":x:",
    "skipped": ":fast_forward:",
    "unknown": ":grey_question:",
    "": ":white_circle:",
}
TITLES = {
    "approved": "Run begins",
    "running": "Running",
    "waiting": "Waiting for a person",
    "done": "Done",
    "failed": "Failed",
    "aborted": "Aborted",
    "stopped": "Stopped",
    "not started": "Not started",
}


def render(story: Story, rto_minutes: int, needed: int) -> tuple[str, list[Block]]:
    """A plan's card as it stands: the short text for notifications, and the blocks."""
    text, blocks = _plan_card(story, needed) if story.run is None else _run_card(story, story.run, rto_minutes)
    return shown(text, 2900), _fit(blocks)


def reply(mark: str, text: str) -> str:
    """A line of the timeline as it stands in the thread."""
    return shown(f"{MARKS.get(mark, '')} {text}".strip(), 3000)


def story_text(story: Story) -> str:
    """A run and its timeline as text, for `/dr show`."""
    state = story.run.state if story.run else story.offer.status
    lines = [f"*{story.offer.id}* `/dr {story.offer.plan.scenario}`: {state}. {story.run.says if story.run else ''}".strip()]
    lines += [f"{_clock(line.at)} {reply(line.mark, line.text)}" for line in story.timeline[-40:]]
    return shown("\n".join(lines), 3500)


def runs_text(stories: list[Story]) -> str:
    """The latest runs, a line each, for `/dr runs`."""
    if not stories:
        return "There was no run yet. `/dr help` lists what can be asked for."
    lines = [
        f"• *{s.run.id}* `/dr {s.offer.plan.scenario}`: {s.run.state}, began {_stamp(s.run.began)}. {shown(s.run.says, 200)}"
        for s in stories
        if s.run
    ]
    return shown("\n".join(lines), 3500)


def reason_form(value: str, channel: str) -> Json:
    """The form that asks why a step is passed over."""
    return {
        "type": "modal",
        "callback_id": "dr_confirm",
        "private_metadata": f"{channel}|{value}",
        "title": _plain("Pass over a step"),
        "submit": _plain("Pass it over"),
        "close": _plain("Go back"),
        "blocks": [
            _section("The run goes on *without* what failed, and its end will say so."),
            {
                "type": "input",
                "block_id": "reason",
                "label": _plain("Why is it right to go on?"),
                "element": {"type": "plain_text_input", "action_id": "reason", "min_length": 3, "max_length": 300},
            },
        ],
    }


# The plan ------------------------------------------------------------------------------------------------------------


def _plan_card(story: Story, needed: int) -> tuple[str, list[Block]]:
    offer, plan = story.offer, story.offer.plan
    text = f"Plan {offer.id}: /dr {plan.scenario}, asked for by <@{offer.requested_by}>. {plan.why}"
    blocks = [_header(f"Plan: {plan.scenario}"), _section(f"*{plan.why}*")]
    if offer.changes:
        blocks.append(
            _section("*Made again, because the last one no longer holds:*\n" + "\n".join(f"• {c}" for c in offer.changes))
        )
    blocks += [_findings(offer), *_steps(story), *_cost(offer)]
    blocks += _plan_footer(offer, needed)
    return text, blocks


def _plan_footer(offer: Offer, needed: int) -> list[Block]:
    if offer.status != "offered":
        by = f" by <@{offer.closed_by}>" if offer.closed_by else ""
        return [_section(f":no_entry: This plan is *{offer.status}*{by}. Nothing was done."), _asked(offer)]
    if offer.plan.forbidden:
        return [_section(f":octagonal_sign: *This plan cannot be approved.* {offer.plan.forbidden[0].says}"), _asked(offer)]
    people = "Another person" if needed == 1 else f"{needed} other persons"
    have = f" Approved so far by {', '.join(f'<@{p}>' for p in offer.approved_by)}." if offer.approved_by else ""
    value = f"{offer.id}:plan:{offer.nonce}"
    question = f"Carry out {len(offer.plan.actions())} change(s) on {offer.plan.target}? {' '.join(offer.plan.cost)}"
    return [
        _section(f":raised_hand: *{people} than <@{offer.requested_by}> must approve* by {_stamp(offer.expires)}.{have}"),
        _actions(
            _button("dr_approve", "Approve", value, style="primary", confirm=_confirm("Approve this plan?", question, "Approve")),
            _button("dr_reject", "Reject", value),
        ),
        _asked(offer),
    ]


def _asked(offer: Offer) -> Block:
    fallback = f" Fallback: `/dr {offer.plan.fallback}`." if offer.plan.fallback else ""
    asked = f"asked for by <@{offer.requested_by}> at {_stamp(offer.requested_at)}.{fallback}"
    return _context(f"Plan `{offer.id}`, digest `{offer.digest[:12]}`, {asked}")


def _findings(offer: Offer) -> Block:
    lines = [
        f"{LEVELS[f.level]} {f.says}" + (f"\n      _{shown(f.evidence, 200)}_" if f.evidence else "") for f in offer.plan.findings
    ]
    return _section("*What I found*\n" + ("\n".join(lines) or "Nothing beyond what the steps say."))


def _cost(offer: Offer) -> list[Block]:
    return [_section("*What it costs*\n" + "\n".join(f"• {c}" for c in offer.plan.cost))] if offer.plan.cost else []


def _steps(story: Story) -> list[Block]:
    states = {s.step: s for s in story.steps}
    lines = ["*What is done, in this order*"]
    for step_id, step in story.offer.plan.steps():
        state = states.get(step_id)
        mark = STATES[state.state if state else ""]
        says = f"\n      {state.says}" if state and state.says else ""
        lines.append(f"{mark} *{step_id} {shown(step.title, 200)}*\n      `{shown(step.command(), 400)}`{shown(says, 500)}")
    return [_section(chunk) for chunk in _chunks(lines, 2900)[:10]]


# The run -------------------------------------------------------------------------------------------------------------


def _run_card(story: Story, run: Run, rto_minutes: int) -> tuple[str, list[Block]]:
    offer = story.offer
    title = TITLES[run.state]
    text = f"{title}: /dr {offer.plan.scenario} ({run.id}). {run.says}".strip()
    approved = ", ".join(f"<@{p}>" for p in offer.approved_by)
    blocks = [
        _header(f"{title}: {offer.plan.scenario}"),
        {
            "type": "section",
            "fields": [
                _field(f"*Target*\n{shown(offer.plan.target, 300)}"),
                _field(f"*Clock*\n{_elapsed(story, run)} of {rto_minutes} min (RTO), since it was asked for"),
                _field(f"*Asked for by*\n<@{offer.requested_by}>"),
                _field(f"*Approved by*\n{approved}"),
            ],
        },
        *([_section(f"*{run.says}*")] if run.says else []),
        *_steps(story),
        *_run_buttons(run),
        _context(
            f"Run `{run.id}`, digest `{offer.digest[:12]}`. The details are in the thread; `/dr show {run.id}` has them all."
        ),
    ]
    return text, blocks


def _run_buttons(run: Run) -> list[Block]:
    if run.over:
        return []
    if run.question:
        value = f"{run.id}:{run.question['name']}:{run.question['nonce']}"
        return [_actions(*(_choice(choice, value) for choice in run.question["choices"]))]
    if run.stop_by:
        return [_context(f"<@{run.stop_by}> told it to stop; no further step begins.")]
    confirm = _confirm("Stop this run?", "The step under way is finished and proven; no further step begins.", "Stop")
    return [_actions(_button("dr_stop", "Stop", f"{run.id}:stop:now", style="danger", confirm=confirm))]


def _choice(choice: str, value: str) -> Block:
    labels = {"retry": "Retry", "skip": "Skip, with a reason", "fallback": "Plan the fallback", "abort": "Abort"}
    return _button(f"dr_{choice}", labels[choice], value, style={"retry": "primary", "abort": "danger"}.get(choice))


def _elapsed(story: Story, run: Run) -> str:
    minutes, seconds = divmod(int((run.ended or time.time()) - story.offer.requested_at), 60)
    return f"{minutes}:{seconds:02d}"


# Block Kit -----------------------------------------------------------------------------------------------------------


def _fit(blocks: list[Block]) -> list[Block]:
    """The blocks within the budget of one message: the longest section is cut until they are."""
    texts = [block["text"] for block in blocks if block["type"] == "section" and "text" in block]
    while len(json.dumps(blocks, ensure_ascii=False)) > MOST_CHARACTERS:
        longest = max(texts, key=lambda text: len(text["text"]))
        longest["text"] = shown(longest["text"], len(longest["text"]) * 3 // 4)
    return blocks


def _header(text: str) -> Block:
    return {"type": "header", "text": _plain(cut(text, 150))}


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text, 2950)}


def _field(text: str) -> Block:
    return _mrkdwn(text, 1950)


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text, 1900)]}


def _actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def _button(action_id: str, label: str, value: str, *, style: str | None = None, confirm: Block | None = None) -> Block:
    button = {"type": "button", "action_id": action_id, "text": _plain(label), "value": value}
    return button | ({"style": style} if style else {}) | ({"confirm": confirm} if confirm else {})


def _confirm(title: str, text: str, label: str) -> Block:
    return {"title": _plain(title), "text": _plain(cut(text, 290)), "confirm": _plain(label), "deny": _plain("Go back")}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": _UNPRINTABLE.sub(" ", text), "emoji": True}


def _mrkdwn(text: str, most: int) -> Block:
    return {"type": "mrkdwn", "text": shown(_UNPRINTABLE.sub(" ", text), most)}


def _chunks(lines: list[str], most: int) -> list[str]:
    chunks = [""]
    for line in lines:
        if len(chunks[-1]) + len(line) > most and chunks[-1]:
            chunks.append("")
        chunks[-1] += line + "\n"
    return chunks


def _stamp(at: float) -> str:
    return f"<!date^{int(at)}^{{time_secs}}|{_clock(at)}>"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
