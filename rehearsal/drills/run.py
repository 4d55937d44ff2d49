"""Runs a drill: cause the fault, ask for the recovery as one person, approve it as another, and let the witness judge."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rehearsal.aws.journal import Effect
from rehearsal.drills.breaking import break_it
from rehearsal.drills.catalogue import DRILLS, ENDED_SESSIONS, RESTARTED_AGENTS, Drill
from rehearsal.drills.live import tell
from rehearsal.drills.lost import stated_loss, wrong_loss
from rehearsal.drills.moved import instances, wrong_after_move
from rehearsal.drills.repaired import wrong_after_repair
from rehearsal.drills.report import TARGETS, Report
from rehearsal.drills.restored import kept, wrong_after_restore
from rehearsal.drills.silenced import longest_silence, restarts, wrong_with_fleet
from rehearsal.drills.verified import damage_found, temporary, wrong_after_verification
from rehearsal.people import CLEANING_UP, HOLD_YES, UNDECIDED, Answer, NotAcknowledged, People, run_of
from rehearsal.waiting import NotSeen, until
from rehearsal.world import Options, Rehearsal

ON_CALL = ("alice", "bob", "carol")
QUESTION_SECONDS = 240.0  # to a plan or a question; a restore takes AWS ten minutes, which a drill at speed 60 makes ten seconds
END_SECONDS = 240.0
BUTTON_SECONDS = 5.0


class DrillFailed(Exception):
    """The drill did not end as it should; the message says why."""


async def carry_out(drill: Drill, options: Options, say: Callable[[str], None] | None = None) -> Report:
    """Start a rehearsal, break it, recover it through Slack, and report. What happens is told to `say` as it happens."""
    report = Report(drill=drill, options=options)
    try:
        async with Rehearsal(replace(options, hosts=drill.hosts, two_regions=drill.shows == "region")) as world:
            run = DrillRun(world, report)
            telling = asyncio.create_task(tell(run.people, say)) if say else None
            try:
                await run.run()
            finally:
                if telling:
                    telling.cancel()
                    await asyncio.gather(telling, return_exceptions=True)
    except DrillFailed as error:
        report.outcome, report.why = "failed", str(error)
    return report


class DrillRun:
    """One drill in one rehearsal. `run` is the procedure."""

    def __init__(self, world: Rehearsal, report: Report) -> None:
        self.world = world
        self.report = report
        self.drill = report.drill
        self.random = world.random
        self.people = People(world.workspace)
        self.cast: dict[str, str] = {}  # who has which role
        self.answered = ""  # the question that was answered last
        self.approved_at = 0.0
        self._planned_at = 0.0  # when the card of the plan was first there

    async def run(self) -> None:
        """Break it, recover it, judge. The report has whatever happened, even if the drill fails."""
        await self.world.witness.healthy()
        await asyncio.sleep(self.random.uniform(0.1, 0.6))
        try:
            if self.drill.after:
                await self._before()
            await self._judge(await self._recover(await self._break()))
        except (NotSeen, NotAcknowledged) as error:
            raise DrillFailed(f"{error} The bot's log ends with: {self._log_tail()}") from error
        finally:
            await self._collect()

    async def _recover(self, command: str) -> str:
        """From the command to the end of the run, whatever that is; returns its id."""
        run = await self._plan(command)
        await asyncio.sleep(self.random.uniform(0.0, 0.4))
        await self._answer(run)
        await until(lambda: self._is_over(run), END_SECONDS, "the end of the run")
        await self._thread_complete(run)
        return run

    async def _before(self) -> None:
        """The drill that this one comes after: the seed chooses it. What it lost and did doesn't count any more."""
        world, drills = self.world, self.drill.after
        first = DrillRun(world, Report(drill=DRILLS[drills[world.options.seed % len(drills)]], options=world.options))
        await first._judge(await first._recover(await first._break()))
        await world.faults.put("heal")
        await world.witness.healthy()
        world.witness.forget_lost()
        world.journal.clear()
        self.people = People(world.workspace, since=first.people.messages()[-1]["ts"])

    async def _break(self) -> str:
        """Cause the fault; returns the command against it."""
        try:
            return await break_it(self.world, self.drill)
        except NotSeen as error:
            raise DrillFailed(f"The fault {self.drill.fault} did not show. {error}") from error

    async def _plan(self, command: str) -> str:
        """Ask for the recovery; returns the id of the plan once it can be approved."""
        requester, approver = self.random.sample(ON_CALL, 2)
        (colleague,) = set(ON_CALL) - {requester, approver}
        self.cast = {"requester": requester, "approver": approver, "colleague": colleague}
        self.report.requested_by, self.report.approved_by = requester, approver
        told_before = len(self.world.workspace.ephemerals(requester))
        answered = bool(await self.people.type(requester, command))
        return await until(lambda: self._open_plan(told_before + answered), 60, "a plan to approve")

    async def _answer(self, run: str) -> None:
        for answer in self.drill.answers:
            await self._asked(answer, run)
            if not self.approved_at:
                self.report.stated_loss = stated_loss(self.people.card(run))
                self.approved_at = time.time()
            self.answered = self.people.question(run)
            await self.people.give(answer, self.cast[answer.by], run)

    async def _judge(self, run: str) -> None:
        """It's recovered if the run ended well, the witness sees sustained health, and outage and loss are within the targets."""
        title, text = self.people.title(run), self.people.card(run)["text"]
        try:
            await self.world.witness.healthy(timeout=20)
        except NotSeen as error:
            raise DrillFailed(f"The witness still sees an outage, although the run ended: {text}") from error
        measured = self.report.witness = await self.world.witness.verify()
        if title != self.drill.end:
            raise DrillFailed(f"The run did not end as {self.drill.end}: {text}")
        outage, lost = measured["outage_seconds"], measured["rows_lost"]
        restored = self.drill.shows == "data"
        may_lose = restored or self.drill.fault == "region-down"
        if outage > TARGETS["rto_seconds"] or measured["rpo_seconds"] > TARGETS["rpo_seconds"] or (lost and not may_lose):
            raise DrillFailed(f"The targets were missed: {outage:.1f} s of outage and {lost} lost rows. The service is back.")
        found = await self._restored(run, lost) if restored else f"{lost or 'no'} lost row{'s' if lost > 1 else ''}."
        says = await self._proven(run)
        self.report.outcome, self.report.why = self.drill.outcome, f"{says}The witness saw {outage:.1f} s of outage and {found}"

    async def _restored(self, run: str, lost: int) -> str:
        """Says why rows are lost, and what is back. DrillFailed if a restore doesn't explain them, or achieved less."""
        incident = self.world.faults.data.incidents[-1]
        if wrong := await wrong_after_restore(self.world, incident):
            raise DrillFailed(" ".join(wrong))
        moment = f"{incident.began_at.astimezone(UTC):%H:%M:%S.%f} UTC"
        written = f"{lost} lost rows, all of them written after {moment}, the moment that was restored."
        migrated = self._migrated(run, incident.migration) if incident.migration else ""
        return f"{written} The {incident.deleted} deleted records are back, and the old instance lets nobody in.{migrated}"

    def _migrated(self, run: str, tag: str) -> str:
        """Says that a migration was listed and then run. DrillFailed if it wasn't: nobody would have known what a Yes runs."""
        thread = self.people.thread(run)
        asked = next((number for number, line in enumerate(thread) if f"Pending migration {tag}" in line), len(thread))
        if not any(f"Ran {tag} on " in line for line in thread[asked:]):
            raise DrillFailed(f"Migration {tag} was not listed before the question and then run: {thread}")
        return f" Migration {tag}, which that moment lacked, was listed before the question and applied after it."

    async def _proven(self, run: str) -> str:
        """What there is to say about the thing that the drill is about, once it is as it must be."""
        if self.drill.hosts:
            return await self._heard()
        if self.drill.shows == "region":
            return await self._moved()
        return (
            await self._repaired()
            if self.drill.shows == "table"
            else self._verified(run)
            if self.drill.shows == "nothing"
            else ""
        )

    async def _repaired(self) -> str:
        """Says what the repair came to. DrillFailed if a row isn't as it was, or the temporary instance is still there."""
        corruption = self.world.faults.injuries.corruptions[-1]
        if wrong := await wrong_after_repair(self.world, corruption):
            raise DrillFailed(" ".join(wrong))
        if corruption.lost:
            return f"{corruption.table} was {corruption.lost}, and is back as it was with its {len(corruption.deleted)} rows. "
        return f"{len(corruption.deleted)} deleted and {len(corruption.changed)} changed rows are as they were. "

    async def _moved(self) -> str:
        """Says who serves. DrillFailed if names, secret or databases say otherwise, two took writes, or the loss is another."""
        wrong = await wrong_after_move(self.world, self.drill, self.approved_at)
        stated, measured = self.report.stated_loss, self.report.witness["rpo_seconds"]
        is_lost = self.drill.fault == "region-down"
        if is_lost and (wrong_figure := wrong_loss(stated, measured)):
            wrong.append(wrong_figure)
        if wrong:
            raise DrillFailed(" ".join(wrong))
        assert self.world.writers is not None
        (writer,) = self.world.writers.now
        agreed = f"Up to {stated:g} s of commits were to be lost, and {measured:.1f} s are. " if is_lost else ""
        return f"{self.drill.serves} serves, with {writer} as the only database that takes writes. {agreed}"

    async def _heard(self) -> str:
        """Says for how long agents were silent. DrillFailed if one still is, or was restarted though it need not have been."""
        if wrong := await wrong_with_fleet(self.world, RESTARTED_AGENTS["count"] * (RESTARTED_AGENTS in self.drill.effects)):
            raise DrillFailed(" ".join(wrong))
        silence = self.report.witness["outage_seconds"] = await longest_silence(self.world)
        return f"All {self.drill.hosts} agents report again; one was silent for {silence:.1f} s. "

    def _verified(self, run: str) -> str:
        """Says what the verification came to. DrillFailed if it left something behind, or did not find what it had to."""
        if wrong := wrong_after_verification(self.world):
            raise DrillFailed(" ".join(wrong))
        if self.drill.outcome == "recovered":
            return "The snapshot was proven whole. "
        place = damage_found(self.world)
        if not any(place in line for line in self.people.thread(run)):
            raise DrillFailed(f"The damage is in {place}, and the thread doesn't name it: {self.people.card(run)['text']}")
        return f"The green mark was withheld: the damage was found by the check of {place}. "

    async def _thread_complete(self, run: str) -> None:
        """Wait until the thread has stopped growing."""
        count = -1
        while (now := len(self.people.replies(run))) != count:
            count = now
            await asyncio.sleep(0.3)

    async def _collect(self) -> None:
        if not self.people.ids():
            return
        run = self.people.ids()[-1]
        if not self.report.witness:
            self.report.witness = self.world.witness.report()
        code, out, _ = await self.world.dr("show", run, "--json")
        self.report.run = {} if code else json.loads(out)
        self.report.timeline = [{"at": line["at"], "text": line["text"]} for line in self.report.run.get("timeline", [])]
        left = {"data": kept, "table": kept, "region": instances, "nothing": temporary}.get(self.drill.shows)
        self.report.cleanup = [*(left(self.world) if left else []), *_cleaned_up(self.report.run)]
        calls = [effect for source in ("bot", "terraform") for effect in self.world.journal.effects(source=source)]
        self.report.effects = [*calls, *self._database_effects(), *await restarts(self.world)]

    def _database_effects(self) -> list[Effect]:
        if self.drill.shows == "region":  # a fence ends sessions, of however many databases
            return []
        statements = [line for line in self.world.database.statements() if ENDED_SESSIONS["operation"] in line]
        return [Effect({**ENDED_SESSIONS, "count": len(statements)})] if statements else []

    def _open_plan(self, told_before: int) -> str | None:
        """The plan that can be approved, or None if there's no plan yet. DrillFailed if it's forbidden or refused."""
        for message in self.people.messages():
            run = run_of(message)
            if run in self.people.open_plans():
                return run
            if run:  # its buttons may come a moment later, once long commands are in its thread
                self._planned_at = self._planned_at or time.monotonic()
                if time.monotonic() - self._planned_at > BUTTON_SECONDS:
                    raise DrillFailed(f"The plan cannot be approved: {message['text']}")
                return None
        refusals = self.world.workspace.ephemerals(self.cast["requester"])[told_before:]
        if refusals:
            raise DrillFailed(f"The bot refused: {html.unescape(refusals[-1]['text'])}")
        return None

    async def _asked(self, answer: Answer, run: str) -> None:
        def asks() -> bool:
            if self._is_over(run):
                raise DrillFailed(f"The run ended before it asked: {self.people.card(run)['text']}")
            is_next = answer.when != HOLD_YES or self.people.question(run) != self.answered  # not the one before
            return answer.when in self.people.buttons(run) and is_next

        await until(asks, QUESTION_SECONDS, f"the button {answer.when}")

    def _is_over(self, run: str) -> bool:
        if UNDECIDED in self.people.buttons(run):
            raise DrillFailed(f"The run waits for a decision: {self.people.card(run)['text']}")
        return self.people.is_over(run)

    def _log_tail(self) -> str:
        return self.world.bot_log.read_text()[-1500:] if self.world.bot_log.exists() else "nothing"


def _cleaned_up(run: dict[str, Any]) -> list[dict[str, str]]:
    """The steps that began after the thread said that the clean-up follows, with their outcomes."""
    lines = [line["text"] for line in run.get("timeline", [])]
    first = next((number for number, line in enumerate(lines) if CLEANING_UP in line), len(lines))
    begun = {step[1] for line in lines[first:] if (step := re.match(r"Step (\d+\.\d+): ", line))}
    return [{"what": step["title"], "state": step["outcome"]} for step in run.get("steps", []) if step["id"] in begun]


def _iso(ts: str) -> str:
    return datetime.fromtimestamp(float(ts), UTC).isoformat(timespec="milliseconds")
