"""What the crash matrix goes through: the drills, and what people decide about a run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rehearsal.aws.ecs.service import PREVIOUS
from rehearsal.aws.journal import Effect
from rehearsal.drills.catalogue import APPROVAL, DEPLOYMENT, DRILLS, Drill
from rehearsal.people import UNDECIDED, Answer

ASKED = r"after record: .*dr_timeline\(stage1-1:ask\)"
# The effects of a restore that would be worst twice, and an answer that is not carried out yet: as many as there are lanes.
SWITCH = r"rds\.restore_to_time|secrets\.move_stage|postgresql\.close_database"
AROUND_THE_SWITCH = rf"after effect: ({SWITCH}) |after record: .*dr_timeline\(stage\d+-1:answer\)"
# Each change of a verification, and the intent that is recorded before it.
AROUND_EACH_CHANGE = r"(before|after) effect: |after record: dr_intents "
AROUND_THE_VERDICT = r".*dr_timeline\(main end\)|.*operation_outputs\(ask "  # it is on disk, and the clean-up has not begun
AROUND_EACH_MOVE = rf"{AROUND_EACH_CHANGE}|during program: "  # terraform goes on when its bot is killed
AROUND_EACH_EFFECT = r"(before|after) effect: "  # there are many, and each trial begins with a switchover
CLICKED = r"before record: dr_inbox\(click\)"


@dataclass(frozen=True, kw_only=True)
class Course:
    """A drill and what else happens in it.

    The bot is killed from the point that matches `since` on; what comes before is the same as in a drill. A sample of the points
    of a long course is those that match `sampled`.
    """

    drill: Drill
    refused: str = ""  # the operation that AWS refuses until people decide
    lost: str = ""  # the operation whose first answer is lost
    deployed: int = 0  # the revision that somebody else deploys between the plan and its approval
    applied: int = 1  # how often an action makes its change, or finds it made
    proven: bool = True  # whether every step must be done in the end
    cards: int = 1  # how many plans and runs there are in the end
    since: str = ""
    sampled: str = ""
    side_by_side: int = 0


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


def _press(button: str, reason: str = "") -> Answer:
    return Answer(by="colleague", when=UNDECIDED, button=button, reason=reason)


RETRY = _decision("retry", _press("dr_retry"), end="Done", effects=(DEPLOYMENT,))
SKIP = _decision("skip", _press("dr_skip", "It answers again by itself."), end="Done")
FALLBACK = _decision("fallback", _press("dr_fallback"), end="Failed")
ABORT = _decision("abort", _press("dr_abort"), end="Aborted")
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


def _unanswered(name: str, operation: str, applied: int) -> Course:
    """A move to the other region in which the answer to a changing call is lost."""
    drill = replace(DRILLS[name], name=f"{name}-without-{operation}")
    return Course(drill=drill, lost=operation, applied=applied, sampled=AROUND_EACH_MOVE)


REGIONS = (  # by hand only: each trial takes a minute
    Course(drill=DRILLS["region-failure"], applied=3, sampled=AROUND_EACH_MOVE),
    Course(drill=DRILLS["region-switchover"], applied=6, sampled=AROUND_EACH_MOVE),
    Course(drill=DRILLS["region-failback"], applied=13, sampled=AROUND_EACH_EFFECT),
    _unanswered("region-failure", "PromoteReadReplica", 3),
    _unanswered("region-failure", "ChangeResourceRecordSets", 3),
    _unanswered("region-switchover", "UpdateService", 6),
)
COURSES = {
    course.drill.name: course
    for course in (
        *(Course(drill=drill) for drill in DRILLS.values() if drill.shows == "outage"),
        Course(drill=DRILLS["database-restore"], applied=10, sampled=AROUND_THE_SWITCH),  # the clean-up finds the service started
        Course(drill=DRILLS["backup-verification"], applied=5, sampled=AROUND_EACH_CHANGE, side_by_side=2),
        Course(drill=DRILLS["backup-damaged"], applied=4, proven=False, sampled=AROUND_THE_VERDICT, side_by_side=2),
        *REGIONS,
        Course(drill=RETRY, refused="UpdateService", since=ASKED),
        Course(drill=SKIP, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=FALLBACK, refused="UpdateService", since=ASKED, proven=False, cards=2),
        Course(drill=ABORT, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=STOP, refused="UpdateService", since=ASKED, proven=False),
        Course(drill=CHANGED_WORLD, deployed=PREVIOUS, since=CLICKED, proven=False, cards=2),
    )
}
