"""A step: a `Check`, which only looks, a `Hold`, which shows evidence to a person and asks, or an `Action` with one effect.

    observe -> precheck -> (facts and intent are recorded) -> apply -> applied? -> verify

Observing changes nothing; applying happens once; `applied` is the proof that is read back after a crash or a lost answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_type_hints

from actions.errors import UnknownStep
from actions.values import Facts, Finding, Json, Outcome, Proof

if TYPE_CHECKING:
    from actions.world import World


class Step(ABC):
    """One line of a plan. Subclasses are frozen dataclasses whose fields are all the arguments there are.

    Every class declares: `kind` (its stored name), `title`, `permissions` (IAM or database rights), `region` and `plane`
    ("control" or "data") that it needs, and `timeout` in provider seconds (see `World.wait`).
    """

    registry: ClassVar[dict[str, type[Step]]] = {}
    kind: ClassVar[str]
    timeout: ClassVar[float]
    plane: ClassVar[str]

    def __init_subclass__(cls, *, kind: str = "", **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind:
            cls.kind = kind
            Step.registry[kind] = cls

    @property
    @abstractmethod
    def title(self) -> str:
        """What the step does, as a person says it: "Restart service control-plane"."""

    @property
    @abstractmethod
    def target(self) -> str:
        """What the step touches or looks at: "service shielda/control-plane"."""

    @abstractmethod
    def command(self) -> str:
        """The shell line a person would type for the same thing. It is shown, approved and compared with the wire."""

    @property
    @abstractmethod
    def permissions(self) -> tuple[str, ...]:
        """The rights the step needs, such as `ecs:UpdateService` or `postgresql:pg_signal_backend`."""

    if TYPE_CHECKING:  # not there at run time: a dataclass would take an inherited property for the default of its field

        @property
        def region(self) -> str:
            """The AWS region the step depends on; "" if it depends on none. A field or a class variable."""

    @property
    def arguments(self) -> dict[str, Json]:
        """The step's arguments as JSON, in the order of declaration."""
        return {name: _as_json(value) for name, value in asdict(self).items()}  # type: ignore[call-overload]

    @classmethod
    def with_arguments(cls, arguments: Mapping[str, Json]) -> Self:
        """The step with these stored arguments (lists become tuples again)."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if set(arguments) != known:
            raise UnknownStep(f"Step {cls.kind} takes {sorted(known)}, and the stored plan gives {sorted(arguments)}.")
        kinds = get_type_hints(cls)
        return cls(**{name: _from_json(value, kinds[name], cls.kind) for name, value in arguments.items()})


class Check(Step):
    """A step that only looks."""

    @abstractmethod
    async def look(self, world: World) -> Outcome:
        """Look until the goal is seen or `timeout` is over. Never raises for an expected failure."""


class Action(Step):
    """A step with one effect on one target. `settle` is how long (provider seconds) an effect may take to become visible.

    `touches_production` is False only for an action that can't change what serves production: it makes a new thing, or works on
    one only if that carries the mark of the run that made it. A plan of such actions may be carried out without an approval.
    """

    settle: ClassVar[float]
    touches_production: ClassVar[bool] = True

    @abstractmethod
    async def observe(self, world: World) -> Facts:
        """The state before the effect, as JSON, with all that `applied` needs for its proof. Raises `Unreachable`."""

    @abstractmethod
    def precheck(self, facts: Facts) -> Finding | Outcome:
        """Whether the change may be made in this state; a `stop` finding ends the step before anything is done.

        So does an `Outcome`, which is then the step's own: `already_done("There is no temporary instance.")`.
        """

    @abstractmethod
    async def apply(self, world: World, facts: Facts) -> Facts:
        """Make the change: exactly one attempt. Returns the receipt. Raises `Refused` or `Uncertain`."""

    @abstractmethod
    async def applied(self, world: World, facts: Facts) -> Proof:
        """Read back whether the effect happened since `facts`. `NOT_DONE` counts only after the settle time."""

    @abstractmethod
    async def verify(self, world: World, facts: Facts, receipt: Facts) -> Outcome:
        """Follow the effect to its goal, or to `timeout`. Never raises for an expected failure."""


class Hold(Step):
    """A step that stops the run, shows evidence gathered at that moment, and asks an approver Yes or No; alone in its stage.

    No ends the run. If a finding of the evidence is a `stop`, Yes is not offered, unless `yes_despite_stop` says so. If it
    `destroys` something, Yes takes a word that must be typed. `looks_again`: if Yes is not offered, Retry is.
    """

    yes_despite_stop: ClassVar[bool] = False
    looks_again: ClassVar[bool] = False

    @property
    @abstractmethod
    def question(self) -> str:
        """What is asked, so that Yes means to go on: "Is the restored copy good enough to take over?"."""

    @abstractmethod
    async def evidence(self, world: World) -> tuple[Finding, ...]:
        """What the answer should rest on, the most important first. An unread source is a finding, too. Raises `Unreachable`."""

    def destroys(self, evidence: tuple[Finding, ...]) -> bool:
        """Whether a Yes destroys something, by this evidence."""
        return False

    @property
    def title(self) -> str:
        return f"Stop here and ask: {self.question}"

    def command(self) -> str:
        return f"# An approver answers Yes or No: {self.question}"


def step_from(kind: str, arguments: Mapping[str, Json]) -> Step:
    """The step that a stored plan names. Raises `UnknownStep` if this version cannot carry it out."""
    cls = Step.registry.get(kind)
    if cls is None:
        raise UnknownStep(f"The stored plan has a step {kind!r}, which this version does not know.")
    return cls.with_arguments(arguments)


def _as_json(value: Any) -> Json:
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Json, kind: Any, step: str) -> Any:
    if not (is_dataclass(kind) and isinstance(kind, type)):
        return tuple(value) if isinstance(value, list) else value
    known = sorted(f.name for f in fields(kind))  # a reference, such as which database is meant
    if not isinstance(value, dict) or sorted(value) != known:
        given = sorted(value) if isinstance(value, dict) else value
        raise UnknownStep(f"Step {step} takes a {kind.__name__} with {known}, and the stored plan gives {given}.")
    return kind(**value)
