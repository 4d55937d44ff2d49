"""The report of a drill: what `rehearse drill` prints, as JSON or as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rehearsal.aws.journal import Effect
from rehearsal.drills.catalogue import Drill
from rehearsal.world import Options

TARGETS = {"rto_seconds": 30 * 60, "rpo_seconds": 5 * 60}


@dataclass(kw_only=True)
class Report:
    """What happened in a drill. `outcome` is recovered, failed or withheld, and `why` says it in a sentence."""

    drill: Drill
    options: Options
    outcome: str = "withheld"
    why: str = ""
    requested_by: str = ""
    approved_by: str = ""
    stated_loss: float | None = None  # seconds of commits, by the button that was pressed
    witness: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    timeline: list[dict[str, str]] = field(default_factory=list)
    cleanup: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report under the names that others rely on. Seconds are this machine's, as the witness measured them."""
        steps = [{key: step[key] for key in ("title", "command", "outcome", "seconds")} for step in self.run.get("steps", [])]
        return {
            "drill": self.drill.name,
            "scenario": self.run.get("scenario", ""),
            "outcome": self.outcome,
            "why": self.why,
            "rto_seconds": round(self.witness.get("outage_seconds", 0.0), 3),
            "rpo_seconds": self.witness.get("rpo_seconds"),
            "stated_loss_seconds": self.stated_loss,
            "rows_lost": self.witness.get("rows_lost"),
            "targets": TARGETS,
            "speed": self.options.speed,
            "seed": self.options.seed,
            "requested_by": self.requested_by,
            "approved_by": self.approved_by,
            "digest": self.run.get("digest", ""),
            "steps": steps,
            "effects": self.effects,
            "timeline": self.timeline,
            "findings": self.run.get("findings", []),
            "cleanup": self.cleanup,
        }

    def to_text(self) -> str:
        """The report for people: the outcome first, then each step, then the figures."""
        facts = self.to_json()
        lines = [f"{facts['drill']}: {facts['outcome']}. {self.why}"]
        lines += [f"  {step['outcome']:12} {step['title']}  ({step['command']})" for step in facts["steps"]]
        lines += [f"  {one['state']:12} {one['what']}  (clean-up)" for one in facts["cleanup"]]
        lines.append(
            f"  The witness measured {facts['rto_seconds']} s of outage and {_rows(facts['rows_lost'])}. "
            f"AWS's waits ran {facts['speed']:g} times faster than AWS."
        )
        return "\n".join(lines)


def _rows(lost: int | None) -> str:
    if lost is None:
        return "did not count the lost rows"
    return "1 lost row" if lost == 1 else f"{lost or 'no'} lost rows"
