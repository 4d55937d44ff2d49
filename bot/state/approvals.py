"""What a click may change, each inside one transaction: approve, reject, answer a question, stop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from bot.actors import is_person, mention
from bot.choices import CHOICES, DESTROY, Question
from bot.state.store import Refusal
from bot.state.story import ENDS, NOTE, is_unread, read_story
from bot.state.tables import approvals, decisions, insert_once, locks, outbox, plans, runs
from bot.state.timeline import redraw, tell
from commands.plan import Plan

STOPPED = "the run was told to stop"


@dataclass(frozen=True, kw_only=True)
class Click:
    """A button's opaque value: which run (or plan), which question of it, and the nonce that was shown."""

    run_id: str
    question: str
    nonce: str

    @classmethod
    def from_value(cls, value: str) -> Click:
        """Read `run:question:nonce`. Raises `Refusal` on anything else."""
        parts = value.split(":")
        if len(parts) != 3 or not all(part and len(part) <= 64 for part in parts):
            raise Refusal("I don't recognise this button. Nothing was done; use `/dr runs` to find the run's own card.")
        return cls(run_id=parts[0], question=parts[1], nonce=parts[2])


def approve(connection: Connection, click: Click, person: str, needed: int) -> bool:
    """Record one approval of the plan that was shown. True if that makes it enough and the run is to begin.

    Raises `Refusal` if the plan is closed, expired, changed or not all in its thread, or if another run holds its target.
    """
    plan = require_open(connection, click)
    row = {"plan_id": click.run_id, "person": person, "digest": plan["digest"], "at": time.time()}
    if not insert_once(connection, approvals, **row):
        raise Refusal(f"You approved plan {click.run_id} already; it still needs another person's approval.")
    redraw(connection, click.run_id)
    count = len(connection.execute(select(approvals.c.person).where(approvals.c.plan_id == click.run_id)).all())
    if count < needed:
        return False
    does, asked = Plan.from_json(plan["plan"]).heading, f"{mention(plan['requested_by'])} had asked for it"
    says = f"<@{person}> approved plan {plan['id']} (digest {plan['digest'][:12]}): {does}. {asked}."
    begin_run(connection, plan, person, says)
    return True


def require_open(connection: Connection, click: Click) -> Any:
    """The plan (a row) that a click is about. Raises `Refusal` as `approve` does, if it can't be approved."""
    plan = _open_plan(connection, click)
    if plan["expires"] < time.time():
        raise Refusal(_why_expired(plan))
    _forbid_stopped(plan)
    if is_unread(connection, click.run_id):
        says = (
            f"A part of plan {click.run_id} is too long for its message and isn't in the thread yet, so nobody can have read it."
        )
        raise Refusal(f"{says} Nothing was done; approve it when the Approve button appears.")
    require_free(connection, _targets(plan))
    return plan


def require_free(connection: Connection, targets: Iterable[str]) -> None:
    """Raises `Refusal` if another run works on one of these targets."""
    if held := _lock_on(connection, targets):
        raise Refusal(held_by(held["target"], held))


def reject(connection: Connection, click: Click, person: str) -> None:
    """Close a plan for good. Raises `Refusal` if it is closed already."""
    _open_plan(connection, click)
    _close(connection, click.run_id, "rejected", person)
    tell(connection, click.run_id, "rejected", "end", f"<@{person}> rejected this plan. Nothing was done.")


def answer(connection: Connection, click: Click, person: str, choice: str, reason: str) -> None:
    """Record the one answer to a run's open question. Raises `Refusal` if it has one, or another question is open."""
    story = read_story(connection, click.run_id)
    run = story.run if story else None
    if run is None:
        raise Refusal(f"There is no run {click.run_id!r}. Nothing was done; `/dr runs` lists them.")
    question, asked = f"{click.run_id}/{click.question}", run.question
    given = decision_on(connection, question)
    if given or asked is None or (asked.id, asked.nonce) != (question, click.nonce):
        by = f" <@{given['person']}> answered it at {clock(given['at'])}: {_word(given['choice'])}." if given else ""
        raise Refusal(f"This question of run {click.run_id} is closed.{by} The run is {run.state} now. Nothing was done.")
    if choice not in asked.choices:
        takes = ", ".join(CHOICES[name].title for name in asked.choices)
        raise Refusal(f"{CHOICES[choice].title} is not an answer to this question; it takes {takes}. Nothing was done.")
    if choice == "hold_destroy" and reason.strip() != DESTROY:
        raise Refusal(f"You typed {reason!r}, and {DESTROY!r} is expected. Nothing was done; press the button again.")
    if CHOICES[choice].after_reading and is_unread(connection, click.run_id):
        raise Refusal(
            "A part of the evidence isn't in the thread yet, so nobody can have read it. Nothing was done; try again then."
        )
    if not _record_decision(connection, asked, choice, person, reason):
        raise Refusal(f"Somebody answered this question of run {click.run_id} a moment ago. Nothing was done twice.")
    because = f", because: {reason}" if reason else ""
    mark = NOTE if choice in ("hold_yes", "hold_destroy") else "ask"  # of a Yes, the end of its step says the same
    tell(connection, click.run_id, f"{click.question}:answer", mark, f"<@{person}> decided: {_word(choice)}{because}.")


def ask_to_stop(connection: Connection, run_id: str, person: str) -> str:
    """Mark a run to end at its next step. Returns the name of the open question that this answers, or "". Raises `Refusal`."""
    story = read_story(connection, run_id)
    if story is None or story.run is None:
        raise Refusal(f"There is no run {run_id!r} to stop. `/dr runs` lists them. Nothing was done.")
    if story.run.state in ENDS:
        raise Refusal(f"Run {run_id} is over: {story.run.state}. There is nothing to stop.")
    if story.run.main_end:
        ended = story.run.main_end["state"]
        raise Refusal(f"Run {run_id} has ended ({ended}) and is cleaning up, which follows every end. There is nothing to stop.")
    if story.run.stop_by:
        raise Refusal(f"<@{story.run.stop_by}> has already told run {run_id} to stop; it ends at its next step.")
    connection.execute(update(runs).where(runs.c.id == run_id).values(stop_by=person))
    asked = story.run.question
    waits = asked is not None and _record_decision(connection, asked, "abort", person, STOPPED)
    goes_on = "The step under way is finished and proven first; no further step begins."
    then = "It was waiting for a person, so it ends here." if waits else goes_on
    tell(connection, run_id, "stop", "ask", f"<@{person}> told the run to stop. {then}")
    return asked.name if asked and waits else ""


def decisions_of(connection: Connection, run_id: str) -> list[RowMapping]:
    """The answers to a run's questions, as rows."""
    return list(connection.execute(select(decisions).where(decisions.c.run_id == run_id)).mappings())


def decision_on(connection: Connection, question: str) -> RowMapping | None:
    """The answer to a question by its id, as a row; None if it has none."""
    return connection.execute(select(decisions).where(decisions.c.question == question)).mappings().first()


def decided_at(connection: Connection, question: str) -> float | None:
    """When a question (by its id) was answered; None if nobody has."""
    return connection.execute(select(decisions.c.at).where(decisions.c.question == question)).scalar()


def held_by(target: str, held: Any) -> str:
    """The sentence for a target that another run holds."""
    by = f"approved by <@{held['person']}>" if is_person(held["person"]) else f"started by {mention(held['person'])}"
    return (
        f"Run {held['run_id']} has been working on {target} since {clock(held['since'])}, {by}. "
        f"Nothing was done; watch it with `/dr show {held['run_id']}`, or stop it with `/dr stop {held['run_id']}`."
    )


def clock(at: float) -> str:
    """A time of day in UTC, as people read it at night."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _word(choice: str) -> str:
    """A choice as a person says it in a sentence."""
    return CHOICES[choice].title.lower()


def _record_decision(connection: Connection, asked: Question, choice: str, person: str, reason: str) -> bool:
    """Record the one decision on a run's open question; False if somebody else's is on record."""
    row = {"question": asked.id, "run_id": asked.run_id, "choice": choice, "person": person, "reason": reason}
    return insert_once(connection, decisions, **row, at=time.time())


def _open_plan(connection: Connection, click: Click) -> Any:
    plan = connection.execute(select(plans).where(plans.c.id == click.run_id)).mappings().first()
    if plan is None or plan["nonce"] != click.nonce:
        raise Refusal("I don't know the plan of this button. Nothing was done; ask again with `/dr`.")
    if plan["status"] != "offered":
        raise Refusal(_why_closed(connection, plan))
    return plan


def _why_closed(connection: Connection, plan: Any) -> str:
    if plan["status"] == "approved":
        first = connection.execute(select(approvals).where(approvals.c.plan_id == plan["id"])).mappings().first()
        by = f" by <@{first['person']}> at {clock(first['at'])}" if first else ""
        return f"Plan {plan['id']} was approved already{by}, and its run is the only one. Nothing was done a second time."
    if plan["status"] == "superseded":
        return _why_superseded(connection, plan)
    if plan["status"] == "expired":
        return _why_expired(plan)
    by = f" by <@{plan['closed_by']}>" if plan["closed_by"] else ""
    return f"Plan {plan['id']} was {plan['status']}{by}. Nothing was done; ask again with `{_command(plan)}`."


def _why_superseded(connection: Connection, plan: Any) -> str:
    same = plans.c.digest == plan["digest"], plans.c.status == "offered"
    newer = connection.execute(select(plans.c.id).where(*same)).scalar()
    if newer:
        return f"Plan {newer} does the same with newer facts and has taken the place of plan {plan['id']}. Nothing was done."
    held = _lock_on(connection, _targets(plan))
    now = held_by(held["target"], held) if held else f"Nothing was done; ask again with `{_command(plan)}`."
    return f"Plan {plan['id']} no longer holds: things have changed since, or another run worked on its target. {now}"


def _command(plan: Any) -> str:
    """What a person types to get this plan again."""
    return Plan.from_json(plan["plan"]).command


def _why_expired(plan: Any) -> str:
    expired = f"Plan {plan['id']} expired at {clock(plan['expires'])}, so it was not approved and nothing was done."
    return f"{expired} Ask again with `{_command(plan)}`."


def _forbid_stopped(plan: Any) -> None:
    stops = [f["says"] for f in plan["plan"]["findings"] if f["level"] == "stop"]
    if stops:
        raise Refusal(f"Plan {plan['id']} cannot be approved: {stops[0]} Nothing was done.")


def _close(connection: Connection, plan_id: str, status: str, person: str) -> None:
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=status, closed_by=person))


def begin_run(connection: Connection, plan: Any, person: str, says: str) -> None:
    """Make a plan (a row) a run that holds its targets; `person` is who let it begin."""
    now, target = time.time(), plan["target"]
    for held in _targets(plan):
        connection.execute(locks.insert().values(target=held, run_id=plan["id"], person=person, since=now))
    connection.execute(runs.insert().values(id=plan["id"], target=target, state="approved", says="", began=now, stop_by=""))
    _set_aside_others(connection, plan)
    _close(connection, plan["id"], "approved", person)
    connection.execute(update(outbox).where(outbox.c.key == plan["id"]).values(pin_wanted=True))
    tell(connection, plan["id"], "approved", "begin", says)


def _set_aside_others(connection: Connection, plan: Any) -> None:
    """Other plans for any of its targets were made for a world that this run is about to change."""
    mine = {*_targets(plan)}
    others = select(plans.c.id, plans.c.target, plans.c.plan).where(plans.c.status == "offered", plans.c.id != plan["id"])
    for other in connection.execute(others).mappings().all():
        if mine & {*_targets(other)}:
            _close(connection, other["id"], "superseded", "")
            redraw(connection, other["id"])


def _targets(plan: Any) -> tuple[str, ...]:
    """Everything that a run of this plan (a row) holds."""
    return tuple(dict.fromkeys((plan["target"], *plan["plan"].get("locks", ()))))


def _lock_on(connection: Connection, targets: Iterable[str]) -> Any:
    """The lock on one of these targets; None if all are free."""
    return connection.execute(select(locks).where(locks.c.target.in_([*targets]))).mappings().first()
