"""A Slack workspace: people act in it, the bot hears of it by Socket Mode and answers by the Web API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rehearsal.slack import forms, payloads, typed
from rehearsal.slack.errors import RefusedError, UnknownError
from rehearsal.slack.events import RETRY_SECONDS, Events
from rehearsal.slack.faults import Faults
from rehearsal.slack.journal import Journal
from rehearsal.slack.limits import Limits
from rehearsal.slack.manifest import features, scopes
from rehearsal.slack.members import BOT_PERSON, TEAM, Person
from rehearsal.slack.modals import Modals
from rehearsal.slack.responses import Responses
from rehearsal.slack.selections import Selections
from rehearsal.slack.sockets import Ack, Sockets
from rehearsal.slack.store import Channel, Store, is_outside
from rehearsal.slack.uploading import Uploads

Json = dict[str, Any]
AWAY = Ack(acked=False, ack_ms=0.0, error="slack_away")


class Workspace:
    """State and behaviour of the workspace, all in one asyncio loop.

    If `strict`, it refuses what Slack would refuse: faulty blocks and views, missing scopes, commands that aren't in the
    manifest. `ack_seconds` and `trigger_seconds` are Slack's three seconds. `limits_speed` is how many times Slack's own
    rate limits it allows, `retry_seconds` when an event that wasn't acknowledged comes again. Guests are in the first channel
    only, everybody else and the bot in all of them.
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
        retry_seconds: Sequence[float] = RETRY_SECONDS,
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
        self.events = Events(manifest, self.sockets, retry_seconds)
        self.store = Store(list(channels))
        self.selections = Selections()
        for number, channel in enumerate(self.store.channels.values()):
            channel.members |= {p.id for p in self.people.values() if not p.deleted and (number == 0 or not p.guest)}
        self.modals = Modals(self.store, trigger_seconds=trigger_seconds, strict=strict)
        self.responses = Responses(self.store, strict=strict)
        self.uploads = Uploads()

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
            self._typed(command, text.strip()),
            trigger_id=self.modals.trigger(who.id),
            response_url=self.responses.create(self.sockets.base, who.id, where),
        )
        ack = await self.sockets.deliver("slash_commands", payload, person=who.name, says=f"{command} {text}")
        if not ack.acked:
            self._slackbot(who, where, f"{command} failed because the app did not respond")
        elif ack.response:
            self._show_answer(who, where, command, ack.response)
        return ack.to_json()

    async def click(
        self, person: str, channel: str, ts: str, action_id: str, *, value: Any = None, state: Json | None = None
    ) -> Json:
        """Press a button of a message, or choose in a menu: `value` is what was chosen, a list if it can be several.

        Among buttons with one id it says which, or is forged. `state` is what stands in the message's other inputs, in the
        short form of `submit`; what isn't given is as this person last left it.
        """
        who, where = self.person(person), self.channel(channel)
        message = self._visible_message(who, where, ts)
        action = forms.action(message, action_id, value, action_ts=self.store.next_ts())
        if self.faults.away:
            return AWAY.to_json()
        payload = payloads.block_actions(
            who,
            where,
            message,
            action,
            trigger_id=self.modals.trigger(who.id),
            response_url=self.responses.create(self.sockets.base, who.id, where, message),
            state=self.selections.change(who.id, message, action, state or {}),
        )
        return await self._interactive(who, payload, f"click {action_id}", accepts_response=False)

    async def click_view(
        self, person: str, view_id: str, action_id: str, *, value: Any = None, state: Json | None = None
    ) -> Json:
        """Press a button, or choose in a menu, in a modal or in the app's home; as `click` otherwise."""
        who = self.person(person)
        view = self.modals.of(who.id, view_id)
        action = forms.action(view, action_id, value, action_ts=self.store.next_ts())
        if self.faults.away:
            return AWAY.to_json()
        view["state"]["values"] = forms.with_choice(view, state or {}, view["state"]["values"], action)
        payload = payloads.view_actions(who, view, action, trigger_id=self.modals.trigger(who.id, view_id))
        return await self._interactive(who, payload, f"click {action_id}", accepts_response=False)

    async def shortcut(self, person: str, callback_id: str, channel: str = "", ts: str = "") -> Json:
        """Use a shortcut of the manifest: of a message if `channel` and `ts` name one, or a global one."""
        who = self.person(person)
        kind = "message" if ts else "global"
        if not any((s["callback_id"], s["type"]) == (callback_id, kind) for s in features(self.manifest, "shortcuts")):
            raise UnknownError(f"The manifest has no {kind} shortcut {callback_id!r}.")
        if self.faults.away:
            return AWAY.to_json()
        trigger_id, action_ts = self.modals.trigger(who.id), self.store.next_ts()
        if not ts:
            payload = payloads.global_shortcut(who, callback_id, trigger_id=trigger_id, action_ts=action_ts)
            return await self._interactive(who, payload, f"shortcut {callback_id}")
        where = self.channel(channel)
        message = self._visible_message(who, where, ts)
        url = self.responses.create(self.sockets.base, who.id, where, message)
        payload = payloads.message_shortcut(
            who, where, message, callback_id, trigger_id=trigger_id, response_url=url, action_ts=action_ts
        )
        return await self._interactive(who, payload, f"shortcut {callback_id}")

    async def choose(self, person: str, view_id: str, action_id: str, value: Any = None) -> Json:
        """Choose in an input of an open modal; the app is told only if its block dispatches an action."""
        view = self.modals.of(self.person(person).id, view_id)
        for block, element in forms.elements(view):
            if element.get("action_id") == action_id and block["type"] == "input" and not block.get("dispatch_action"):
                view["state"]["values"] = forms.state_values(view, {action_id: value}, view["state"]["values"])
                return {"acked": False, "ack_ms": 0.0, "response": None, "error": None}
        return await self.click_view(person, view_id, action_id, value=value)

    async def submit(self, person: str, view_id: str, state_values: Json) -> Json:
        """Submit a modal: the ack payload (`response_action`, `errors`…) together with `acked`, `ack_ms`, `error`."""
        who = self.person(person)
        view = self.modals.of(who.id, view_id)
        values = forms.state_values(view, state_values, view["state"]["values"])
        errors = forms.incomplete(view, values)
        if errors:
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": "incomplete", "errors": errors}
        if self.faults.away:
            return AWAY.to_json()
        payload = payloads.view_submission(who, view, values, trigger_id=self.modals.trigger(who.id, view_id))
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
        return await self._interactive(who, payloads.view_closed(who, view), "close view")

    async def open_home(self, person: str, tab: str = "home") -> Json:
        """Open the app's home; the app is told (`app_home_opened`) if the manifest subscribes to it."""
        who = self.person(person)
        if not self.events.subscribed("app_home_opened"):
            return {"acked": False, "ack_ms": 0.0, "response": None, "error": "not_subscribed"}
        body: Json = {"user": who.id, "tab": tab, "channel": self.store.direct(who.id).id, "event_ts": self.store.next_ts()}
        if tab == "home" and who.id in self.modals.homes:
            body["view"] = self.modals.homes[who.id]
        return (await self.events.send("app_home_opened", body, person=who.name)).to_json()

    async def post(self, person: str, channel: str, text: str, thread_ts: str | None = None) -> Json:
        """A person writes a message; returns it as stored. The app is told if it has subscribed to messages or mentions."""
        who, where = self.person(person), self.channel(channel)
        if not where.has(who.id) or where.archived:
            raise UnknownError(f"{who.name} can't write in {where.name}: {'archived' if where.archived else 'not a member'}.")
        stored = typed.with_ids(typed.escaped(text), self.people.values(), self.store.channels.values(), labels=False)
        message = self.store.person_message(where, who.id, stored, thread_ts=thread_ts)
        self.journal.changed("message", channel=where.id, ts=message["ts"])
        self.events.message(where, message)
        return message

    async def react(self, person: str, channel: str, ts: str, name: str) -> Json:
        """Add a reaction to a message, or take one's own back; the app is told if it has subscribed to reactions."""
        who, where = self.person(person), self.channel(channel)
        message = self._visible_message(who, where, ts)
        added = self.store.react(message, name, who.id)
        self.journal.changed("message", channel=where.id, ts=ts)
        self.events.reaction(where, message, name, who.id, added=added, event_ts=self.store.next_ts())
        return {"added": added}

    def join(self, person: str, channel: str, *, leave: bool = False) -> None:
        """Let a person or the bot join a channel, or leave it; the app is told if it has subscribed to that."""
        who, where = self.person(person), self.channel(channel)
        if where.has(who.id) != leave:
            return
        (where.members.discard if leave else where.members.add)(who.id)
        kind = where.kind[0][0].upper()
        event = {"user": who.id, "channel": where.id, "channel_type": kind, "event_ts": self.store.next_ts()}
        name = "member_left_channel" if leave else "member_joined_channel"
        self.events.tell(name, where, event | {"team": TEAM}, person=who.name)
        self.journal.changed("channel", channel=where.id)

    # What people see.

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Json]:
        """The messages of a channel outside threads, or one thread with its parent; as stored, oldest first."""
        where = self.channel(channel)
        if thread_ts is not None:
            return where.thread(thread_ts)
        return [m for m in where.messages if is_outside(m)]

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
        return [command["command"] for command in features(self.manifest, "slash_commands")]

    def scopes(self) -> list[str]:
        """The bot scopes of the manifest."""
        return scopes(self.manifest)

    async def close(self) -> None:
        """Close the bot's connections and release every watcher."""
        self.journal.close()
        await self.events.close()
        await self.sockets.close()

    # Helpers.

    async def _interactive(self, who: Person, payload: Json, says: str, *, accepts_response: bool = True) -> Json:
        sockets = self.sockets
        ack = await sockets.deliver("interactive", payload, accepts_response=accepts_response, person=who.name, says=says)
        return ack.to_json()

    def _visible_message(self, who: Person, where: Channel, ts: str) -> Json:
        mine = [m for m in self.ephemerals(who.id) if m["channel"] == where.id]
        for message in [*where.messages, *mine]:
            if message["ts"] == ts:
                return message
        raise UnknownError(f"{who.name} sees no message {ts} in {where.name}.")

    def _typed(self, command: str, text: str) -> str:
        """The text as the app gets it; with `should_escape`, it gets the names of people and channels as ids."""
        ours: Json = next((c for c in features(self.manifest, "slash_commands") if c["command"] == command), {})
        text = typed.escaped(text)
        if not ours.get("should_escape"):
            return text
        return typed.with_ids(text, self.people.values(), self.store.channels.values(), labels=True)

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
        try:
            return self.modals.answered(who.id, view, response)
        except RefusedError as error:
            self.journal.note("bad_ack", error=error.error, **error.more)
            return error.error
