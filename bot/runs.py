"""Durable runs: the one module that knows the engine (DBOS). An interpreter carries out the frozen plan.

A plan's stages run one after the other, the steps of a stage together. After a crash the engine calls the same functions
again; whatever was recorded is not done again, and `Conduct` settles the one step that was under way. Names of recorded
steps are unique within their workflow.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import update

from actions.base import Action, Check, Json, Step
from actions.scrub import unexpected
from bot.approvals import STOPPED, clock
from bot.conduct import LATE_SECONDS, Applied, Conduct, outcome_from, outcome_json, skipped
from bot.planner import Planner, plan_id
from bot.running import Running
from bot.store import Store
from bot.tables import plans
from commands.plan import Plan, changes

log = structlog.get_logger(__name__)
ENGINE_VERSION = "1"  # pinned, so that a deploy between crash and resume strands no run; raise it only with a migration
ANSWER_SECONDS = 24 * 3600.0
RESULT_SECONDS = 0.1  # how often a run asks for the result of a step that was resumed beside it


@DBOS.dbos_class()
class Runs(DBOSConfiguredInstance):
    """The interpreter of approved plans."""

    def __init__(self, store: Store, planner: Planner) -> None:
        super().__init__("runs")
        self.store = store
        self.planner = planner
        self.conduct = Conduct(store, planner.world)
        self._plans: dict[str, Plan] = {}  # approved plans do not change, so each is read once
        self.running = Running()

    def launch(self, url: str) -> None:
        """Start the engine in the running loop; runs that a crash interrupted go on."""
        config: DBOSConfig = {
            "name": "dr-bot",
            "system_database_url": url,
            "system_database_engine": self.store.engine,
            "application_version": ENGINE_VERSION,
            "executor_id": "dr-bot",
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "max_executor_threads": 16,
            "notification_listener_polling_interval_sec": 0.05,
        }
        DBOS(config=config)
        DBOS.launch()

    async def cut_off(self) -> None:
        """Cancel every run and step that is under way and wait until they have ended. None leaves an outcome or a record."""
        await self.running.cut_off()

    def close(self) -> None:
        """Stop the engine; runs that were cut off go on at the next start. Blocks for about a second."""
        DBOS.destroy()

    async def catch_up(self) -> None:
        """Run again what the engine takes for running and what does not: its claim, or its end, got lost with an answer."""
        pending = await DBOS.list_workflows_async(status="PENDING", load_input=False, load_output=False)
        for workflow in self.running.idle({workflow.workflow_id for workflow in pending}):
            log.warning("resumed_idle_run", workflow=workflow)
            await DBOS.resume_workflow_async(workflow)

    async def start(self, run_id: str) -> None:
        """Begin an approved run; a second start of the same run is none."""
        with SetWorkflowID(run_id):
            await DBOS.start_workflow_async(self.carry_out, run_id)

    async def start_if_new(self, run_id: str) -> None:
        """Begin an approved run that a crash kept from beginning; one that the engine knows is left to the engine."""
        if await DBOS.get_workflow_status_async(run_id) is None:
            await self.start(run_id)

    async def answer(self, run_id: str, question: str, choice: str, person: str, reason: str) -> None:
        """Hand a recorded decision to its run; a second hand-over of the same question is none."""
        message = {"choice": choice, "person": person, "reason": reason}
        await DBOS.send_async(run_id, message, topic=question, idempotency_key=f"{run_id}/{question}")

    # The interpreter -------------------------------------------------------------------------------------------------

    @DBOS.workflow(max_recovery_attempts=1000)
    async def carry_out(self, run_id: str) -> str:
        """Carry out an approved plan to one of the ends; returns its name."""
        structlog.contextvars.bind_contextvars(run=run_id)
        with self.running.known(str(DBOS.workflow_id)):
            try:
                return await self._carry_out(run_id)
            except Exception as error:  # a defect: the run must not hold its target for ever without a word
                log.exception("run_broke")
                return str(await self._recorded("broke", self._end_broken, run_id, unexpected(error)))

    async def _carry_out(self, run_id: str) -> str:
        if not await self._recorded("plan again", self._plan_again, run_id):
            return "not started"
        for number, steps in enumerate(await self._stages(run_id), 1):
            end = await self._stage(run_id, number, steps)
            if end:
                return str(end)
        return str(await self._recorded("end", self._end_well, run_id))

    async def _stage(self, run_id: str, number: int, steps: list[str]) -> str:
        """Carry out a stage until it is through; returns the run's end where a person or a stop ends it here."""
        attempt, pending = 1, steps
        while pending:
            if not await self._recorded(f"stage {number}#{attempt} begin", self._begin, run_id, pending, attempt):
                return str(await self._recorded(f"stage {number}#{attempt} stopped", self._end_stopped, run_id))
            outcomes = await self._together(run_id, pending, attempt)
            pending = [step for step, outcome in outcomes.items() if not outcome_from(outcome).ok]
            if not pending:
                break
            question = f"stage{number}-{attempt}"
            await self._recorded(f"ask {question}", self._ask, run_id, question, pending)
            decision = await self._await_answer(question)
            end = await self._recorded(f"decide {question}", self._decide, run_id, question, pending, decision)
            if end:
                return str(end)
            if decision["choice"] == "skip":
                break
            attempt += 1
        return ""

    async def _together(self, run_id: str, steps: list[str], attempt: int) -> dict[str, Json]:
        """Carry out steps side by side and return their outcomes; one failing does not disturb another.

        Several go each into a child workflow of its own, because only within one workflow is the order of records certain.
        """
        if len(steps) == 1:
            return {steps[0]: await self._carry_out_step(run_id, steps[0], attempt)}
        handles = {}
        for step in steps:
            with SetWorkflowID(f"{run_id}/{step}/{attempt}"):
                handles[step] = await DBOS.start_workflow_async(self.carry_out_step, run_id, step, attempt)
        return {step: await handle.get_result(polling_interval_sec=RESULT_SECONDS) for step, handle in handles.items()}

    @DBOS.workflow(max_recovery_attempts=1000)
    async def carry_out_step(self, run_id: str, step_id: str, attempt: int) -> Json:
        """Carry out one step of several that go together; returns its outcome."""
        structlog.contextvars.bind_contextvars(run=run_id)
        with self.running.known(str(DBOS.workflow_id)):
            return await self._carry_out_step(run_id, step_id, attempt)

    async def _carry_out_step(self, run_id: str, step_id: str, attempt: int) -> Json:
        step, name = await self._step(run_id, step_id), f"{step_id}#{attempt}"
        with structlog.contextvars.bound_contextvars(step=step_id):
            if isinstance(step, Action):
                applied = await self._recorded(f"{name} act", self._act, run_id, step_id, attempt, step)
                return await self._recorded(f"{name} verify", self._verify, run_id, step_id, attempt, step, applied)
            return await self._recorded(f"{name} look", self._look, run_id, step_id, attempt, step)

    async def _await_answer(self, question: str) -> Json:
        answer = await DBOS.recv_async(question, timeout_seconds=ANSWER_SECONDS)
        return answer or {"choice": "abort", "person": "", "reason": "nobody answered for 24 hours"}

    async def _recorded(self, name: str, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run a function once for good: its JSON result is recorded under `name` and returned again after a crash."""
        return await DBOS.run_step_async({"name": name}, work, *arguments)

    # What is recorded ------------------------------------------------------------------------------------------------

    async def _plan_again(self, run_id: str) -> bool:
        """Make the plan again; where it no longer holds, end the run before it began and offer the new plan."""
        story = await self.store.story(run_id)
        assert story is not None, run_id
        old = story.offer.plan
        new = await self.planner.make(old.scenario, old.arguments, asked=old.asked)
        self.running.go_on()
        changed = changes(old, new) or tuple(f.says for f in new.forbidden)
        why = changed or _outlived(story.offer.expires)
        if not why:
            says = "Nothing has changed since the plan was made. Starting."
            await self.store.set_run(run_id, "started", "begin", says, state="running")
            return True
        again = await self.planner.offer(plan_id(f"{run_id}/again"), new, story.offer.requested_by, why)
        lead = "things have changed since the plan was made" if changed else "the approval is too old"
        says = f"Nothing was done: {lead}. {' '.join(why)} Plan {again} takes its place and needs its own approval."
        await self.store.do(lambda c: c.execute(update(plans).where(plans.c.id == run_id).values(status="superseded")))
        await self._end(run_id, "not started", says, "warn")
        return False

    async def _stages(self, run_id: str) -> list[list[str]]:
        plan = await self._plan(run_id)
        return [[f"{s}.{n}" for n, _ in enumerate(stage, 1)] for s, stage in enumerate(plan.stages, 1)]

    async def _begin(self, run_id: str, steps: list[str], attempt: int) -> bool:
        titles = {step: (await self._step(run_id, step)).title for step in steps}
        return await self.store.begin_steps(run_id, titles, attempt)

    async def _act(self, run_id: str, step_id: str, attempt: int, action: Action) -> Json:
        applied = await self.conduct.act(run_id, step_id, attempt, action)
        self.running.go_on()
        return applied.to_json()

    async def _verify(self, run_id: str, step_id: str, attempt: int, action: Action, applied: Json) -> Json:
        outcome = await self.conduct.verify(action, Applied.from_json(applied))
        self.running.go_on()
        return outcome_json(await self.store.end_step(run_id, step_id, attempt, outcome))

    async def _look(self, run_id: str, step_id: str, attempt: int, check: Check) -> Json:
        outcome = await self.conduct.look(check)
        self.running.go_on()
        return outcome_json(await self.store.end_step(run_id, step_id, attempt, outcome))

    async def _ask(self, run_id: str, question: str, failed: list[str]) -> None:
        """Put the question of a failed stage to the people: what to do now."""
        story = await self.store.story(run_id)
        assert story is not None, run_id
        choices = ["retry", "skip", *(["fallback"] if story.offer.plan.fallback else []), "abort"]
        body = {
            "id": f"{run_id}/{question}",
            "name": question,
            "nonce": secrets.token_urlsafe(12),
            "choices": choices,
            "steps": failed,
        }
        meaning = _explain(choices, story.offer.plan.fallback)
        says = f"{_steps(failed).capitalize()} failed. Waiting for your decision. {meaning}"
        stopped_by = await self.store.ask(run_id, body, says)
        if stopped_by:  # a stop that came before the question answers it
            await self.answer(run_id, question, "abort", stopped_by, STOPPED)

    async def _decide(self, run_id: str, question: str, failed: list[str], decision: Json) -> str:
        """Carry out a person's decision; returns the run's end, or "" where it goes on."""
        choice, person, reason = decision["choice"], decision["person"], decision["reason"]
        if choice == "abort":
            by = f"<@{person}> ended the run" if person else "The run ended"
            return await self._end(run_id, "aborted", f"{by} at {_steps(failed)}. {_undone(reason)}", "bad")
        if choice == "fallback":
            return await self._fall_back(run_id, failed, person)
        if choice == "skip":
            for step in failed:
                await self.store.end_step(run_id, step, 0, skipped(person, reason))
        says = f"Trying {_steps(failed)} again." if choice == "retry" else f"Going on without {_steps(failed)}."
        await self.store.set_run(run_id, f"{question}:on", "begin", says, state="running", says="", question=None)
        return ""

    async def _fall_back(self, run_id: str, failed: list[str], person: str) -> str:
        plan = await self._plan(run_id)
        fallback = await self.planner.make_fallback(plan)
        self.running.go_on()
        standing = await self.planner.offer(plan_id(f"{run_id}/fallback"), fallback, person)
        as_plan = f"The fallback `/dr {plan.fallback}` needs its own approval: Plan {standing}."
        says = f"Ended at {_steps(failed)}. {as_plan}"
        return await self._end(run_id, "failed", says, "bad")

    async def _end_stopped(self, run_id: str) -> str:
        return await self._end(run_id, "stopped", "The run was told to stop and has ended. No further step begins.", "warn")

    async def _end_broken(self, run_id: str, error: str) -> str:
        says = f"{error} The run has ended. {_undone('')} Read the thread, then plan again."
        return await self._end(run_id, "failed", says, "bad")

    async def _end_well(self, run_id: str) -> str:
        story = await self.store.story(run_id)
        assert story is not None, run_id
        skips = [s.step for s in story.steps if s.state == "skipped"]
        minutes, seconds = divmod(int(time.time() - story.offer.requested_at), 60)
        took = f"{minutes} min {seconds} s after it was asked for"
        says = f"Every step is done and proven, {took}."
        if skips:
            were = "was skipped by a person and is" if len(skips) == 1 else "were skipped by a person and are"
            says = f"The run is through, {took}. {_steps(skips).capitalize()} {were} not proven."
        return await self._end(run_id, "done", says, "warn" if skips else "ok")

    async def _end(self, run_id: str, state: str, says: str, mark: str) -> str:
        now = time.time()
        await self.store.set_run(run_id, "end", mark, says, release=True, state=state, says=says, ended=now, question=None)
        log.info("run_ended", run=run_id, state=state)
        return state

    async def _plan(self, run_id: str) -> Plan:
        if run_id not in self._plans:
            story = await self.store.story(run_id)
            assert story is not None, run_id
            self._plans[run_id] = story.offer.plan
        return self._plans[run_id]

    async def _step(self, run_id: str, step_id: str) -> Step:
        return dict((await self._plan(run_id)).steps())[step_id]


def _outlived(expires: float) -> tuple[str, ...]:
    """Why an approval is too old to begin with: the bot was away since, and people may have gone home."""
    if time.time() <= expires + LATE_SECONDS:
        return ()
    return (f"It was approved before it expired at {clock(expires)}, and I was away until now.",)


def _steps(names: list[str]) -> str:
    """The steps as a person says them: "step 1.1", "steps 2.1 and 2.2"."""
    *others, last = names
    return f"steps {', '.join(others)} and {last}" if others else f"step {last}"


def _explain(choices: list[str], fallback: str) -> str:
    meanings = {
        "retry": "Retry looks again, and repeats a change only if it provably did not happen",
        "skip": "Skip goes on without it and needs a reason",
        "fallback": f"Fallback plans `/dr {fallback}`",
        "abort": "Abort ends the run here",
    }
    return "; ".join(meanings[choice] for choice in choices) + "."


def _undone(reason: str) -> str:
    because = f" Reason: {reason}." if reason else ""
    return f"What was done before stays done. Nothing more is done.{because}"
