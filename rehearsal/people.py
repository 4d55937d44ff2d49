"""Act as people in Slack: type a command, wait for a plan, press a button, fill in a form, read a thread.

Drills, stories, the crash matrix and the storm all act through this. It uses only what Slack itself has: messages with
their metadata, buttons and forms.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from rehearsal.slack.workspace import Workspace
from rehearsal.waiting import until

Json = dict[str, Any]
CHANNEL = "incident"
APPROVE = "dr_approve"
HOLD_YES = "dr_hold_yes"  # a card with this button waits for a Yes or No
UNDECIDED = "dr_retry"  # a card with this button waits for a decision
ENDS = ("Done", "Failed", "Aborted", "Stopped", "Not started")  # the first words of the card of a run that is over
CLEANING_UP = "Now the clean-up"  # the thread says so before the steps that follow every end
FORM_SECONDS = 5.0
QUIET_SECONDS = 0.35
QUIET = ("note", "question")  # marks of what the card, or a question's own message, says


class NotAcknowledged(Exception):
    """The bot did not acknowledge what somebody did; the message says what, and Slack's error."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What somebody does once a card has the button `when`: press it, press `button` instead, or type `command`.

    `by` is a role of a drill: requester, approver or colleague. `reason` goes into the form that the button opens. `{run}`
    in a command stands for the run's id.
    """

    by: str
    when: str
    button: str = ""
    command: str = ""
    reason: str = ""


class People:
    """The incident channel: what people do in it, and what they see. Messages before `since` (a ts) don't count."""

    def __init__(self, slack: Workspace, *, since: str = "") -> None:
        self.slack = slack
        self.since = since

    # What people do ---------------------------------------------------------------------------------------------------

    async def type(self, person: str, text: str) -> str:
        """Type `/dr text`; returns the bot's immediate answer. NotAcknowledged if there is none."""
        answer = await self.slack.command(person, CHANNEL, text)
        _require_ack(answer, f"/dr {text}")
        return str((answer["response"] or {}).get("text", ""))

    async def plan(self, person: str, text: str, timeout: float = 10.0) -> str:
        """Ask for a plan and wait until it can be approved; returns its id."""
        known, told = self.ids(), len(self.slack.ephemerals(person))
        await self.type(person, text)

        def instead() -> str:
            return f"/dr {text} led to no plan. {person} was told: {[m['text'] for m in self.slack.ephemerals(person)[told:]]}"

        return await self.new_plan(known, timeout, instead)

    async def new_plan(self, known: Collection[str] = (), timeout: float = 10.0, instead: Callable[[], str] = str) -> str:
        """Wait for a plan that can be approved, other than those known; returns its id. `instead` says what came if none did."""

        def new() -> list[str]:
            return [run for run in self.ids() if run not in known]

        def what() -> str:
            return f"a plan to approve. {instead()} New cards: {[self.says(run) for run in new()]}"

        return await until(lambda: next((run for run in new() if APPROVE in self.buttons(run)), None), timeout, what)

    async def click(self, person: str, run: str, button: str, value: str | None = None) -> None:
        """Press a button on the card of a plan or run. An Approve that wants a name typed gets it, once its form is open.

        NotAcknowledged if the bot doesn't react.
        """
        name = self.name_to_type(run) if button == APPROVE else ""
        if name:
            await self.close_forms(person)
        await self.press(person, run, button, value)
        if name:
            await self.fill_in(person, typed=name)

    async def press(self, person: str, run: str, button: str, value: str | None = None) -> None:
        """Press a button and nothing else. NotAcknowledged if the bot doesn't react."""
        answer = await self.slack.click(person, CHANNEL, self.card(run)["ts"], button, value=value)
        _require_ack(answer, f"the button {button}")

    async def fill_in(self, person: str, **values: str) -> Json:
        """Submit the form that this person has open, waiting for it; returns Slack's answer with any `errors`."""
        form = await self.form(person)
        answer = await self.slack.submit(person, form["id"], values)
        _require_ack(answer, "the form")
        return answer

    async def close_forms(self, person: str) -> None:
        """Close the forms that this person has open."""
        for earlier in list(self.slack.views(person)):
            await self.slack.close_view(person, earlier["id"])

    async def form(self, person: str, timeout: float = FORM_SECONDS) -> Json:
        """The form that this person has open, waiting for it."""
        return (await until(lambda: self.slack.views(person), timeout, f"a form for {person}"))[-1]

    async def asked(self, answer: Answer, run: str, timeout: float = 30.0) -> None:
        """Wait until the card has the button that this answer is for."""
        await until(lambda: answer.when in self.buttons(run), timeout, lambda: f"{answer.when} on {self.card(run)['text']}")

    async def give(self, answer: Answer, person: str, run: str) -> None:
        """Answer as this person, whether or not the button is there. NotAcknowledged if the bot doesn't react."""
        if answer.command:
            await self.type(person, answer.command.format(run=run))
            return
        await self.close_forms(person)
        await self.click(person, run, answer.button or answer.when)
        if answer.reason:
            await self.fill_in(person, reason=answer.reason)

    # What people see --------------------------------------------------------------------------------------------------

    def messages(self) -> list[Json]:
        """The messages of the channel outside threads, oldest first."""
        return [message for message in self.slack.messages(CHANNEL) if message["ts"] > self.since]

    def ids(self) -> list[str]:
        """The ids of all plans and runs, oldest first."""
        return [run for run in map(run_of, self.messages()) if run]

    def open_plans(self) -> list[str]:
        """The ids of the plans that can be approved."""
        return [run for run in self.ids() if APPROVE in self.buttons(run)]

    def card(self, run: str) -> Json:
        """The card of a plan or run."""
        for message in self.messages():
            if run_of(message) == run:
                return message
        raise LookupError(f"There is no card of {run} in the channel.")

    def title(self, run: str) -> str:
        """The first words of a card, such as Done."""
        return str(self.card(run)["text"]).partition(":")[0]

    def says(self, run: str) -> str:
        """All the text of a card."""
        return json.dumps(self.card(run)["blocks"], ensure_ascii=False)

    def buttons(self, run: str) -> list[str]:
        """The action ids of a card's buttons."""
        elements = [e for block in self.card(run)["blocks"] if block["type"] == "actions" for e in block["elements"]]
        return [e["action_id"] for e in elements]

    def name_to_type(self, run: str) -> str:
        """The name that an approver of this plan must type, as its card says; "" if there is none to type."""
        asks = re.search(r"and type `([^`]+)`", self.says(run))
        return asks[1] if asks else ""

    def question(self, run: str) -> str:
        """What a card's buttons are about, as Slack sends it back: another one for each question."""
        elements = [e for block in self.card(run)["blocks"] if block["type"] == "actions" for e in block["elements"]]
        return str(elements[0].get("value", "")) if elements else ""

    def replies(self, run: str) -> list[Json]:
        """The messages in the thread of a card, without what belongs to its plan."""
        return [m for m in self._in_thread(run) if not _key(m).startswith((f"{run}/evidence/", f"{run}/whole/"))]

    def had_no_room(self, run: str) -> list[Json]:
        """The messages in the thread with what a plan's card had no room for."""
        return [m for m in self._in_thread(run) if _key(m).startswith(f"{run}/whole/")]

    def _in_thread(self, run: str) -> list[Json]:
        ts = self.card(run)["ts"]
        return [m for m in self.slack.messages(CHANNEL, ts) if m["ts"] != ts]

    def thread(self, run: str) -> list[str]:
        """The lines in the thread of a card, without the symbols they begin with."""
        return [re.sub(r"^:\w+: ", "", html.unescape(message["text"])) for message in self.replies(run)]

    def is_over(self, run: str) -> bool:
        """Whether the card says how the run ended."""
        return self.title(run) in ENDS

    async def ended(self, run: str, timeout: float = 30.0) -> str:
        """Wait until the run is over and the bot has nothing more to say; returns how it ended."""
        await until(lambda: self.is_over(run), timeout, lambda: self._state_of(run))
        await self.quiet()
        return self.title(run)

    async def waiting(self, run: str, timeout: float = 30.0) -> None:
        """Wait until the run asks for a decision."""
        await until(lambda: UNDECIDED in self.buttons(run), timeout, lambda: self._state_of(run))

    async def quiet(self, seconds: float = QUIET_SECONDS) -> None:
        """Wait until the bot hasn't said anything for a while."""
        count, since = self._calls(), time.monotonic()
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.05)
            if count != (now := self._calls()):
                count, since = now, time.monotonic()

    def _calls(self) -> int:
        return sum(entry["kind"] == "call" and entry["method"] != "users.info" for entry in self.slack.log)

    def _state_of(self, run: str) -> str:
        return "\n".join([f"the end of the run. Its card says {self.title(run)}, its thread:", *self.thread(run)])


def run_of(message: Json) -> str | None:
    """The id of the plan or run whose card this message is; None for any other message. The bot puts it into the metadata."""
    key = _key(message)
    return key if key and "/" not in key else None


def told(timeline: Iterable[Json]) -> list[str]:
    """The lines of a run's timeline, as `dr show` has it, that its thread has too. The others stand on cards."""
    return [line["text"] for line in timeline if line["mark"] not in QUIET]


def _key(message: Json) -> str:
    return str(message.get("metadata", {}).get("event_payload", {}).get("key", ""))


def _require_ack(answer: Json, what: str) -> None:
    if not answer["acked"]:
        raise NotAcknowledged(f"The bot did not acknowledge {what}: {answer['error']}.")
