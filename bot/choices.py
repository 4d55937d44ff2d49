"""What people can decide about a run, in one table. Buttons, forms, rights and sentences are all made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from actions.values import Json

DESTROY = "destroy"  # what must be typed before something is destroyed


class Who(StrEnum):
    """Who may make a choice, besides that they must be full members of Slack's workspace now."""

    APPROVERS = "approvers of what was asked for and of what was planned"
    LISTED = "everyone who may ask for the scenario or approve it"


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form that asks for a reason."""

    title: str
    warning: str
    label: str
    submit: str


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """What Slack asks once more before the button counts as pressed."""

    title: str
    text: str
    submit: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One thing that a person can decide. `meaning` goes on after the title; with `form` it takes a reason."""

    name: str
    title: str
    meaning: str
    label: str = ""
    style: str | None = None
    who: Who = Who.APPROVERS
    form: Form | None = None
    confirm: Confirm | None = None
    after_reading: bool = False  # it counts only once all that was to be read is in the thread

    @property
    def action_id(self) -> str:
        """The id of its button."""
        return f"dr_{self.name}"

    def explain(self, fallback: str) -> str:
        """What it does, as a part of a sentence: "Retry looks again, ..."."""
        return f"{self.title} {self.meaning.format(fallback=f'`/dr {fallback}`')}"


CHOICES = {
    choice.name: choice
    for choice in (
        Choice(
            name="retry",
            title="Retry",
            meaning="looks again, and repeats a change only if it provably did not happen",
        ),
        Choice(
            name="skip",
            title="Skip",
            meaning="goes on without it and needs a reason",
            label="Skip, with a reason",
            form=Form(
                title="Skip a step",
                warning="The run goes on *without* what failed, and its end will say so.",
                label="Why is it right to go on?",
                submit="Skip it",
            ),
        ),
        Choice(
            name="happened",
            title="It happened",
            meaning="means that you vouch for the change, with a reason, and I go on to prove what it should lead to",
            label="It happened, with a reason",
            form=Form(
                title="It happened",
                warning="You vouch that the change *did* happen. I won't make it again; I go on to prove what it should lead to.",
                label="How do you know?",
                submit="It happened",
            ),
        ),
        Choice(name="fallback", title="Fallback", meaning="plans {fallback}", label="Plan the fallback"),
        Choice(name="abort", title="Abort", meaning="ends the run here", style="danger", who=Who.LISTED),
        Choice(name="hold_yes", title="Yes", meaning="goes on", label="Yes, go on", style="primary", after_reading=True),
        Choice(
            name="hold_destroy",
            title="Yes, and destroy",
            meaning=f"goes on, and must be confirmed by typing {DESTROY}",
            label="Yes, and destroy",
            style="danger",
            after_reading=True,
            form=Form(
                title="Destroy something?",
                warning="The evidence says what is *destroyed*. Nobody can bring it back by pressing a button.",
                label=f"Type {DESTROY} to go on",
                submit="Destroy it",
            ),
        ),
        Choice(
            name="hold_no",
            title="No",
            meaning="ends the run here and needs a reason",
            label="No, end the run",
            style="danger",
            form=Form(
                title="Answer No",
                warning="The run *ends here*. What was done before stays done.",
                label="Why not?",
                submit="Answer No",
            ),
        ),
        Choice(
            name="stop",
            title="Stop",
            meaning="ends the run at its next step",
            style="danger",
            who=Who.LISTED,
            confirm=Confirm(
                title="Stop this run?",
                text="The step under way is finished and proven; no further step begins.",
                submit="Stop",
            ),
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a run asks: about which `steps`, and which `choices` there are. `name` is unique in its run, `nonce` a secret."""

    run_id: str
    name: str
    nonce: str
    choices: tuple[str, ...]
    steps: tuple[str, ...]
    recommended: str = ""  # the choice that the facts speak for; "" if they speak for none

    @property
    def id(self) -> str:
        """Unique among all runs."""
        return f"{self.run_id}/{self.name}"

    @property
    def value(self) -> str:
        """What its buttons carry."""
        return f"{self.run_id}:{self.name}:{self.nonce}"

    def explain(self, fallback: str) -> str:
        """What each choice does, as a sentence."""
        return "; ".join(CHOICES[choice].explain(fallback) for choice in self.choices) + "."

    def asks(self, fallback: str) -> str:
        """The question of a stage that failed, after what failed: who is waited for, and what each choice does."""
        return f"Waiting for your decision. {self.explain(fallback)}"

    def to_json(self) -> Json:
        """As it is stored."""
        return asdict(self) | {"choices": list(self.choices), "steps": list(self.steps), "id": self.id}

    @classmethod
    def from_json(cls, stored: Mapping[str, Json]) -> Question:
        """The stored question again, also one of an earlier version."""
        return cls(
            run_id=stored["id"].partition("/")[0],
            name=stored["name"],
            nonce=stored["nonce"],
            choices=tuple(stored["choices"]),
            steps=tuple(stored["steps"]),
            recommended=stored.get("recommended", ""),
        )
