"""The plan: frozen data that people approve. Its digest binds everything that is done and relied on, and nothing volatile."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from actions.step import Action, Hold, Step, step_from
from actions.values import Finding, Json, Level

Stage = tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done, why, and on which facts it relies.

    `stages` run one after the other, the steps of one stage together. `basis` holds the facts the plan stands on: when one
    of them changes the plan is another one. `identity` says which thing is meant, by what AWS and PostgreSQL call it and
    never reuse: what was known of it must be known again, and the same, before anything is done. `findings` and `cost` are
    for people and may be volatile. `fallback` is the command that is offered when a stage fails, with its arguments; it is
    planned and approved on its own. `target` is what is locked, and so is everything in `locks`.
    `cleanup` holds the stages that follow at every end of a run that began: done, failed, aborted or stopped.

    `withholds` is for plans that prove something: if a step fails, the run ends there without a question, and this says what
    isn't proven.

    `title` says in a few words what the plan does, `asked` which scenario a person asked for, and `substitute` that it does
    something else than the scenario's name says. `interrupts` names what works now and is interrupted: "a working database".
    `loss_seconds` is what of acknowledged data the plan gives up, as a length of time; None if that isn't known.
    `confirm` is what an approver must type before their approval counts: the name of what can't be brought back by itself.
    `approve` is what the button says if it must tell the price: "Promote and lose up to 3 s (about 120 rows)".
    """

    scenario: str
    arguments: Mapping[str, str]
    why: str
    target: str
    stages: tuple[Stage, ...]
    basis: Mapping[str, Json]
    identity: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    cost: tuple[str, ...] = ()
    fallback: str = ""
    cleanup: tuple[Stage, ...] = ()
    withholds: str = ""
    title: str = ""
    asked: str = ""
    substitute: bool = False
    interrupts: str = ""
    confirm: str = ""
    locks: tuple[str, ...] = ()
    approve: str = ""
    loss_seconds: float | None = None
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    expires: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(minutes=15))

    def __post_init__(self) -> None:
        if any(isinstance(step, Hold) and len(stage) > 1 for stage in self.stages for step in stage):
            raise ValueError("A Hold must be alone in its stage.")
        if any(isinstance(step, Hold) for stage in self.cleanup for step in stage):
            raise ValueError("A clean-up has no Hold: it follows whatever happened.")

    @property
    def digest(self) -> str:
        """SHA-256 over everything that is done or relied on; equal digests are the same plan."""
        return hashlib.sha256(json.dumps(self._bound(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def targets(self) -> tuple[str, ...]:
        """Everything that a run of this plan holds: no other run works on any of it meanwhile."""
        return tuple(dict.fromkeys((self.target, *self.locks)))

    @property
    def forbidden(self) -> tuple[Finding, ...]:
        """The stop findings; a plan with one cannot be approved."""
        return tuple(f for f in self.findings if f.level is Level.STOP)

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The scenario that was asked for and the one that was planned: whoever asks or approves needs the right to both."""
        return tuple(dict.fromkeys(name for name in (self.asked, self.scenario) if name))

    @property
    def instead_of(self) -> str:
        """The scenario that was asked for, if the plan does something else; "" if it does what was asked."""
        return self.scenarios[0] if self.substitute or len(self.scenarios) > 1 else ""

    @property
    def heading(self) -> str:
        """What the plan does, and instead of what: "End up to 50 idle sessions (instead of the requested database failover)"."""
        title = self.title or f"/dr {self.scenario}"
        return f"{title} (instead of the requested {self.instead_of})" if self.instead_of else title

    @property
    def command(self) -> str:
        """The command that asks for this plan again, as a person types it."""
        same = self.asked in ("", self.scenario)
        return f"/dr {spelled(self.scenarios[0], self.arguments if same else {})}"

    def steps(self) -> Iterator[tuple[str, Step]]:
        """Every step with its id: "1.1" is the first step of the first stage. Those of the clean-up come last."""
        for s, stage in enumerate((*self.stages, *self.cleanup), 1):
            for n, step in enumerate(stage, 1):
                yield f"{s}.{n}", step

    def is_cleanup(self, step_id: str) -> bool:
        """Whether a step belongs to the clean-up."""
        return int(step_id.partition(".")[0]) > len(self.stages)

    def actions(self) -> tuple[Action, ...]:
        """The steps that change something."""
        return tuple(step for _, step in self.steps() if isinstance(step, Action))

    def needs_people(self, production: Collection[str]) -> str:
        """Why an approver must have seen this plan, as a sentence that names the step; "" if it may be carried out without one.

        `production` are the names of the instances in dr.toml: no step may change one of those, whatever it promises.
        """
        for step_id, step in self.steps():
            if isinstance(step, Hold):
                return f"Step {step_id} asks an approver: {step.question}"
            if isinstance(step, Action) and (step.touches_production or _instances(step) & {*production}):
                return f"Step {step_id} changes production: {step.title}."
        return ""

    def to_json(self) -> dict[str, Json]:
        """The plan as `dr plan --json` prints it and as it is stored."""
        return {
            "scenario": self.scenario,
            "arguments": dict(self.arguments),
            "why": self.why,
            "target": self.target,
            "digest": self.digest,
            "made_at": self.made_at.isoformat(),
            "expires": self.expires.isoformat(),
            "basis": dict(self.basis),
            "identity": dict(self.identity),
            "findings": [{"level": f.level.value, "says": f.says, "evidence": f.evidence} for f in self.findings],
            "cost": list(self.cost),
            "stages": _stages_json(self.stages, 1),
            "cleanup": _stages_json(self.cleanup, len(self.stages) + 1),
            "fallback": self.fallback,
            "withholds": self.withholds,
            "title": self.title,
            "asked": self.asked,
            "substitute": self.substitute,
            "instead_of": self.instead_of,
            "interrupts": self.interrupts,
            "confirm": self.confirm,
            "locks": list(self.locks),
            "approve": self.approve,
            "loss_seconds": self.loss_seconds,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Json]) -> Plan:
        """The stored plan again. Raises `UnknownStep` if this version cannot carry it out."""
        return cls(
            scenario=stored["scenario"],
            arguments=stored["arguments"],
            why=stored["why"],
            target=stored["target"],
            stages=_stages_from(stored["stages"]),
            basis=stored["basis"],
            identity=stored.get("identity", {}),
            findings=tuple(Finding(level=Level(f["level"]), says=f["says"], evidence=f["evidence"]) for f in stored["findings"]),
            cost=tuple(stored["cost"]),
            fallback=stored["fallback"],
            cleanup=_stages_from(stored.get("cleanup", [])),  # plans of earlier versions have none of these
            withholds=stored.get("withholds", ""),
            title=stored.get("title", ""),
            asked=stored.get("asked", ""),
            substitute=stored.get("substitute", False),
            interrupts=stored.get("interrupts", ""),
            confirm=stored.get("confirm", ""),
            locks=tuple(stored.get("locks", ())),
            approve=stored.get("approve", ""),
            loss_seconds=stored.get("loss_seconds"),
            made_at=datetime.fromisoformat(stored["made_at"]),
            expires=datetime.fromisoformat(stored["expires"]),
        )

    def _bound(self) -> dict[str, Json]:
        bound = {
            "scenario": self.scenario,
            "arguments": dict(self.arguments),
            "target": self.target,
            "stages": _bound_stages(self.stages),
            "basis": dict(self.basis),
            "identity": dict(self.identity),
            "fallback": self.fallback,
        }
        bound |= {"cleanup": _bound_stages(self.cleanup)} if self.cleanup else {}  # else as earlier versions had it
        bound |= {"confirm": self.confirm} if self.confirm else {}
        bound |= {"locks": list(self.locks)} if self.locks else {}
        return bound | ({"withholds": self.withholds} if self.withholds else {})


def changes(old: Plan, new: Plan) -> tuple[str, ...]:
    """What is different between two plans, one sentence each; empty if the new one does the same to the same.

    To interrupt what works is more than was approved for something that was down; the other way round it is not.
    """
    said = [f"This would now interrupt {new.interrupts}."] if new.interrupts and not old.interrupts else []
    said += _identity_changes(old.identity, new.identity)
    if old.digest == replace(new, identity=old.identity).digest:
        return tuple(said)
    said += [*_basis_changes(old.basis, new.basis), *_step_changes(old, new)]
    if old.fallback != new.fallback:
        said.append(f"The fallback was {old.fallback or 'none'}, is now {new.fallback or 'none'}.")
    if old.scenario != new.scenario or dict(old.arguments) != dict(new.arguments):
        said.append(f"The command was {_spoken(old)}, is now {_spoken(new)}.")
    return tuple(said) or ("The target or the order of the steps has changed.",)


def _basis_changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name.replace('_', ' ').capitalize()} was {_value(old.get(name))}, is now {_value(new.get(name))}."


def _identity_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """What was known and is another now, or is not known any more; what becomes known only now is no change."""
    for name, value in old.items():
        now = new.get(name, "")
        if value and value != now:
            yield f"{name} was {value}, " + (f"is now {now}: it is a different one." if now else "and can't be read any more.")


def _step_changes(old: Plan, new: Plan) -> Iterator[str]:
    before, after = ({step.command(): step.title for _, step in plan.steps()} for plan in (old, new))
    for command in before.keys() - after.keys():
        yield f"No longer planned: {before[command]} (`{command}`)."
    for command in after.keys() - before.keys():
        yield f"Newly planned: {after[command]} (`{command}`)."


def _value(value: Any) -> str:
    return "none" if value in (None, "", [], {}) else value if isinstance(value, str) else json.dumps(value)


def _spoken(plan: Plan) -> str:
    return f"/dr {spelled(plan.scenario, plan.arguments)}"


def spelled(scenario: str, arguments: Mapping[str, str]) -> str:
    """A scenario with its arguments, as a person types it after `/dr`."""
    return " ".join([scenario, *(shlex.quote(f"{name}={value}") for name, value in arguments.items())])


def _instances(step: Step) -> set[Json]:
    """The instances that a step's arguments name as what it works on."""
    named = [value.get("instance") for value in step.arguments.values() if isinstance(value, dict)]
    return {name for name in [step.arguments.get("instance"), *named] if isinstance(name, str)}


def _stages_json(stages: tuple[Stage, ...], first: int) -> Json:
    return [[_step_json(f"{s}.{n}", step) for n, step in enumerate(stage, 1)] for s, stage in enumerate(stages, first)]


def _stages_from(stored: Json) -> tuple[Stage, ...]:
    return tuple(tuple(step_from(step["step"], step["arguments"]) for step in stage) for stage in stored)


def _bound_stages(stages: tuple[Stage, ...]) -> Json:
    return [[[step.kind, step.arguments, step.command()] for step in stage] for stage in stages]


def _step_json(step_id: str, step: Step) -> dict[str, Json]:
    return {
        "id": step_id,
        "step": step.kind,
        "title": step.title,
        "target": step.target,
        "command": step.command(),
        "arguments": step.arguments,
        "permissions": list(step.permissions),
        "region": step.region,
        "plane": step.plane,
        "changes": isinstance(step, Action),
        "touches_production": isinstance(step, Action) and step.touches_production,
    }
