"""Modals and home views: trigger ids that work once within three seconds, and the views they opened."""

from __future__ import annotations

import copy
import itertools
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from rehearsal.slack.blocks import view_problems
from rehearsal.slack.errors import RefusedError, UnknownError
from rehearsal.slack.forms import elements
from rehearsal.slack.members import APP, BOT, TEAM
from rehearsal.slack.store import Store

Json = dict[str, Any]
FIELDS = ("callback_id", "private_metadata", "external_id")
NO_TITLE = {"type": "plain_text", "text": "View Title", "emoji": True}  # what Slack says of a home, which has none
MOST_BYTES = 250_000
SWITCHES = ("clear_on_close", "notify_on_close")


@dataclass(kw_only=True)
class Trigger:
    """The right of the app to open one view for one person, for a short time."""

    person: str
    until: float
    view: str = ""  # the open view that the interaction was in
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

    def trigger(self, person_id: str, view_id: str = "") -> str:
        """A new trigger id for an interaction of this person, in the view with this id if it was in one."""
        trigger_id = f"{time.time_ns() // 1_000_000}.{next(self._ids)}.{secrets.token_hex(8)}"
        self._triggers[trigger_id] = Trigger(person=person_id, until=time.monotonic() + self._seconds, view=view_id)
        return trigger_id

    def exchange(self, trigger_id: str, *, push: bool = False) -> str:
        """Use up a trigger; returns its person. Refused if it's unknown, expired or used before.

        A `push` needs one from an interaction in a modal that is still open: refused with not_found otherwise.
        """
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise RefusedError("invalid_trigger_id")
        if time.monotonic() > trigger.until:
            raise RefusedError("expired_trigger_id")
        if trigger.used:
            raise RefusedError("exchanged_trigger_id")
        if push and trigger.view not in {view["id"] for view in self.stacks.get(trigger.person, [])}:
            raise RefusedError("not_found")
        trigger.used = True
        return trigger.person

    def check(self, view: Any, kind: str) -> Json:
        """The view, if Slack would accept it as a `modal` or `home`; refused with invalid_arguments."""
        complaints = view_problems(view) if self._strict else []
        if self._strict and len(json.dumps(view)) > MOST_BYTES:
            raise RefusedError("view_too_large")
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
        if given.get("external_id") and any(given["external_id"] == v["external_id"] for s in self.stacks.values() for v in s):
            raise RefusedError("duplicate_external_id")
        if not push:
            stack.clear()
        view = self._make(given)
        view["previous_view_id"] = stack[-1]["id"] if stack else None
        view["root_view_id"] = stack[0]["id"] if stack else view["id"]
        stack.append(view)
        return view

    def publish(self, person_id: str, given: Json, expected_hash: str = "") -> Json:
        """Set the app's home view for this person; hash_conflict if the one until now has another hash than expected."""
        before = self.homes.get(person_id)
        if expected_hash and expected_hash != (before or {}).get("hash"):
            raise RefusedError("hash_conflict")
        fresh = self._make(given)
        if before is not None:
            fresh["id"] = fresh["root_view_id"] = before["id"]
        self.homes[person_id] = fresh
        return fresh

    def update(self, view: Json, given: Json) -> None:
        """Replace the contents of an open view; its id stays and its hash changes."""
        fresh = self._make(given)
        for name in ("id", "root_view_id", "previous_view_id"):
            fresh[name] = view[name]
        fresh["state"]["values"] = _kept(view["state"]["values"], fresh["blocks"])
        view.clear()
        view.update(fresh)

    def answered(self, person_id: str, view: Json, response: Json) -> str | None:
        """Do what the ack of a submission says; returns the error that Slack shows if the answer is faulty."""
        kind = response.get("response_action")
        if kind in (None, "clear"):
            self.close(person_id, view, whole=kind == "clear")
        elif kind == "errors":
            unknown = response.get("errors", {}).keys() - {block["block_id"] for block in view["blocks"]}
            return "invalid_errors_block_id" if unknown or not response.get("errors") else None
        elif kind == "update":
            self.update(view, self.check(response.get("view"), "modal"))
        elif kind == "push":
            self.open(person_id, self.check(response.get("view"), "modal"), push=True)
        else:
            return "invalid_response_action"
        return None

    def find(self, *, view_id: str = "", external_id: str = "") -> Json:
        """An open view by its id or the app's own id; refused with not_found."""
        for stack in [*self.stacks.values(), list(self.homes.values())]:
            for view in stack:
                if view["id"] == view_id or (external_id and view["external_id"] == external_id):
                    return view
        raise RefusedError("not_found")

    def of(self, person_id: str, view_id: str) -> Json:
        """The modal that this person has open under this id, or the app's home."""
        home = self.homes.get(person_id)
        for view in [*self.stacks.get(person_id, []), *([home] if home else [])]:
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
            "title": copy.deepcopy(given.get("title") or NO_TITLE),
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
    """What a person chose so far stays if the same block and element are there again, whatever their initial value."""
    there = {(block["block_id"], element.get("action_id")) for block, element in elements({"blocks": blocks})}
    return {
        block_id: {action_id: state for action_id, state in chosen.items() if (block_id, action_id) in there}
        for block_id, chosen in values.items()
        if any((block_id, action_id) in there for action_id in chosen)
    }
