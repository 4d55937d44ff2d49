"""What must hold after a trial: each effect once, the service healthy, the timeline complete and posted once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.aws.journal import Effect
from rehearsal.drills.catalogue import ENDED_SESSIONS
from rehearsal.drills.lost import wrong_loss
from rehearsal.drills.moved import wrong_after_move
from rehearsal.drills.restored import wrong_after_restore
from rehearsal.drills.verified import wrong_after_verification
from rehearsal.people import told
from rehearsal.waiting import NotSeen
from tests.story.conftest import logged_errors
from tests.story.crash_world import Recovery, ended_sessions

VOLATILE = (  # what differs from run to run, and the word that replaces it
    (r"digest [0-9a-f]{12}", "digest D"),
    (r"\bPlan [a-z2-7]{8}\b", "Plan P"),
    (r"ecs-svc/\d+", "ecs-svc/N"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"us-west-2[ab]", "ZONE"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)", "MOMENT"),
    (r"\d\d:\d\d:\d\d UTC", "MOMENT"),
    (r"restored-\d{8}-\d{6}", "restored-MOMENT"),
    (r"rds:shielda-prod-[\d-]+", "SNAPSHOT"),
    (r"in block \d+ of", "in block N of"),
    (r"verify-\d{8}-\d", "verify-DAY"),
    (r"(scratch database of temporary \S+): .*", r"\1: DAMAGE"),  # of a kind that the snapshot's name decides
    (r"(Scratch database \S+ of \S+ holds|The integrity suite found) .*", r"\1 DAMAGE"),
    (r"\b\d+ \(now \d+\)", "N (now N)"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "VERSION"),
    (r"\b(no row|1 row|\d+ rows)\b", "N rows"),
    (r"\bN rows (added|deleted|changed) since (is|are|comes?|gets?)( its| their)?", r"N rows \1 since"),
    (r"\b(\d+) of \1 sessions", "all sessions"),
    (r"\b\d+ of \d+ connections are used(, and \d+ of \d+ reserved ones)?", "N of M connections are used"),
    (r"\b0/[0-9A-F]+\b", "POSITION"),
    (r"\b[0-9a-f]{64}\b", "SHA-256"),
    (r"\b(public|drizzle)\.(\w+) \d+", r"\1.\2 N"),
    (r"\b(1 session has|\d+ sessions have) ended", "N sessions have ended"),
    (r"\b\d+(\.\d+)? ?(s|ms|min|%)(?!\w)", "N \\2"),
    (r"N s (before|after) the moment that it stands for", "N s from the moment that it stands for"),
    (r" \(about N rows\)", ""),  # of a loss: said if there are enough heartbeats to count by
    (
        r"(There are no earlier figures to compare with\. Rows now|The tables hold their rows, as they were counted .*?\. Now):",
        "ROWS",
    ),
    # The copy's own commits may hide it, and how soon they come is a matter of time.
    (r"(How old its newest commit is, is not known: |Its newest commit is from MOMENT ).*", "ITS NEWEST COMMIT"),
    (r" Fewer than before: public\.records N\.", ""),  # which the loss explains, if there is one
)
ATTACHED = re.compile(r"\*terraform plan .*\n```")  # a text that the thread has whole, and `dr show` apart from the lines


class Judge:
    """Judges one recovery. `judge` returns everything that's wrong, as sentences."""

    def __init__(self, recovery: Recovery) -> None:
        self.recovery = recovery
        self.world = recovery.world
        self.course = recovery.course
        self.drill = recovery.drill
        self.people = recovery.people
        self.run = recovery.run

    async def judge(self, expected: list[str] | None) -> list[str]:
        """Everything that's wrong; also with the thread, if one is expected from a trial without a kill."""
        shown = await self.world.show(self.run)
        lines = self.recovery.trial.thread = [canonical(message["text"], self.run) for message in self.people.replies(self.run)]
        self.recovery.trial.recorded = [line["text"] for line in shown["timeline"]]
        wrong = [*self._effects(), *self._ended_sessions(), *self._cards(), *self._timeline(shown)]
        if expected is not None:
            wrong += differences(in_order(expected), in_order(lines))
        errors = logged_errors(self.recovery.log())
        wrong += [f"logged as an error: {e['event']}: {str(e.get('exception', ''))[-600:]}" for e in errors]
        return wrong + await self._witness()

    def _effects(self) -> Iterator[str]:
        expected = [effect for effect in self.drill.effects if effect != ENDED_SESSIONS]
        sources = ("bot", "terraform") if self.drill.shows == "region" else ("bot",)
        effects = [effect for source in sources for effect in self.world.journal.effects(source=source)]
        if self._in_order(effects) != self._in_order(expected):
            yield f"effects were {effects}"
        calls = [call for source in sources for call in self.world.journal.calls(source=source, changing=True)]
        sent = sum(call["fault"] != "access_denied" for call in calls)
        if sent != sum(effect["count"] for effect in expected):
            yield f"{sent} changing calls were sent"

    def _in_order(self, effects: list[Effect]) -> list[Effect]:
        """The effects, with those that run side by side sorted: either may come first. Of a region, some are terraform's."""
        if self.drill.shows == "region":
            return sorted(effects, key=str)
        beside = self.course.side_by_side
        return [*sorted(effects[:beside], key=lambda effect: effect["operation"]), *effects[beside:]]

    def _ended_sessions(self) -> Iterator[str]:
        if self.drill.shows == "region":  # a fence ends sessions, of however many databases
            return
        statements = self.world.database.statements()[self.recovery.statements_before :]
        sent = sum(ENDED_SESSIONS["operation"] in line for line in statements)
        if sent != (1 if ENDED_SESSIONS in self.drill.effects else 0):
            yield f"{sent} statements ended sessions"
        if ENDED_SESSIONS not in self.drill.effects:
            return
        ended, meant = ended_sessions(self.world) - self.recovery.ended_before, self.recovery.sessions
        if {pid for pid, _ in ended} & meant != meant or set(ended.values()) != {1} or not meant:
            yield f"of the sessions {sorted(meant)} these were ended: {ended}"
        others = {pid: application for pid, application in ended if application != "nightly-report"}
        if others:
            yield f"other sessions were ended: {others}"

    def _cards(self) -> Iterator[str]:
        if (count := self.people.ids().count(self.run)) != 1:
            yield f"the run has {count} cards"
        if len(self.people.ids()) != self.course.cards and "typed again" not in self.recovery.trial.repeats:
            yield f"there are {len(self.people.ids())} cards in the channel"
        if not self.people.card(self.run).get("pinned"):
            yield "the card is not pinned"

    def _timeline(self, shown: dict[str, Any]) -> Iterator[str]:
        outcomes = [step["outcome"] for step in shown["steps"]]
        unproven = [outcome for outcome in outcomes if outcome not in ("done", "already done")]
        if shown["state"] != self.drill.end.lower() or (self.course.proven and unproven):
            yield f"`dr show` says {shown['state']}, {outcomes}"
        recorded = told(shown["timeline"])
        posted = [line for line in self.people.thread(self.run) if not ATTACHED.match(line)]
        if recorded != posted:
            yield f"`dr show` prints {recorded}, and the thread has {posted}"

    async def _witness(self) -> list[str]:
        try:
            await self.world.witness.healthy(20)
        except NotSeen:
            return ["the witness still sees an outage"]
        lost = (await self.world.witness.verify())["rows_lost"]
        if self.drill.shows == "nothing":
            return wrong_after_verification(self.world) + ([f"{lost} acknowledged rows are lost"] if lost else [])
        if self.drill.shows == "data":
            return await wrong_after_restore(self.world, self.world.faults.data.incidents[-1])
        if self.drill.shows == "region":
            return await self._moved(lost)
        return [f"{lost} acknowledged rows are lost"] if lost else []

    async def _moved(self, lost: int) -> list[str]:
        """Names, secret and databases are as they must be, no two databases took writes, and the loss is what was agreed to."""
        wrong = await wrong_after_move(self.world, self.drill, self.recovery.approved_at)
        if self.drill.fault:
            figure = wrong_loss(self.recovery.stated, self.world.witness.report()["rpo_seconds"])
            return [*wrong, figure] if figure else wrong
        return [*wrong, f"{lost} acknowledged rows are lost"] if lost else wrong


def canonical(text: str, run: str) -> str:
    """A line of the thread without what differs from run to run."""
    for pattern, word in VOLATILE:
        text = re.sub(pattern, word, text.replace(run, "RUN"))
    if text.startswith("*Evidence"):  # the tables with the most rows come first, and how many differ isn't the same twice
        first, *found = text.split("\n:")
        text = "\n:".join([first, *sorted(found)])
    return text


def in_order(lines: list[str]) -> list[str]:
    """The lines with those of one stage sorted by step, because the steps of a stage run side by side."""

    def place(numbered: tuple[int, str]) -> tuple[int, int]:
        number, line = numbered
        step = re.search(r"Step (\d+)\.(\d+)", line)
        if step is None:
            return (number, 0)
        first = next(n for n, other in enumerate(lines) if f"Step {step[1]}." in other)
        return (first, int(step[2]))

    return [line for _, line in sorted(enumerate(lines), key=place)]


def differences(expected: list[str], lines: list[str]) -> list[str]:
    """How a thread differs from one without a kill. A step may end by finding that an earlier attempt had worked."""
    if len(expected) != len(lines):
        return [f"the thread has {len(lines)} lines instead of {len(expected)}: {lines}"]
    return [f"{line!r} instead of {wanted!r}" for wanted, line in zip(expected, lines, strict=True) if not same(wanted, line)]


def same(expected: str, line: str) -> bool:
    """Whether two lines say the same, or the second that the step was done by an earlier attempt."""
    step = re.search(r"(Step \S+) done:", expected)
    return expected == line or bool(step and f"{step[1]} already done: An earlier try had worked:" in line)
