"""The form in which a person chooses the moment of a restore: in their own time zone, with UTC and the loss beside it.

It opens at once, because Slack gives three seconds for that; what RDS can restore to is filled in when it is known. Slack shows
the picker in the zone of whoever looks at it. Submitting it is the same as typing the command with this time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

import structlog

from actions.values import Json
from actions.world import World
from bot.slack import blocks
from bot.state.store import Item, Refusal
from commands.facts import gathering
from commands.moments import clock, iso
from commands.plan import spelled
from commands.restore import RESTORE
from commands.restore_time import Window, gives_up, refusal, window_of
from commands.scenario import BadCommand, Request
from commands.shared import chosen_database

log = structlog.get_logger(__name__)
CALLBACK, PICKED, FIELD = "dr_restore_time", "dr_time", "time"
FIRST_GUESS = 5 * 60  # seconds back: what the picker shows first
NOT_OPENED = "Slack did not say that it opened the form, so type the time: `/dr database restore time=10:30`. Nothing was done."


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the form shows: for which database, the moment chosen in it, and what RDS can restore to once it is known."""

    channel: str
    database: str
    instance: str
    at: int
    window: Window | None = None

    @property
    def metadata(self) -> str:
        """All but the moment, as Slack keeps it with the form."""
        window = self.window or Window()
        bounds = [int(at.timestamp()) if at else None for at in (window.earliest, window.latest)]
        kept = {"channel": self.channel, "database": self.database, "instance": self.instance, "bounds": bounds}
        return json.dumps(kept | {"error": window.error[:500], "known": self.window is not None}, separators=(",", ":"))

    @classmethod
    def read(cls, metadata: str, at: int) -> Self:
        """The form behind what Slack kept. Raises `ValueError` if it isn't ours."""
        try:
            kept = json.loads(metadata)
            earliest, latest = (datetime.fromtimestamp(bound, UTC) if bound else None for bound in kept["bounds"])
            window = Window(earliest=earliest, latest=latest, error=str(kept["error"])) if kept["known"] else None
            names = {name: str(kept[name]) for name in ("channel", "database", "instance")}
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError("This isn't a form for the time of a restore.") from error
        return cls(**names, at=at, window=window)

    def wrong(self, now: datetime) -> str:
        """Why the moment chosen in it can't be restored to; "" if it can, or if that isn't known."""
        says = refusal(self.window or Window(), self.moment, now)
        return f"{says} Choose another time; nothing was done." if says else ""

    @property
    def moment(self) -> datetime:
        """The moment chosen in it."""
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def text(self) -> str:
        """The command that a person would type instead."""
        given = {"time": iso(self.moment), "database": self.database}
        return spelled(RESTORE, {name: value for name, value in given.items() if value})


def form_view(form: Form, now: datetime) -> Json:
    """The modal; the same picker each time, so that Slack keeps what was chosen."""
    wrong = refusal(form.window or Window(), form.moment, now)
    own_zone = f"<!date^{form.at}^{{date_short_pretty}}, {{time_secs}}|{clock(form.moment)}>"
    chosen = f"{own_zone} is *{clock(form.moment)}*.\n"
    means = f":octagonal_sign: {chosen}{wrong}" if wrong else f":warning: {chosen}{gives_up(form.moment, now)}"
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": form.metadata,
        "title": blocks.plain("Restore to which time?"),
        "submit": blocks.plain("Make the plan"),
        "close": blocks.plain("Go back"),
        "blocks": [
            blocks.section(f"*{form.instance}* as it was then. Nothing is done before another person has approved the plan."),
            {
                "type": "input",
                "block_id": FIELD,
                "dispatch_action": True,
                "label": blocks.plain("Date and time, in your time zone"),
                "hint": blocks.plain("To the second: type /dr database restore time=10:30:15 (UTC) instead."),
                "element": {"type": "datetimepicker", "action_id": PICKED, "initial_date_time": form.at},
            },
            blocks.section(means),
            blocks.context(form.window.says if form.window else "Asking RDS how far back and up to when it can restore ..."),
        ],
    }


class RestoreForm:
    """Opens the form, and keeps it up to date while a person chooses. One change at a time for each form."""

    def __init__(self, slack: Any, world: World) -> None:
        self._slack = slack
        self._world = world
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._shown: dict[str, tuple[float, Form]] = {}  # by the form's id: when it was chosen, and what it shows

    async def open(self, item: Item, request: Request) -> None:
        """Open the form for whoever typed the command without a time, and fill in what RDS says. Raises `Refusal`."""
        name = request.arguments.get("database", "")
        database = chosen_database(self._world, name)
        if set(request.arguments) - {"database"}:
            raise BadCommand(f"`/dr {RESTORE}` takes only time= and database=.")
        now = int(time.time())
        at = (now - FIRST_GUESS) // 60 * 60  # a picker has no seconds
        form = Form(channel=item.channel, database=name, instance=database.instance, at=at)
        try:
            view = form_view(form, datetime.now(UTC))
            answer = await self._slack.views_open(trigger_id=item.payload.get("trigger_id", ""), view=view)
        except Exception as error:  # Slack is away, or the command is older than the three seconds that Slack gives
            log.warning("form_not_opened", item=item.id, error=str(error))
            raise Refusal(NOT_OPENED) from error
        with gathering():
            window = await window_of(self._world, database)
        await self._show(str(answer["view"]["id"]), window=window, first=form)

    async def pick(self, item: Item) -> None:
        """Show what a choice means. A choice that another one has overtaken is no longer shown."""
        try:
            form = Form.read(item.payload["metadata"], item.payload["at"])
        except ValueError as error:  # of an earlier version
            log.warning("form_unknown", item=item.id, error=str(error))
            return
        await self._show(item.payload["view"], chosen=float(item.payload["moment"]), at=form.at, first=form)

    async def _show(
        self, view: str, *, first: Form, window: Window | None = None, chosen: float = 0.0, at: int | None = None
    ) -> None:
        async with self._locks[view]:
            when, form = self._shown.get(view, (0.0, first))
            if at is not None and chosen < when:
                return
            known = window or form.window
            form = replace(form, at=form.at if at is None else at, window=known)
            self._shown[view] = max(when, chosen), form
            try:
                await self._slack.views_update(view_id=view, view=form_view(form, datetime.now(UTC)))
            except Exception as error:  # the person has closed or submitted it, or Slack is away: the plan says it all again
                log.info("form_not_updated", view=view, error=str(error))
            while len(self._shown) > 100:  # forms of long ago
                oldest = next(iter(self._shown))
                del self._shown[oldest]
                self._locks.pop(oldest, None)


def picked(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a payload of block_actions says about this form: its id, its text, the choice and its moment; None if it's another."""
    view, actions = body.get("view"), body.get("actions")
    if not isinstance(view, dict) or view.get("callback_id") != CALLBACK or not isinstance(actions, list) or not actions:
        return None
    action = actions[0]
    if not isinstance(action, dict) or action.get("action_id") != PICKED or not isinstance(action.get("selected_date_time"), int):
        return None
    kept = {"view": view.get("id"), "metadata": view.get("private_metadata"), "moment": action.get("action_ts")}
    return {**kept, "at": action["selected_date_time"]} if all(isinstance(text, str) for text in kept.values()) else None


def submitted(view: Mapping[str, Any]) -> Form:
    """The form as it was submitted. Raises `ValueError` with the line for the form."""
    try:
        at = view["state"]["values"][FIELD][PICKED]["selected_date_time"]
        return Form.read(view["private_metadata"], int(at))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("Choose a date and a time.") from error
