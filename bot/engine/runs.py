"""Durable runs: the one module that knows the engine (DBOS). An interpreter carries out the frozen plan.

A plan's stages run one after the other, the steps of a stage together. After a crash the engine calls the same functions
again; whatever was recorded is not done again, and `StepRunner` settles the one step that was under way. Names of recorded
steps are unique within their workflow.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, DBOSPortableJSONSerializer, SetWorkflowID

from actions.scrub import unexpected
from actions.step import Action, Check, Hold
from actions.values import Json, Outcome, Result
from bot.engine.approved import Approved
from bot.engine.ends import Ends
from bot.engine.health import Health
from bot.engine.holds import AGAIN, Holds
from bot.engine.planner import Planner, plan_id
from bot.engine.progress import Progress
from bot.engine.questions import Questions
from bot.engine.running import Running
from bot.engine.step_runner import LATE_SECONDS, Applied, StepRunner, outcome_from, outcome_json
from bot.slack.attachments import Attachments
from bot.state.approvals import clock
from bot.state.items import StoredItems, items_of
from bot.state.plans import supersede
from bot.state.store import Store
from bot.state.story import NOTE
from commands.plan import changes

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
        planner.world.items, planner.world.attach = StoredItems(store), Attachments(store).add
        self.runner = StepRunner(store, planner.world)
        self.progress = Progress(store, planner.world)
        self.running = Running()
        self.approved = Approved(store)
        self.health = Health(planner.world, store)
        self.ends = Ends(store, self.approved, self.health)
        self.holds = Holds(self.approved, self.ends, self.runner, self.progress, self.running, self.answer)
        self.questions = Questions(self.approved, self.ends, planner, self.running, self.answer)

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
        """Run again what the engine believes is running but isn't: its claim, or its end, was lost with an answer."""
        pending = await DBOS.list_workflows_async(status="PENDING", load_input=False, load_output=False)
        for workflow in self.running.idle({workflow.workflow_id for workflow in pending}):
            log.warning("resumed_idle_run", workflow=workflow)
            await DBOS.resume_workflow_async(workflow)

    async def start(self, run_id: str) -> None:
        """Begin an approved run; a second start of the same run does nothing."""
        with SetWorkflowID(run_id):
            await DBOS.start_workflow_async(self.carry_out, run_id)

    async def start_if_new(self, run_id: str) -> None:
        """Begin an approved run that a crash kept from beginning; one that the engine knows is left to the engine."""
        if await DBOS.get_workflow_status_async(run_id) is None:
            await self.start(run_id)

    async def answer(self, run_id: str, question: str, choice: str, person: str, reason: str) -> None:
        """Hand a recorded decision to its run; a second hand-over of the same question does nothing."""
        message = {"choice": choice, "person": person, "reason": reason}
        await DBOS.send_async(run_id, message, topic=question, idempotency_key=f"{run_id}/{question}")

    # The interpreter -------------------------------------------------------------------------------------------------

    @DBOS.workflow(max_recovery_attempts=1000)
    async def carry_out(self, run_id: str) -> str:
        """Carry out an approved plan to one of the ends; returns its name."""
        structlog.contextvars.bind_contextvars(run=run_id)
        with self.running.known(str(DBOS.workflow_id)):
            try:
                end = await self._carry_out(run_id)
            except Exception as error:  # a defect: the run must not hold its target for ever without a word
                log.exception("run_broke")
                end = str(await self._run_once("broke", self.ends.end_broken, run_id, unexpected(error)))
            if not await self.store.cleaning_up(run_id):
                return end
            try:
                return await self._clean_up(run_id)
            except Exception as error:
                log.exception("clean_up_broke")
                return str(await self._run_once("clean-up broke", self.ends.end_clean, run_id, unexpected(error)))

    async def _carry_out(self, run_id: str) -> str:
        if not await self._run_once("plan again", self._plan_again, run_id):
            return "not started"
        main, _ = await self._stages(run_id)
        for number, steps in main.items():
            end = await self._stage(run_id, number, steps)
            if end:
                return str(end)
        return str(await self._run_once("end", self.ends.end_well, run_id))

    async def _clean_up(self, run_id: str) -> str:
        """Carry out the stages of the clean-up, whatever the main part came to; returns the run's end."""
        _, cleanup = await self._stages(run_id)
        for number, steps in cleanup.items():
            await self._stage(run_id, number, steps)
        return str(await self._run_once("clean", self.ends.end_clean, run_id))

    async def _stage(self, run_id: str, number: int, steps: list[str]) -> str:
        """Carry out a stage until it is done; returns the run's end if a person or a stop ends it here."""
        if isinstance(await self.approved.step(run_id, steps[0]), Hold):
            return await self._hold(run_id, number, steps[0])
        outcomes: dict[str, Outcome] = {}
        due, vouched = steps, None
        for attempt in itertools.count(1):
            if not await self._run_once(f"stage {number}#{attempt} begin", self._begin, run_id, due, attempt):
                return str(await self._run_once(f"stage {number}#{attempt} stopped", self.ends.end_stopped, run_id))
            outcomes |= await self._carry_out_together(run_id, due, attempt, vouched)
            pending = [step for step, outcome in outcomes.items() if not outcome.ok]
            if not pending:
                break
            doubtful = [step for step in pending if outcomes[step].result is Result.UNKNOWN and await self._changes(run_id, step)]
            question = f"stage{number}-{attempt}"
            withheld = await self._run_once(f"ask {question}", self.questions.ask, run_id, question, pending, doubtful)
            if withheld:
                return str(withheld)
            decision = await self._await_answer(question, run_id if await self.approved.is_cleanup(run_id, steps[0]) else "")
            about = run_id, question, pending, doubtful
            end = await self._run_once(f"decide {question}", self.questions.decide, *about, decision)
            if end:
                return str(end)
            if decision["choice"] == "skip":
                break
            due, vouched = (doubtful, decision) if decision["choice"] == "happened" else (pending, None)
        return ""

    async def _hold(self, run_id: str, number: int, step: str) -> str:
        """Ask an approver Yes or No; returns the run's end, or "" if it goes on."""
        for attempt in itertools.count(1):
            if not await self._run_once(f"stage {number}#{attempt} begin", self._begin, run_id, [step], attempt):
                break
            question = f"stage{number}-{attempt}"
            with items_of(run_id, step, attempt):
                await self._run_once(f"ask {question}", self.holds.ask, run_id, question, step, attempt)
            decision = await self._await_answer(question)
            end = await self._run_once(f"decide {question}", self.holds.decide, run_id, question, step, attempt, decision)
            if end != AGAIN:
                return str(end)
        return str(await self._run_once(f"stage {number} stopped", self.ends.end_stopped, run_id))

    async def _carry_out_together(self, run_id: str, steps: list[str], attempt: int, vouched: Json) -> dict[str, Outcome]:
        """Carry out steps side by side and return their outcomes; one failing does not disturb another.

        With `vouched`, the decision of a person who says that these effects happened, they are only verified.

        Several go each into a child workflow of its own, because only within one workflow is the order of records certain.
        """
        if len(steps) == 1:
            return {steps[0]: outcome_from(await self._carry_out_step(run_id, steps[0], attempt, vouched))}
        handles = {}
        for step in steps:
            with SetWorkflowID(f"{run_id}/{step}/{attempt}"):
                handles[step] = await DBOS.start_workflow_async(self.carry_out_step, run_id, step, attempt, vouched)
        results = {step: await handle.get_result(polling_interval_sec=RESULT_SECONDS) for step, handle in handles.items()}
        return {step: outcome_from(result) for step, result in results.items()}

    @DBOS.workflow(max_recovery_attempts=1000)
    async def carry_out_step(self, run_id: str, step_id: str, attempt: int, vouched: Json = None) -> Json:
        """Carry out one step of several that go together; returns its outcome."""
        structlog.contextvars.bind_contextvars(run=run_id)
        with self.running.known(str(DBOS.workflow_id)):
            return await self._carry_out_step(run_id, step_id, attempt, vouched)

    async def _carry_out_step(self, run_id: str, step_id: str, attempt: int, vouched: Json) -> Json:
        step, name = await self.approved.step(run_id, step_id), f"{step_id}#{attempt}"
        with structlog.contextvars.bound_contextvars(step=step_id), items_of(run_id, step_id, attempt):
            if isinstance(step, Action):
                applied = await self._run_once(f"{name} act", self._act, run_id, step_id, attempt, step, vouched)
                return await self._run_once(f"{name} verify", self._verify, run_id, step_id, attempt, step, applied)
            return await self._run_once(f"{name} look", self._look, run_id, step_id, attempt, step)

    async def _changes(self, run_id: str, step_id: str) -> bool:
        return isinstance(await self.approved.step(run_id, step_id), Action)

    async def _await_answer(self, question: str, reminded: str = "") -> Json:
        """The answer. Without one for 24 hours the run aborts, or, with `reminded`, people are reminded in that run."""
        for times in itertools.count(1):
            answer = await DBOS.recv_async(question, timeout_seconds=ANSWER_SECONDS)
            if answer or not reminded:
                break
            await self._run_once(f"remind {question} {times}", self.questions.remind, reminded, question, times)
        return answer or {"choice": "abort", "person": "", "reason": "nobody answered for 24 hours"}

    async def _run_once(self, name: str, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run a function once for good: its JSON result is recorded under `name` and returned again after a crash."""
        return await DBOS.run_step_async({"name": name}, work, *arguments)

    # What is recorded ------------------------------------------------------------------------------------------------

    async def _plan_again(self, run_id: str) -> bool:
        """Make the plan again; if it no longer holds, end the run before it begins and offer the new plan."""
        story = await self.approved.story(run_id)
        old = story.offer.plan
        new = await self.planner.make(old.scenario, old.arguments, asked=old.asked)
        self.running.go_on()
        changed = changes(old, new) or tuple(f.says for f in new.forbidden)
        why = changed or _why_too_old(story.offer.expires)
        if not why:
            says = "Nothing has changed since the plan was made. Starting."
            await self.store.set_run(run_id, "started", NOTE, says, state="running")
            return True
        again = await self.planner.offer(plan_id(f"{run_id}/again"), new, story.offer.requested_by, why)
        lead = "things have changed since the plan was made" if changed else "the approval is too old"
        says = f"Nothing was done: {lead}. {' '.join(why)} Plan {again} takes its place and needs its own approval."
        await self.store.do(supersede, run_id)
        await self.ends.end(run_id, "not started", says, "warn")
        return False

    async def _stages(self, run_id: str) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """The steps of each stage by its number: those of the main part, and those of the clean-up."""
        plan = await self.approved.plan(run_id)
        main: dict[int, list[str]] = {}
        cleanup: dict[int, list[str]] = {}
        for step, _ in plan.steps():
            (cleanup if plan.is_cleanup(step) else main).setdefault(int(step.partition(".")[0]), []).append(step)
        return main, cleanup

    async def _begin(self, run_id: str, steps: list[str], attempt: int) -> bool:
        titles = {step: (await self.approved.step(run_id, step)).title for step in steps}
        return await self.store.begin_steps(run_id, titles, attempt)

    async def _act(self, run_id: str, step_id: str, attempt: int, action: Action, vouched: Json) -> Json:
        if vouched:
            applied = await self.runner.vouch(run_id, step_id, action, vouched["person"], vouched["reason"])
        else:
            applied = await self.runner.act(run_id, step_id, attempt, action)
        self.running.go_on()
        return applied.to_json()

    async def _verify(self, run_id: str, step_id: str, attempt: int, action: Action, applied: Json) -> Json:
        async with self.progress.follow(run_id, step_id, attempt) as world:
            outcome = await self.runner.verify(action, Applied.from_json(applied), world)
        self.running.go_on()
        return outcome_json(await self.store.end_step(run_id, step_id, attempt, outcome))

    async def _look(self, run_id: str, step_id: str, attempt: int, check: Check) -> Json:
        async with self.progress.follow(run_id, step_id, attempt) as world:
            outcome = await self.runner.look(check, world)
        self.running.go_on()
        return outcome_json(await self.store.end_step(run_id, step_id, attempt, outcome))


def _why_too_old(expires: float) -> tuple[str, ...]:
    """Why an approval is too old to start on: the bot has been away since, and people may have gone home."""
    if time.time() <= expires + LATE_SECONDS:
        return ()
    return (f"It was approved before it expired at {clock(expires)}, and I was away until now.",)
