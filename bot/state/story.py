"""The story of a run, read from the tables: the plan as it was offered, its run, its steps and its timeline."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, or_, select

from actions.values import Json
from bot.choices import Question
from bot.state.tables import approvals, outages, outbox, plans, runs, steps, timeline
from commands.plan import Plan

WHOLE = "whole"  # the mark of a reply that holds what people must be able to read before they may approve, or answer Yes
EVIDENCE = "evidence"  # the mark of a reply that holds what a plan rests on; nobody must have read it
NOTE, ASKED = "note", "question"  # marks of lines that the card, or a question's own message, tells: none is in the thread
SAVED = "saved"  # the mark of a message of the channel that somebody saved as evidence: it's in the channel already
QUIET = (NOTE, ASKED, SAVED)
ENDS = ("done", "failed", "aborted", "stopped", "not started")
MOST_KEPT = 32  # plans
_plans: dict[tuple[str, str, float], Plan] = {}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A plan as it was shown: who asked, until when, and whether it still stands.

    It is `unread` as long as a part of its text is not in the thread yet.
    """

    id: str
    plan: Plan
    digest: str
    nonce: str
    requested_by: str
    requested_at: float
    expires: float
    status: str
    closed_by: str
    changes: tuple[str, ...]
    channel: str
    approved_by: tuple[str, ...]
    unread: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a timeline. `mark` is begin, ok, warn, bad, ask, end, whole (evidence), or one of `QUIET`."""

    at: float
    mark: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How far one step is: started, or how it ended, with its sentence."""

    step: str
    attempt: int
    state: str
    says: str
    began: float
    ended: float | None
    progress: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of one approved plan."""

    id: str
    target: str
    state: str
    says: str
    began: float
    ended: float | None
    stop_by: str
    question: Question | None
    main_end: Json = None  # state, says and mark of the end of the main part, if a clean-up follows or followed

    @property
    def over(self) -> bool:
        """Whether the run has come to one of its ends."""
        return self.state in ENDS


@dataclass(frozen=True, kw_only=True)
class Outage:
    """From when to when a service's health address failed, as the bot saw it; `ended` is None while it fails."""

    service: str
    began: float
    ended: float | None


@dataclass(frozen=True, kw_only=True)
class Story:
    """A plan with all that happened to it: what a card and `dr show` are made from. `outage` is the first that it met."""

    offer: Offer
    run: Run | None
    steps: tuple[StepState, ...]
    timeline: tuple[Line, ...]
    outage: Outage | None = None


def read_story(connection: Connection, run_id: str) -> Story | None:
    """All there is about a plan and its run; None if there is no such plan."""
    row = connection.execute(select(plans).where(plans.c.id == run_id)).mappings().first()
    if row is None:
        return None
    people = select(approvals.c.person).where(approvals.c.plan_id == run_id).order_by(approvals.c.at)
    approved_by = tuple(connection.execute(people).scalars())
    kept = {k: v for k, v in row.items() if k not in ("plan", "changes", "scenario", "target")}
    plan, unread = _plan(row), is_unread(connection, run_id)
    offer = Offer(plan=plan, changes=tuple(row["changes"]), approved_by=approved_by, unread=unread, **kept)
    run = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().first()
    of_run = [select(t).where(t.c.run_id == run_id) for t in (steps, timeline)]
    states = connection.execute(of_run[0].order_by(steps.c.step)).mappings()
    lines = connection.execute(of_run[1].order_by(timeline.c.seq)).mappings()
    return Story(
        offer=offer,
        run=_run(run) if run else None,
        steps=tuple(StepState(**{k: v for k, v in s.items() if k not in ("run_id", "attempt_began")}) for s in states),
        timeline=tuple(Line(at=line["at"], mark=line["mark"], text=line["text"]) for line in lines),
        outage=_outage(connection, row["requested_at"], run["ended"] if run else None),
    )


def _plan(row: RowMapping) -> Plan:
    """The plan of a row. It never changes, and one of 500 steps takes a quarter of a second to read, so the latest are kept."""
    key = row["id"], row["digest"], row["requested_at"]
    if key not in _plans:
        while len(_plans) >= MOST_KEPT:
            _plans.pop(next(iter(_plans)), None)
        _plans[key] = Plan.from_json(row["plan"])
    return _plans[key]


def _outage(connection: Connection, asked: float, ended: float | None) -> Outage | None:
    """The first outage that was under way when the plan was asked for, or came until its run ended."""
    met = or_(outages.c.ended.is_(None), outages.c.ended >= asked)
    until = [outages.c.began <= ended] if ended else []
    row = connection.execute(select(outages).where(met, *until).order_by(outages.c.began).limit(1)).mappings().first()
    return Outage(service=row["service"], began=row["began"], ended=row["ended"]) if row else None


def _run(row: RowMapping) -> Run:
    question = Question.from_json(row["question"]) if row["question"] else None
    return Run(**{**row, "question": question})


def is_unread(connection: Connection, plan_id: str) -> bool:
    """Whether a part of a plan's text, or of the evidence of its run, is not in its thread yet."""
    waiting = select(outbox.c.seq).where(outbox.c.run_id == plan_id, outbox.c.mark == WHOLE, outbox.c.ts == "")
    return connection.execute(waiting.limit(1)).first() is not None
