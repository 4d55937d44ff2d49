"""A Slack workspace: people act in it, the bot hears of it by Socket Mode and answers by the Web API."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from rehearsal.slack import forms, payloads
from rehearsal.slack.errors import RefusedError, UnknownError
from rehearsal.slack.faults import Faults
from rehearsal.slack.journal import Journal
from rehearsal.slack.limits import Limits
from rehearsal.slack.members import BOT_PERSON, Person
from rehearsal.slack.modals import Modals
from rehearsal.slack.responses import Responses
from rehearsal.slack.sockets import Ack, Sockets
from rehearsal.slack.store import Channel, Store, api_message

Json = dict[str, Any]
MENTION = re.compile(r"(?<!\S)([@#])([\w.-]+)")


class Workspace:
    """State and behaviour of the workspace, all in one asyncio loop.

    If `strict`, it refuses what Slack would refuse: faulty blocks and views, missing scopes, commands that aren't in the
    manifest. `ack_seconds` and `trigger_seconds` are Slack's three seconds. `limits_speed` is how many times Slack's own
    rate limits it allows.
    """

    def __init__(
        self,
        *,
        manifest: Json,
        people: Sequence[Person],
        channels: Sequence[str],
        strict: bool = True,
        bot_token: str = "xoxb-rehearsal",
        app_token: str = "xapp-rehearsal",
        ack_seconds: float = 3.0,
        trigger_seconds: float = 3.0,
        limits_speed: float = 1.0,
    ) -> None:
        self.manifest = manifest
        self.strict = strict
        self.bot_token = bot_token
        self.app_token = app_token
        self.people = {person.id: person for person in (*people, BOT_PERSON)}
        self.journal = Journal()
        self.sockets = Sockets(self.journal, ack_deadline=ack_seconds)
        self.faults = Faults(self.journal, self.sockets)
        self.limits = Limits(limits_speed)
        self.store = Store(list(channels))
        self.modals = Modals(self.store, trigger_seconds=trigger_seconds, strict=strict)
        self.responses = Responses(self.store, strict=strict)

    # What people do.

    async def command(self, person: str, channel: str, text: str, *, command: str = "/dr") -> Json:
        """Type a slash command: `{"acked", "ack_ms", "response", "error"}`; a text in the ack becomes a message."""
        who, where = self.person(person), self.channel(channel)
        if self.strict and command not in self.commands():
            return self._not_sent(who, where, f"{command} is not a valid command.", "invalid_command")
        if self.faults.away:
            return self._not_sent(who, where, "Slack is away: the command was not sent.", "slack_away")
        payload = payloads.slash_command(
            who,
            where,
            command,
            self._escape(command, text.strip()),
            trigger_id=self.modals.trigger(who.id),
            response_url=self.responses.create(self.sockets.base, who.id, where),
        )
        ack = await self.sockets.deliver("slash_commands", payload, person=who.name, says=f"{command} {text}")
        if not ack.acked:
            self._slackbot(who, where, f"{command} failed because the app did not respond")
        elif ack.response:
            self._show_answer(who, where, command, ack.response)
        return ack.to_json()

    async def click(self, person: str, channel: str, ts: str, action_id: str, *, value: str | None = None) -> Json:
        """Press a button of a message, or choose in a menu. `value` chooses among buttons with one id, or is forged."""
        who, where = self.person(person), self.channel(channel)
        message = self._visible_message(who, where, ts)
        action = forms.action(message, action_id, value, action_ts=self.store.next_ts())
        if self.faults.away:
            return Ack(acked=False, ack_ms=0.0, error="slack_away").to_json()
        payload = payloads.block_actions(
            who,
            where,
            message,
            action,
            trigger_id=self.modals.trigger(who.id),
            response_url=self.responses.create(self.sockets.base, who.id, where, message),
        )
        ack = await self.sockets.deliver(
            "interactive", payload, accepts_response=False, person=who.name, says=f"click {action_id}"
        )
        return ack.to_json()

    async def choose(self, person: str, view_id: str, action_id: str, value: Any = None) -> Json:
        """Choose in an element of an open modal; the app is told if the element dispatches an action."""
        who = self.person(person)
        view = self.modals.of(who.id, view_id)
        action = forms.chosen(view, action_id, value, action_ts=self.store.next_ts())
        if not action:
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": None}
        if self.faults.away:
            return Ack(acked=False, ack_ms=0.0, error="slack_away").to_json()
        view["state"]["values"] = forms.state_values(view, {})
        payload = payloads.view_actions(who, view, action, trigger_id=self.modals.trigger(who.id))
        says = f"choose {action_id}"
        return (await self.sockets.deliver("interactive", payload, accepts_response=False, person=who.name, says=says)).to_json()

    async def submit(self, person: str, view_id: str, state_values: Json) -> Json:
        """Submit a modal: the ack payload (`response_action`, `errors`…) together with `acked`, `ack_ms`, `error`."""
        who = self.person(person)
        view = self.modals.of(who.id, view_id)
        values = forms.state_values(view, state_values)
        errors = forms.incomplete(view, values)
        if errors:
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": "incomplete", "errors": errors}
        if self.faults.away:
            return Ack(acked=False, ack_ms=0.0, error="slack_away").to_json()
        payload = payloads.view_submission(who, view, values, trigger_id=self.modals.trigger(who.id))
        ack = await self.sockets.deliver("interactive", payload, person=who.name, says=f"submit {view['callback_id']}")
        error = self._after_submit(who, view, ack.response or {}) if ack.acked else ack.error
        self.journal.changed("view", person=who.id)
        return {**(ack.response or {}), **ack.to_json(), "error": error}

    async def close_view(self, person: str, view_id: str) -> Json:
        """Close a modal without submitting it; the app is told if the view asked for that."""
        who = self.person(person)
        view = self.modals.of(who.id, view_id)
        self.modals.close(who.id, view)
        self.journal.changed("view", person=who.id)
        if not view["notify_on_close"]:
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": None}
        payload = payloads.view_closed(who, view)
        return (await self.sockets.deliver("interactive", payload, person=who.name, says="close view")).to_json()

    async def open_home(self, person: str) -> Json:
        """Open the app's home; the app is told (`app_home_opened`) if the manifest subscribes to it."""
        who = self.person(person)
        if "app_home_opened" not in self._settings("event_subscriptions").get("bot_events", []):
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": "not_subscribed"}
        body = {"user": who.id, "tab": "home", "channel": self.store.direct(who.id).id, "event_ts": self.store.next_ts()}
        payload = payloads.event("app_home_opened", body, event_id=f"Ev{secrets.token_hex(5).upper()}", now=int(time.time()))
        ack = await self.sockets.deliver("events_api", payload, accepts_response=False, person=who.name, says="app_home_opened")
        return ack.to_json()

    async def post(self, person: str, channel: str, text: str, thread_ts: str | None = None) -> Json:
        """A person writes a message; returns it as stored."""
        who, where = self.person(person), self.channel(channel)
        message = self.store.person_message(where, who.id, text, thread_ts=thread_ts)
        self.journal.changed("message", channel=where.id, ts=message["ts"])
        return message

    # What people see.

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Json]:
        """The messages of a channel outside threads, or one thread with its parent; as stored, oldest first."""
        where = self.channel(channel)
        if thread_ts is not None:
            return where.thread(thread_ts)
        return [m for m in where.messages if m.get("thread_ts") in (None, m["ts"])]

    def ephemerals(self, person: str) -> list[Json]:
        """What only this person sees, oldest first."""
        return self.store.ephemerals.get(self.person(person).id, [])

    def views(self, person: str) -> list[Json]:
        """The modals this person has open, the topmost last."""
        return self.modals.stacks.get(self.person(person).id, [])

    @property
    def log(self) -> list[Json]:
        """Every call, envelope, connection and fault, oldest first; `kind` says which."""
        return self.journal.entries

    def person(self, name_or_id: str) -> Person:
        """The person by name or id."""
        for person in self.people.values():
            if name_or_id in (person.id, person.name):
                return person
        raise UnknownError(f"There is no person {name_or_id!r} in this workspace.")

    def channel(self, name_or_id: str) -> Channel:
        """The channel by name or id."""
        try:
            return self.store.channel(name_or_id)
        except RefusedError as error:
            raise UnknownError(f"There is no channel {name_or_id!r} in this workspace.") from error

    def commands(self) -> list[str]:
        """The slash commands of the manifest."""
        return [command["command"] for command in self._features().get("slash_commands", [])]

    def scopes(self) -> list[str]:
        """The bot scopes of the manifest."""
        return list(self.manifest.get("oauth_config", {}).get("scopes", {}).get("bot", []))

    async def close(self) -> None:
        """Close the bot's connections and release every watcher."""
        self.journal.close()
        await self.sockets.close()

    # Helpers.

    def _features(self) -> Json:
        return dict(self.manifest.get("features") or {})

    def _settings(self, name: str) -> Json:
        return dict((self.manifest.get("settings") or {}).get(name) or {})

    def _visible_message(self, who: Person, where: Channel, ts: str) -> Json:
        mine = [m for m in self.ephemerals(who.id) if m["channel"] == where.id]
        for message in [*where.messages, *mine]:
            if message["ts"] == ts:
                return message
        raise UnknownError(f"{who.name} sees no message {ts} in {where.name}.")

    def _escape(self, command: str, text: str) -> str:
        """With `should_escape`, the app gets the names of people and channels as ids."""
        ours: Json = next((c for c in self._features().get("slash_commands", []) if c["command"] == command), {})
        return MENTION.sub(self._mention, text) if ours.get("should_escape") else text

    def _mention(self, match: re.Match[str]) -> str:
        sign, name = match.groups()
        named = self.people if sign == "@" else self.store.channels
        for item in named.values():
            if item.name == name:
                return f"<{sign}{item.id}|{name}>"
        return match.group()

    def _not_sent(self, who: Person, where: Channel, text: str, error: str) -> Json:
        self._slackbot(who, where, text)
        return Ack(acked=False, ack_ms=0.0, error=error).to_json()

    def _slackbot(self, who: Person, where: Channel, text: str) -> None:
        self.store.ephemeral(who.id, where, text, [])["user"] = "USLACKBOT"
        self.journal.changed("ephemeral", person=who.id)

    def _show_answer(self, who: Person, where: Channel, command: str, response: Json) -> None:
        try:
            self.responses.answer(who.id, where, response)
        except RefusedError as error:
            self.journal.note("bad_ack", error=error.error, **error.more)
            self._slackbot(who, where, f'{command} failed with the error "{error.error}"')
        self.journal.changed("message", channel=where.id, person=who.id)

    def _after_submit(self, who: Person, view: Json, response: Json) -> str | None:
        """What Slack does with the ack of a submission; the error it shows if the answer is faulty."""
        kind = response.get("response_action")
        try:
            if kind in (None, "clear"):
                self.modals.close(who.id, view, whole=kind == "clear")
            elif kind == "errors":
                unknown = response.get("errors", {}).keys() - {block["block_id"] for block in view["blocks"]}
                return "invalid_errors_block_id" if unknown or not response.get("errors") else None
            elif kind == "update":
                self.modals.update(view, self.modals.check(response.get("view"), "modal"))
            elif kind == "push":
                self.modals.open(who.id, self.modals.check(response.get("view"), "modal"), push=True)
            else:
                return "invalid_response_action"
        except RefusedError as error:
            self.journal.note("bad_ack", error=error.error, **error.more)
            return error.error
        return None

    def state(self, person: str | None = None) -> Json:
        """Everything the page shows; ephemerals, views, home and direct messages only for the given person."""
        who = self.person(person).id if person else None
        return {
            "people": [p.profile() | {"title": p.title} for p in self.people.values()],
            "channels": [{"id": c.id, "name": c.name} for c in self._visible(who)],
            "commands": self.commands(),
            "connected": len(self.sockets.open),
            "away": self.faults.away,
            "messages": {c.id: [self._with_replies(c, m) for m in self.messages(c.id)] for c in self._visible(who)},
            "ephemerals": self.ephemerals(who) if who else [],
            "views": self.views(who) if who else [],
            "home": self.modals.homes.get(who) if who else None,
        }

    def _visible(self, who: str | None) -> list[Channel]:
        return [c for c in self.store.channels.values() if c.person in (None, who)]

    def _with_replies(self, channel: Channel, message: Json) -> Json:
        replies = [m for m in channel.thread(message["ts"]) if m is not message]
        return api_message(message, channel) | {
            "pinned": message["pinned"],
            "replies": [api_message(r, channel) for r in replies],
        }
