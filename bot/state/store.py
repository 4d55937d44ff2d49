"""The bot's memory: every change of it is one transaction here, and each is safe to repeat after a crash.

All calls run on one thread of their own, so that two of them never interleave within this process.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import DBAPIError

from actions.scrub import scrub, scrub_all
from actions.values import Facts, Json, Outcome, Result
from bot.choices import Question
from bot.state.away import Ending, Patience, is_away
from bot.state.story import ASKED, ENDS, NOTE, WHOLE, Story, read_story
from bot.state.tables import inbox, insert_once, intents, locks, outbox, runs, steps
from bot.state.timeline import channel_of, redraw, tell

T = TypeVar("T")
MOST_PROGRESS = 300  # characters


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something a person did: `kind` as in `bot/state/tables.py`. `id` is Slack's own: a second delivery is harmless."""

    id: str
    kind: str
    person: str
    channel: str
    payload: Json
    at: float = field(default_factory=time.time)


def record_items(connection: Connection, items: list[Item]) -> list[bool]:
    """Write what people did; False for each that was there already."""
    return [insert_once(connection, inbox, **vars(item), handled=False) for item in items]


def question_key(run_id: str, name: str) -> str:
    """The key of the message that asks a question of a run."""
    return f"{run_id}/{name}:message"


class Refusal(Exception):
    """A click that is not allowed; the message is the sentence for the person who clicked."""


class Store:
    """The transactions. `await store.do(fn, ...)` runs `fn(connection, ...)` in one; the rest are named ones."""

    def __init__(self, engine: Engine, patience: Patience | None = None) -> None:
        self.engine = engine
        self._patience = patience or Patience()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work(connection, *arguments)` in one transaction on the store's thread. Exceptions roll it back."""
        async with self._turn:
            return await self.at_once(work, *arguments)

    async def at_once(self, work: Callable[..., T], *arguments: Any) -> T:
        """The same before all that waits in `do`: for what a person did, who waits for the acknowledgement."""

        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, *arguments)

    def _transact(self, work: Callable[..., T], *arguments: Any) -> T:
        """One transaction; while the state's server is away it is tried again for ever, for each of them is safe to repeat."""
        for tries in itertools.count(1):
            try:
                with self.engine.begin() as connection:
                    result = work(connection, *arguments)
            except DBAPIError as error:
                if not is_away(error):
                    raise
                self._patience.wait(tries, error)
            else:
                self._patience.answered()
                return result
        raise Ending("unreachable: the loop above returns or raises")

    def close(self) -> None:
        """End the thread and the connections; what still waits for an absent server is given up."""
        self._patience.end()
        self._thread.shutdown(cancel_futures=True)
        self.engine.dispose()

    # What people did -------------------------------------------------------------------------------------------------

    async def unhandled(self) -> list[Item]:
        """What was recorded and, because of a crash, not finished."""

        def work(connection: Connection) -> list[Item]:
            rows = connection.execute(select(inbox).where(~inbox.c.handled).order_by(inbox.c.at)).mappings()
            return [Item(**{k: v for k, v in row.items() if k != "handled"}) for row in rows]

        return await self.do(work)

    async def handled(self, item: Item) -> None:
        """The item is finished."""
        await self.do(lambda c: c.execute(update(inbox).where(inbox.c.id == item.id).values(handled=True)))

    # Plans, approvals, locks -----------------------------------------------------------------------------------------

    async def story(self, run_id: str) -> Story | None:
        """All there is about a plan and its run; None if there is no such plan."""
        return await self.do(read_story, run_id)

    async def stories(self, limit: int = 20) -> list[Story]:
        """The latest runs, newest first."""

        def work(connection: Connection) -> list[Story]:
            ids = connection.execute(select(runs.c.id).order_by(runs.c.began.desc()).limit(limit)).scalars()
            return [s for s in (read_story(connection, i) for i in list(ids)) if s]

        return await self.do(work)

    async def holder(self, target: str) -> Any:
        """Who holds a target: a row with run_id, person, since; None if it is free."""
        return await self.do(lambda c: c.execute(select(locks).where(locks.c.target == target)).mappings().first())

    # Runs ------------------------------------------------------------------------------------------------------------

    async def unfinished(self) -> list[str]:
        """The runs that have not come to an end."""
        return await self.do(lambda c: list(c.execute(select(runs.c.id).where(runs.c.state.not_in(ENDS))).scalars()))

    async def begin_steps(self, run_id: str, titles: dict[str, str], attempt: int) -> bool:
        """Say that the steps of a stage begin; False if the run was told to stop, and then only a clean-up begins."""

        def work(connection: Connection) -> bool:
            of_run = steps.c.run_id == run_id
            begun = select(steps.c.step).where(of_run, steps.c.step.in_(titles), steps.c.attempt == attempt)
            if connection.execute(begun).first():
                return True  # before a crash
            run = connection.execute(select(runs.c.stop_by, runs.c.main_end).where(runs.c.id == run_id)).mappings().one()
            if run["stop_by"] and not run["main_end"]:
                return False
            now = time.time()
            began = {"attempt": attempt, "attempt_began": now, "state": "started", "says": "", "progress": ""}
            for step, title in titles.items():
                if not insert_once(connection, steps, run_id=run_id, step=step, began=now, **began):
                    connection.execute(update(steps).where(of_run, steps.c.step == step).values(ended=None, **began))
                says = f"Step {step}: {title}" + ("" if title.endswith("?") else ".")
                tell(connection, run_id, f"{step}#{attempt}:begin", NOTE, says)
            return True

        return await self.do(work)

    async def ask(self, run_id: str, question: Question, says: str, evidence: Sequence[str] = ()) -> str:
        """Open a run's question, once: the buttons that were shown first stay good. Returns who told the run to stop, or "".

        The `evidence` stands in the thread before it, a reply each.
        """

        says = scrub(says)

        def work(connection: Connection) -> str:
            of_run = runs.c.id == run_id
            run = connection.execute(select(runs).where(of_run)).mappings().one()
            if not run["question"]:
                connection.execute(update(runs).where(of_run).values(state="waiting", says=says, question=question.to_json()))
                for number, text in enumerate(evidence, 1):
                    tell(connection, run_id, f"{question.name}:evidence{number}", WHOLE, text)
                tell(connection, run_id, f"{question.name}:ask", ASKED, says)
                message = {"kind": "question", "run_id": run_id, "channel": channel_of(connection, run_id)}
                insert_once(connection, outbox, key=question_key(run_id, question.name), **message)
            return "" if run["main_end"] else str(run["stop_by"])

        return await self.do(work)

    async def end_step(self, run_id: str, step: str, attempt: int, outcome: Outcome) -> Outcome:
        """Say how an attempt at a step ended; returns the outcome on record, which is the first one that it was given."""

        outcome = replace(outcome, says=scrub(outcome.says))

        def work(connection: Connection) -> Outcome:
            where = (steps.c.run_id == run_id, steps.c.step == step)
            was = connection.execute(select(steps).where(*where)).mappings().one()
            if was["attempt"] == attempt and was["state"] != "started":
                return Outcome(result=Result(was["state"]), says=was["says"])  # before a crash
            values = {"state": outcome.result.value, "says": outcome.says, "ended": time.time()}
            connection.execute(update(steps).where(*where).values(**values))
            mark = "ok" if outcome.ok else "bad"
            tell(connection, run_id, f"{step}#{attempt}:end", mark, f"Step {step} {outcome.result}: {outcome.says}")
            return outcome

        return await self.do(work)

    async def progress(self, run_id: str, step: str, attempt: int, says: str) -> None:
        """Put what a step under way said last onto the run's card."""

        def work(connection: Connection) -> None:
            this = steps.c.run_id == run_id, steps.c.step == step, steps.c.attempt == attempt, steps.c.state == "started"
            if connection.execute(update(steps).where(*this).values(progress=scrub(says)[:MOST_PROGRESS])).rowcount:
                redraw(connection, run_id)

        await self.do(work)

    async def record_intent(self, run_id: str, step: str, attempt: int, facts: Facts) -> Facts:
        """Write facts and intent before an effect; returns the facts on record, which are the first that the attempt wrote."""
        key = {"run_id": run_id, "step": step, "attempt": attempt}

        def work(connection: Connection) -> Facts:
            if insert_once(connection, intents, **key, facts=facts, at=time.time()):
                return facts
            recorded = select(intents.c.facts).where(*(intents.c[name] == value for name, value in key.items()))
            return dict(connection.execute(recorded).scalar_one())

        return await self.do(work)

    async def first_facts(self, run_id: str, step: str) -> Facts | None:
        """The facts from before any attempt at a step; None if no intent is on record: then nothing can have been sent."""
        query = select(intents.c.facts).where(intents.c.run_id == run_id, intents.c.step == step).order_by(intents.c.attempt)
        return await self.do(lambda c: c.execute(query.limit(1)).scalar())

    async def began(self, run_id: str, step: str, attempt: int) -> float | None:
        """When an attempt at a step began, or at the latest when the step did; None if it didn't."""
        query = select(func.coalesce(steps.c.attempt_began, steps.c.began)).where(
            steps.c.run_id == run_id, steps.c.step == step, steps.c.attempt == attempt
        )
        return await self.do(lambda c: c.execute(query).scalar())

    async def set_run(self, run_id: str, key: str, mark: str, text: str, *, release: bool = False, **values: Any) -> None:
        """Change a run's state and say so, in one transaction; with `release` its target is free again."""

        def work(connection: Connection) -> None:
            if "question" in values:  # the message of the question that was open shows what became of it
                asked = connection.execute(select(runs.c.question).where(runs.c.id == run_id)).scalar()
                message = outbox.c.key == (question_key(run_id, asked["name"]) if asked else "")
                connection.execute(update(outbox).where(message).values(rev=outbox.c.rev + 1))
            connection.execute(update(runs).where(runs.c.id == run_id).values(**scrub_all(values)))
            if release:
                connection.execute(locks.delete().where(locks.c.run_id == run_id))
            tell(connection, run_id, key, mark, text)
            if "ended" in values and values["state"] != "not started":
                report = {"kind": "file", "run_id": run_id, "channel": channel_of(connection, run_id)}
                insert_once(connection, outbox, key=f"{run_id}/report", **report)

        await self.do(work)

    async def cleaning_up(self, run_id: str) -> bool:
        """Whether the main part of a run has ended, and its clean-up has not."""
        query = select(runs.c.main_end).where(runs.c.id == run_id, runs.c.state.not_in(ENDS))
        return bool(await self.do(lambda c: c.execute(query).scalar()))

    async def ephemeral(self, key: str, person: str, channel: str, text: str, about: str = "") -> None:
        """Order a sentence that only one person sees; `about` is the plan or run that it answers for."""
        row = {"key": key[:120], "kind": "ephemeral", "channel": channel, "person": person, "text": scrub(text)}
        row["run_id"] = about[:40]
        await self.do(lambda c: insert_once(c, outbox, **row))
