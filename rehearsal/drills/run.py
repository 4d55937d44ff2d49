"""Drills: put a fault in, ask for the recovery as one person, approve it as another, and let the witness judge."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rehearsal import settings
from rehearsal.world import PRIMARY, Options, World

TARGETS = {"rto_seconds": 30 * 60, "rpo_seconds": 5 * 60}
ON_CALL = ("alice", "bob", "carol")
ENDS = ("Done", "Failed", "Aborted", "Stopped", "Not started")
Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A fault and the command that a person would type against it, `pause` seconds after the outage is seen."""

    name: str
    title: str
    fault: str
    command: str
    pause: float = 0.0


DRILLS = {
    drill.name: drill
    for drill in (
        Drill(
            name="control-plane-down",
            title="The control plane hangs; it is restarted.",
            fault="control-plane-hangs",
            command="control-plane restart",
        ),
        Drill(
            name="bad-deploy",
            title="A bad revision is shipped; the plan is to roll back, not to restart it.",
            fault="bad-deploy",
            command="control-plane restart",
        ),
        Drill(
            name="database-failover",
            title="The primary database hangs; its standby takes over.",
            fault="database-hangs",
            command="database failover",
        ),
        Drill(
            name="too-many-connections",
            title="A report takes every connection; its idle sessions are ended, and no failover is made.",
            fault="too-many-connections",
            command="database failover idle_for=2",
            pause=2.5,
        ),
    )
}


class DrillFailed(Exception):
    """The drill did not come to its end; the message says where."""


@dataclass(kw_only=True)
class Report:
    """What `rehearse drill --json` prints. `outcome` is recovered, failed or withheld; `why` says it in a sentence."""

    drill: Drill
    options: Options
    outcome: str = "withheld"
    why: str = ""
    requested_by: str = ""
    approved_by: str = ""
    witness: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    effects: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report with the names that outsiders rely on. Seconds are this machine's, as the witness measured them."""
        steps = [{key: step[key] for key in ("title", "command", "outcome", "seconds")} for step in self.run.get("steps", [])]
        return {
            "drill": self.drill.name,
            "scenario": self.run.get("scenario", ""),
            "outcome": self.outcome,
            "why": self.why,
            "rto_seconds": round(self.witness.get("outage_seconds", 0.0), 3),
            "rpo_seconds": self.witness.get("rpo_seconds"),
            "rows_lost": self.witness.get("rows_lost"),
            "targets": TARGETS,
            "speed": self.options.speed,
            "seed": self.options.seed,
            "requested_by": self.requested_by,
            "approved_by": self.approved_by,
            "digest": self.run.get("digest", ""),
            "steps": steps,
            "effects": self.effects,
            "timeline": self.timeline,
            "findings": self.run.get("findings", []),
        }


async def carry_out(drill: Drill, options: Options) -> Report:
    """Start a world of its own, break it, recover it through Slack, and report."""
    report = Report(drill=drill, options=options)
    try:
        async with World(options) as world:
            await Rehearsed(world, report).run()
    except DrillFailed as error:
        report.outcome, report.why = "failed", str(error)
    return report


class Rehearsed:
    """One drill in one world. The procedure is `run`."""

    def __init__(self, world: World, report: Report) -> None:
        self.world = world
        self.report = report
        self.slack = world.workspace
        self.random = world.random

    async def run(self) -> None:
        """Fault, command, approval, end, judgement."""
        await self.world.witness.healthy()
        await asyncio.sleep(self.random.uniform(0.1, 0.6))
        await self.world.faults.put(self.report.drill.fault)
        await self._until("the witness sees the outage", lambda: self.world.witness.report()["state"] == "down", 20)
        await asyncio.sleep(self.report.drill.pause)
        requester, approver = self.random.sample(ON_CALL, 2)
        self.report.requested_by, self.report.approved_by = requester, approver
        try:
            await self._ask(requester)
            card = await self._until("the plan stands in the channel", self._plan_card, 60)
            await asyncio.sleep(self.random.uniform(0.0, 0.4))
            await self._approve(approver, card)
            await self._until("the run is over", lambda: self._ended(card["ts"]), 120)
            await self._told(card["ts"])
            await self._judge(card["ts"])
        finally:
            await self._collect()

    async def _ask(self, person: str) -> None:
        answer = await self.slack.command(person, "incident", self.report.drill.command)
        if not answer["acked"]:
            raise DrillFailed(f"The bot did not acknowledge /dr {self.report.drill.command}.")

    async def _approve(self, person: str, card: Message) -> None:
        answer = await self.slack.click(person, "incident", card["ts"], "dr_approve")
        if not answer["acked"]:
            raise DrillFailed("The bot did not acknowledge the approval.")

    async def _judge(self, ts: str) -> None:
        """Recovered only if the run says done, the witness sees sustained health, and loss and outage are within the targets."""
        said = self._title(ts)
        try:
            await self.world.witness.healthy(timeout=20)
        except TimeoutError as error:
            raise DrillFailed(f"The run says {said}, and the witness still sees an outage.") from error
        seen = self.report.witness = await self.world.witness.verify()
        if said != "Done":
            raise DrillFailed(f"The run ended as {said}: {self._card(ts)['text']}")
        if seen["outage_seconds"] > TARGETS["rto_seconds"] or seen["rpo_seconds"] > TARGETS["rpo_seconds"] or seen["rows_lost"]:
            raise DrillFailed(
                f"Back, but outage {seen['outage_seconds']:.1f} s and {seen['rows_lost']} lost rows miss the targets."
            )
        self.report.outcome = "recovered"
        self.report.why = f"The witness saw {seen['outage_seconds']:.1f} s of outage and no row lost."

    async def _told(self, ts: str) -> None:
        """Wait until the thread has stopped growing and holds the run's end."""
        count = -1
        while (now := len(self.slack.messages("incident", ts))) != count:
            count = now
            await asyncio.sleep(0.3)

    async def _collect(self) -> None:
        card = self._latest_card()
        if card is None:
            return
        if not self.report.witness:
            self.report.witness = self.world.witness.report()
        self.report.run = await self._dr("show", card["run"], "--json") or {}
        replies = self.slack.messages("incident", card["ts"])
        self.report.timeline = [{"at": _iso(m["ts"]), "text": html.unescape(m["text"])} for m in replies if m["ts"] != card["ts"]]
        self.report.effects = [dict(e) for e in self.world.journal.effects(source="bot")] + self._database_effects()

    def _database_effects(self) -> list[dict[str, Any]]:
        ended = [line for line in self.world.database.statements() if "pg_terminate_backend" in line]
        effect = {"service": "postgresql", "operation": "pg_terminate_backend", "region": PRIMARY, "count": len(ended)}
        return [effect] if ended else []

    async def _dr(self, *words: str) -> dict[str, Any] | None:
        argv = settings.bot_command(self.world.config, *words)
        process = await asyncio.create_subprocess_exec(*argv, env=self.world.bot_environment, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return json.loads(out) if process.returncode == 0 else None

    # What stands in the channel ---------------------------------------------------------------------------------------

    def _latest_card(self) -> Message | None:
        cards = [m for m in self.slack.messages("incident") if _run_id(m)]
        return {"ts": cards[-1]["ts"], "run": _run_id(cards[-1])} if cards else None

    def _plan_card(self) -> Message | None:
        for message in self.slack.messages("incident"):
            if "dr_approve" in json.dumps(message.get("blocks", [])):
                return message
            if message["text"].startswith("Plan ") and "cannot be approved" in json.dumps(message.get("blocks", [])):
                raise DrillFailed(f"The plan cannot be approved: {message['text']}")
        refusals = [
            html.unescape(e["text"]) for e in self.slack.ephemerals(self.report.requested_by) if "Nothing was done" in e["text"]
        ]
        if refusals:
            raise DrillFailed(f"The bot refused: {refusals[-1]}")
        return None

    def _card(self, ts: str) -> Message:
        return next(m for m in self.slack.messages("incident") if m["ts"] == ts)

    def _title(self, ts: str) -> str:
        return str(self._card(ts)["text"]).partition(":")[0]

    def _ended(self, ts: str) -> bool:
        if self._title(ts) == "Waiting for a person":
            raise DrillFailed(f"The run waits for a person: {self._card(ts)['text']}")
        return self._title(ts) in ENDS

    async def _until(self, what: str, seen: Callable[[], Any], timeout: float) -> Any:
        ends = time.monotonic() + timeout
        while not (value := seen()):
            if time.monotonic() > ends:
                raise DrillFailed(f"Waited {timeout:g} s until {what}, in vain. The bot's log: {self._log_tail()}")
            await asyncio.sleep(0.03)
        return value

    def _log_tail(self) -> str:
        log: Path = self.world.room / "bot.log"
        return log.read_text()[-1500:] if log.exists() else "none"


def _run_id(message: Message) -> str | None:
    found = re.search(r"(?:Plan|Run) `([a-z2-7]{8})`", json.dumps(message.get("blocks", [])))
    return found[1] if found else None


def _iso(ts: str) -> str:
    return datetime.fromtimestamp(float(ts), UTC).isoformat(timespec="milliseconds")
