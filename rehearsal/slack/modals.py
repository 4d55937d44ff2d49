"""Modals and home views: trigger ids that work once within three seconds, and the views they opened."""

from __future__ import annotations

import copy
import itertools
import secrets
import time
from dataclasses import dataclass
from typing import Any

from rehearsal.slack.blocks import view_problems
from rehearsal.slack.errors import RefusedError, UnknownError
from rehearsal.slack.members import APP, BOT, TEAM
from rehearsal.slack.store import Store

Json = dict[str, Any]
FIELDS = ("callback_id", "private_metadata", "external_id")
SWITCHES = ("clear_on_close", "notify_on_close")


@dataclass(kw_only=True)
class Trigger:
    """The right of the app to open one view for one person, for a short time."""

    person: str
    until: float
    used: bool = False


class Modals:
    """The open modals of every person, the home views, and the triggers that may open more."""

    def __init__(self, store: Store, *, trigger_seconds: float, strict: bool) -> None:
        self._store = store
        self._seconds = trigger_seconds
        self._strict = strict
        self._triggers: dict[str, Trigger] = {}
        self._ids = itertools.count(1)
        self.stacks: dict[str, list[Json]] = {}
        self.homes: dict[str, Json] = {}

    def trigger(self, person_id: str) -> str:
        """A new trigger id for an interaction of this person."""
        trigger_id = f"{time.time_ns() // 1_000_000}.{next(self._ids)}.{secrets.token_hex(8)}"
        self._triggers[trigger_id] = Trigger(person=person_id, until=time.monotonic() + self._seconds)
        return trigger_id

    def exchange(self, trigger_id: str) -> str:
        """Use up a trigger; returns its person. Refused if it's unknown, expired or used before."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise RefusedError("invalid_trigger_id")
        if time.monotonic() > trigger.until:
            raise RefusedError("expired_trigger_id")
        if trigger.used:
            raise RefusedError("exchanged_trigger_id")
        trigger.used = True
        return trigger.person

    def check(self, view: Any, kind: str) -> Json:
        """The view, if Slack would accept it as a `modal` or `home`; refused with invalid_arguments."""
        complaints = view_problems(view) if self._strict else []
        if self._strict and isinstance(view, dict) and view.get("type") not in (kind, None):
            complaints.append(f"[ERROR] must be one of: {kind} [json-pointer:/view/type]")
        if complaints or not isinstance(view, dict):
            raise RefusedError("invalid_arguments", response_metadata={"messages": complaints})
        return view

    def open(self, person_id: str, given: Json, *, push: bool = False) -> Json:
        """Open a modal for this person, on top of those that are open with `push`, or else in their place."""
        stack = self.stacks.setdefault(person_id, [])
        if push and len(stack) >= 3:
            raise RefusedError("push_limit_reached")
        if not push:
            stack.clear()
        view = self._make(given)
        view["previous_view_id"] = stack[-1]["id"] if stack else None
        view["root_view_id"] = stack[0]["id"] if stack else view["id"]
        stack.append(view)
        return view

    def publish(self, person_id: str, given: Json) -> Json:
        """Set the app's home view for this person."""
        self.homes[person_id] = self._make(given)
        return self.homes[person_id]

    def update(self, view: Json, given: Json) -> None:
        """Replace the contents of an open view; its id stays and its hash changes."""
        fresh = self._make(given)
        for name in ("id", "root_view_id", "previous_view_id"):
            fresh[name] = view[name]
        fresh["state"]["values"] = _kept(view["state"]["values"], fresh["blocks"])
        view.clear()
        view.update(fresh)

    def find(self, *, view_id: str = "", external_id: str = "") -> Json:
        """An open view by its id or the app's own id; refused with not_found."""
        for stack in self.stacks.values():
            for view in stack:
                if view["id"] == view_id or (external_id and view["external_id"] == external_id):
                    return view
        raise RefusedError("not_found")

    def of(self, person_id: str, view_id: str) -> Json:
        """The view that this person has open under this id."""
        for view in self.stacks.get(person_id, []):
            if view["id"] == view_id:
                return view
        raise UnknownError(f"{person_id} has no view {view_id} open.")

    def close(self, person_id: str, view: Json, *, whole: bool = False) -> None:
        """Close this view, or the `whole` stack."""
        stack = self.stacks.get(person_id, [])
        self.stacks[person_id] = [] if whole else [v for v in stack if v is not view]

    def _make(self, given: Json) -> Json:
        view_id = f"V{next(self._ids):08d}"
        return {
            "id": view_id,
            "team_id": TEAM,
            "app_id": APP,
            "app_installed_team_id": TEAM,
            "bot_id": BOT,
            "type": given["type"],
            "title": copy.deepcopy(given.get("title")),
            "submit": copy.deepcopy(given.get("submit")),
            "close": copy.deepcopy(given.get("close")),
            "blocks": self._store.with_block_ids(given.get("blocks", [])),
            **{name: given.get(name, "") for name in FIELDS},
            **{name: bool(given.get(name)) for name in SWITCHES},
            "state": {"values": {}},
            "hash": f"{int(time.time())}.{secrets.token_hex(4)}",
            "root_view_id": view_id,
            "previous_view_id": None,
        }


def _kept(values: Json, blocks: list[Json]) -> Json:
    """What a person chose so far stays where the same block and element are there again, whatever their initial value."""
    there = {(block["block_id"], block["element"].get("action_id")) for block in blocks if block["type"] == "input"}
    return {
        block_id: {action_id: state for action_id, state in chosen.items() if (block_id, action_id) in there}
        for block_id, chosen in values.items()
        if any((block_id, action_id) in there for action_id in chosen)
    }
