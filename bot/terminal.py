"""What `dr` prints of plans and runs, as lines and as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from actions.values import Finding
from bot.actors import named
from bot.state.story import Story
from commands.plan import Plan


def finding_line(finding: Finding) -> str:
    """A finding in a line."""
    return f"{finding.level:5} {finding.says}" + (f" ({finding.evidence})" if finding.evidence else "")


def plan_text(plan: Plan) -> str:
    """A plan as the terminal prints it."""
    lines = [f"Plan: {plan.heading}", f"Target: {plan.target}", plan.why, "", "Findings:"]
    lines += [f"  {finding_line(f)}" for f in plan.findings]
    lines += [""] + ([f"This interrupts {plan.interrupts}.", ""] if plan.interrupts else [])
    lines += ["Steps:", *step_lines(plan)]
    lines += ["", "Cost:", *(f"  {c}" for c in plan.cost)] if plan.cost else []
    lines += [
        "",
        f"Fallback: {'/dr ' + plan.fallback if plan.fallback else 'none'}",
        *([f"Approval: {plan.approve}"] if plan.approve else []),
        *([f"Approval: an approver must type {plan.confirm}"] if plan.confirm else []),
        f"Digest: {plan.digest}",
        f"Expires: {plan.expires:%Y-%m-%d %H:%M:%S} UTC",
    ]
    return "\n".join(lines)


def step_lines(plan: Plan) -> list[str]:
    """The steps with their commands."""
    lines = []
    for step_id, step in plan.steps():
        note = " (at the end, whatever happens)" if plan.is_cleanup(step_id) else ""
        lines += [f"  {step_id} {step.title}{note}", f"      {step.command()}"]
    return lines


def run_line(story: Story) -> str:
    """A run in a line."""
    plan, state = story.offer.plan, story.run.state if story.run else story.offer.status
    asked = f"asked for by {named(story.offer.requested_by)}"
    return f"{story.offer.id}  {iso(story.offer.requested_at)}  {plan.heading}  ({plan.command})  {asked}  {state}"


def story_json(story: Story, *, brief: bool = False) -> dict[str, Any]:
    """A run as `dr runs --json` (brief) and `dr show --json` print it."""
    offer, run = story.offer, story.run
    base = {
        "run": offer.id,
        "scenario": offer.plan.scenario,
        "title": offer.plan.title,
        "asked": offer.plan.asked,
        "instead_of": offer.plan.instead_of,
        "arguments": dict(offer.plan.arguments),
        "target": offer.plan.target,
        "state": run.state if run else offer.status,
        "says": run.says if run else "",
        "digest": offer.digest,
        "requested_by": named(offer.requested_by),
        "approved_by": list(offer.approved_by),
        "began": iso(run.began) if run else None,
        "ended": iso(run.ended) if run and run.ended else None,
    }
    return base if brief else base | _details(story)


def _details(story: Story) -> dict[str, Any]:
    states = {s.step: s for s in story.steps}
    steps = []
    for step_id, step in story.offer.plan.steps():
        state = states.get(step_id)
        seconds = round(state.ended - state.began, 3) if state and state.ended else None
        known: dict[str, Any] = {"id": step_id, "title": step.title, "command": step.command(), "seconds": seconds}
        steps.append(known | {"outcome": state.state if state else "not begun", "says": state.says if state else ""})
    findings = [{"level": f.level, "says": f.says, "evidence": f.evidence} for f in story.offer.plan.findings]
    timeline = [{"at": iso(line.at), "mark": line.mark, "text": line.text} for line in story.timeline]
    return {"steps": steps, "findings": findings, "timeline": timeline, "basis": dict(story.offer.plan.basis)}


def iso(at: float) -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
