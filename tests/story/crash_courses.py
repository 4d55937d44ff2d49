"""What the crash matrix goes through: the drills, and what people decide about a run."""

from __future__ import annotations

from dataclasses import dataclass

from rehearsal.aws.ecs.service import PREVIOUS
from rehearsal.aws.journal import Effect
from rehearsal.drills.catalogue import APPROVAL, DEPLOYMENT, DRILLS, Drill
from rehearsal.people import UNDECIDED, Answer

ASKED = r"after record: .*dr_timeline\(stage1-1:ask\)"
CLICKED = r"before record: dr_inbox\(click\)"


@dataclass(frozen=True, kw_only=True)
class Course:
    """A drill and what else happens in it.

    The bot is killed from the point that matches `since` on; what comes before is the same as in a drill.
    """

    drill: Drill
    refused: str = ""  # the operation that AWS refuses until people decide
    deployed: int = 0  # the revision that somebody else deploys between the plan and its approval
    proven: bool = True  # whether every step must be done in the end
    cards: int = 1  # how many plans and runs there are in the end
    since: str = ""


def _decision(name: str, answer: Answer, *, end: str, effects: tuple[Effect, ...] = ()) -> Drill:
    """AWS refuses the restart, and a colleague decides what to do about it."""
    command = "control-plane restart"
    return Drill(
        name=name,
        title=f"AWS refuses a deployment, and the decision is {name}.",
        fault="",
        command=command,
        scenario=command,
        effects=effects,
        answers=(APPROVAL, answer),
        end=end,
    )


def _pressed(button: str, reason: str = "") -> Answer:
    return Answer(by="colleague", when=UNDECIDED, button=button, reason=reason)


RETRY = _decision("retry", _pressed("dr_retry"), end="Done", effects=(DEPLOYMENT,))
SKIP = _decision("skip", _pressed("dr_skip", "It answers again by itself."), end="Done")
FALLBACK = _decision("fallback", _pressed("dr_fallback"), end="Failed")
ABORT = _decision("abort", _pressed("dr_abort"), end="Aborted")
STOP = _decision("stop", Answer(by="colleague", when=UNDECIDED, command="stop {run}"), end="Aborted")
CHANGED_WORLD = Drill(
    name="changed-world",
    title="Somebody else deploys before the approval, so the run does not start.",
    fault="",
    command="control-plane restart",
    scenario="control-plane restart",
    effects=(),
    end="Not started",
)
COURSES = {
    course.drill.name: course
    for course in (
        *(Course(drill=drill) for drill in DRILLS.values()),
        Course(drill=RETRY, refused="UpdateService", since=ASKED),
        Course(drill=SKIP, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=FALLBACK, refused="UpdateService", since=ASKED, proven=False, cards=2),
        Course(drill=ABORT, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=STOP, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=CHANGED_WORLD, deployed=PREVIOUS, since=CLICKED, proven=False, cards=2),
    )
}
