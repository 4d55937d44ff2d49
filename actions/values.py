"""Plain frozen values: findings on facts, the proof of an effect, and the outcome of a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Any  # what json.dumps takes: None, bool, int, float, str, list, dict with str keys
Facts = dict[str, Json]  # what an action observed; JSON, because it is recorded before the effect
FOUND: Facts = {"found": True}  # the receipt of an action whose goal was reached before: there was nothing to change


class Level(StrEnum):
    """How a finding weighs: `ok` is good news, `warn` is for the approver's eyes, `stop` ends the step or the plan."""

    OK = "ok"
    WARN = "warn"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A judgement on facts: one sentence in `says`, and the `evidence` it rests on (may be volatile)."""

    level: Level
    says: str
    evidence: str = ""


def ok(says: str, evidence: str = "") -> Finding:
    """A finding that is good news."""
    return Finding(level=Level.OK, says=says, evidence=evidence)


def warn(says: str, evidence: str = "") -> Finding:
    """A finding that the approver must see."""
    return Finding(level=Level.WARN, says=says, evidence=evidence)


def stop(says: str, evidence: str = "") -> Finding:
    """A finding that forbids going on."""
    return Finding(level=Level.STOP, says=says, evidence=evidence)


def count(number: int, noun: str, several: str = "") -> str:
    """How many there are, as a person says it: "1 session", "24 sessions". `several` is the plural if it takes more than an s."""
    return f"{number} {noun if number == 1 else several or noun + 's'}"


class Verdict(StrEnum):
    """What reading back showed about an effect."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The answer to "did the effect happen?": a verdict, the sentence behind it, and what `verify` needs to follow it."""

    verdict: Verdict
    says: str
    receipt: Facts = field(default_factory=dict)


class Result(StrEnum):
    """How a step ended."""

    DONE = "done"
    ALREADY_DONE = "already done"
    FAILED = "failed"
    SKIPPED = "skipped"
    DECLINED = "declined"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended, in one sentence. `ok` says whether the run may go on."""

    result: Result
    says: str

    @property
    def ok(self) -> bool:
        """True if the step is proven done, or a person decided to skip it."""
        return self.result in (Result.DONE, Result.ALREADY_DONE, Result.SKIPPED)


def done(says: str) -> Outcome:
    """The step is proven done."""
    return Outcome(result=Result.DONE, says=says)


def already_done(says: str) -> Outcome:
    """There was nothing left to do."""
    return Outcome(result=Result.ALREADY_DONE, says=says)


def failed(says: str) -> Outcome:
    """The step did not reach its goal."""
    return Outcome(result=Result.FAILED, says=says)


def unknown(says: str) -> Outcome:
    """It's unknown whether the step happened: a person decides."""
    return Outcome(result=Result.UNKNOWN, says=says)
