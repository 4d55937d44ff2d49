"""The Slack app: Bolt over Socket Mode or HTTP. Here an event is checked, recorded and acknowledged; `Handlers` do the rest."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.respond.async_respond import AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient

from actions.scrub import plain, scrub
from bot.choices import CHOICES
from bot.settings import Settings
from bot.slack import cards, restore_form
from bot.slack.evidence import ELSEWHERE, read_shortcut
from bot.slack.home import PICK
from bot.slack.home_tab import publish
from bot.slack.inbox import Inbox
from bot.slack.mrkdwn import inert, shown
from bot.slack.payloads import ID, UNTYPED, Malformed, id_of, item, maybe, text_of, unescaped
from bot.slack.pick_form import CALLBACK, SCENARIO
from bot.slack.planned import PLAN, placed, planned, read_planned
from bot.slack.webhook import Webhook
from bot.state.store import Item, Store
from commands.scenario import BadCommand, Request, help_text, parse

log = structlog.get_logger(__name__)
CONNECTIONS = 2  # Slack sends each payload to one of them; one may be gone while the other lives
PING_SECONDS = 3
BUTTONS = ("dr_approve", "dr_reject", *(choice.action_id for choice in CHOICES.values()))
MOST_TYPED, MOST_REASON = 1000, 300  # characters of a command, and of a reason
MOST_SAID = 3900  # characters of an answer that only one person sees
_VALUE = re.compile(r"[\w.-]{1,64}:[\w.#-]{1,64}:[\w-]{1,64}", re.ASCII)  # run, question and nonce
Ack = Callable[..., Awaitable[Any]]


class WrongName(ValueError):
    """A form approves a plan with another name than the plan's. The message is the line for the form."""


class WrongTime(ValueError):
    """A form asks for a restore to a moment that can't be restored to. The message is the line for the form."""


def slack_client(settings: Settings) -> AsyncWebClient:
    """A client without retries of its own: the outbox alone decides what is sent again."""
    return AsyncWebClient(
        token=settings.bot_token.get_secret_value(), base_url=settings.slack.api_url, retry_handlers=[], timeout=10
    )


class App:
    """Slack's side of the bot. `connect()` starts receiving what people do, `close()` stops."""

    def __init__(self, settings: Settings, client: AsyncWebClient, inbox: Inbox, store: Store) -> None:
        self._settings = settings
        self._slack = client
        self._inbox = inbox
        self._store = store
        self._bolt = bolt = AsyncApp(
            client=client, authorize=_authorize, process_before_response=True, request_verification_enabled=False
        )
        bolt.command(re.compile(".*"))(self._on_command)
        bolt.action(re.compile(".*"))(self._on_click)
        bolt.view(re.compile(".*"))(self._on_submit)
        bolt.shortcut(re.compile(".*"))(self._on_shortcut)
        bolt.event("app_home_opened")(self._on_home)
        bolt.error(self._on_error)
        self._beside: set[asyncio.Task[Any]] = set()
        self._handlers: list[AsyncSocketModeHandler] = []
        self._webhook = Webhook(settings, bolt, store) if settings.slack.mode == "http" else None

    async def connect(self) -> None:
        """Open the connections to Slack, or listen for its requests; what an earlier try opened is closed."""
        await self.close()
        if self._webhook:
            await self._webhook.open()
            return
        token = self._settings.app_token.get_secret_value()
        self._handlers = [AsyncSocketModeHandler(self._bolt, token, ping_interval=PING_SECONDS) for _ in range(CONNECTIONS)]
        for handler in self._handlers:
            await handler.connect_async()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close the connections to Slack, or stop listening."""
        if self._webhook:
            await self._webhook.close()
        handlers, self._handlers = self._handlers, []
        for handler in handlers:
            await handler.close_async()  # type: ignore[no-untyped-call]

    async def _on_command(self, ack: Ack, body: dict[str, Any]) -> None:
        try:
            item = read_command(body)
            request = parse(item.payload["text"])
        except (BadCommand, Malformed) as error:
            await ack(shown(str(error), MOST_SAID))
            return
        answer = await self._at_once(request)
        if answer is None:
            await self._inbox.record(item)
            answer = self._first_answer(request)
        await ack(shown(answer, MOST_SAID))

    async def _at_once(self, request: Request) -> str | None:
        """The answer to a question that needs no work; None for a command that does."""
        if request.words == "help":
            return help_text()
        if request.words == "runs":
            return cards.runs_text(await self._store.stories())
        if request.words == "show":
            story = await self._store.story(request.about)
            return cards.story_text(story) if story else f"There is no run {request.about!r}. `/dr runs` lists them."
        return None

    def _first_answer(self, request: Request) -> str:
        if request.words == "stop":
            return f"Got `/dr stop {request.about}`. Nothing has changed yet; the run's card says what happens next."
        if request.asks:
            return f"A form will open that asks for the {request.asks}. Nothing has changed."
        if request.report:
            return f"Collecting facts for `/dr {request.words}`. I'll answer here within a few seconds, to you alone."
        channel = f"<#{self._settings.slack.channel}>"
        return f"Collecting facts for `/dr {request.words}`. I'll post the plan in {channel}. Nothing has changed."

    async def _on_click(self, ack: Ack, body: dict[str, Any]) -> None:
        try:
            item = read_pick(body) or read_click(placed(body, self._settings.slack.channel))
        except Malformed as error:
            log.warning("click_malformed", says=str(error))
            await self._say_malformed(body, str(error))
        else:
            await self._inbox.record(item)
        await ack()

    async def _on_home(self, ack: Ack, body: dict[str, Any]) -> None:
        """Somebody opened the app's home: it is published beside the acknowledgement."""
        await ack()
        person = maybe(body, "event", "user")
        if ID.fullmatch(person) and maybe(body, "event", "tab") == "home":
            self._do_beside(publish(self._slack, self._store, self._settings, person))

    async def _on_shortcut(self, ack: Ack, body: dict[str, Any], respond: AsyncRespond) -> None:
        """Somebody saves a message as evidence; in a channel that the bot may not be in, only Slack's own address answers."""
        try:
            item = read_shortcut(body)
        except Malformed as error:
            log.warning("shortcut_malformed", says=str(error))
            await self._say_malformed(body, str(error))
        else:
            if item.channel == self._settings.slack.channel:
                await self._inbox.record(item)
            else:
                self._do_beside(respond(ELSEWHERE.format(self._settings.slack.channel)))
        await ack()

    def _do_beside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do in the background what an acknowledgement must not wait for."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _on_submit(self, ack: Ack, body: dict[str, Any]) -> None:
        try:
            item = read_time(body) or read_planned(body) or read_form(body)
            await self._require_name(item)
        except Malformed as error:
            await ack(response_action="errors", errors={_field(body): f"{error} Nothing was done."})
            return
        except (WrongName, WrongTime) as error:
            await ack(response_action="errors", errors={_field(body): str(error)})
            return
        await self._inbox.record(item)
        await ack()

    async def _require_name(self, item: Item) -> None:
        """Raises `WrongName` if a form approves a plan, and the name typed in it is not the one that the plan wants."""
        if item.payload.get("choice") != cards.APPROVE:
            return
        story = await self._store.story(item.payload["value"].partition(":")[0])
        if story is not None and (wrong := cards.wrong_name(story.offer.plan, item.payload["typed"])):
            raise WrongName(wrong)

    async def _on_error(self, error: Exception, body: dict[str, Any]) -> None:
        """A handler failed before the click or command was on disk: it is not acknowledged, and Slack tells the person so."""
        log.error("handler_failed", error=plain(error), type=body.get("type"))

    async def _say_malformed(self, body: Mapping[str, Any], says: str) -> None:
        person, channel = (maybe(body, key, "id") for key in ("user", "channel"))
        if all(ID.fullmatch(one) and len(one) <= 40 for one in (person, channel)):
            trigger = maybe(body, "trigger_id")
            key = f"malformed/{trigger if ID.fullmatch(trigger) else time.time_ns()}"
            await self._store.ephemeral(key, person, channel, f"{says} Nothing was done.")


async def _authorize(enterprise_id: str | None, team_id: str | None, user_id: str | None) -> AuthorizeResult:
    """Who a payload is from, as it says itself: Bolt would ask Slack's web API first, and lose the command if that is away.

    The sockets are ours by the app's token, a request is Slack's by its signature (webhook.py has verified it, so Bolt
    needn't), and no handler calls Slack through Bolt.
    """
    return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, user_id=user_id)


def read_command(body: Mapping[str, Any]) -> Item:
    """The item behind a slash command. Raises `Malformed`, also for what nobody can have typed."""
    person, channel, trigger = (id_of(body, key) for key in ("user_id", "channel_id", "trigger_id"))
    text = body.get("text") or ""
    if not isinstance(text, str) or UNTYPED.search(text):
        raise Malformed("The command has characters in it that nobody can type. Nothing was done; type it again.")
    typed = unescaped(text)
    if len(typed) > MOST_TYPED:
        raise Malformed(f"The command has {len(typed)} characters, and I read at most {MOST_TYPED}. Nothing was done.")
    return item(f"command/{trigger}", "command", person, channel, {"text": scrub(typed).strip(), "trigger_id": trigger})


def read_pick(body: Mapping[str, Any]) -> Item | None:
    """The item behind a choice in the form for the time of a restore; None if it is something else."""
    chosen = restore_form.picked(body)
    if chosen is None:
        return None
    person, view = id_of(body.get("user") or {}, "id", "user"), id_of(body["view"], "id", "view")
    moment = id_of(body["actions"][0], "action_ts", "actions[0]")
    return item(f"pick/{view}/{moment}", "pick", person, "", chosen)


def read_time(body: Mapping[str, Any]) -> Item | None:
    """The command behind a submitted form for the time of a restore; None if it is another form. Raises `WrongTime`."""
    view = body.get("view")
    if not isinstance(view, dict) or view.get("callback_id") != restore_form.CALLBACK:
        return None
    person, name = id_of(body.get("user") or {}, "id", "user"), id_of(view, "id", "view")
    try:
        form = restore_form.submitted(view)
    except ValueError as error:
        raise WrongTime(str(error)) from error
    if wrong := form.wrong(datetime.now(UTC)):
        raise WrongTime(wrong)
    return item(f"submit/{name}", "command", person, form.channel, {"text": form.text})


def read_click(body: Mapping[str, Any]) -> Item:
    """The item behind a button's payload. Raises `Malformed`, also for a button that isn't ours."""
    person, channel = (id_of(body.get(key) or {}, "id", key) for key in ("user", "channel"))
    actions = body.get("actions")
    if not isinstance(actions, list) or not actions or not isinstance(actions[0], dict):
        raise Malformed("The click names no button.")
    action_id, value = text_of(actions[0], "action_id", "actions[0]"), actions[0].get("value")
    if action_id == PICK:
        opens = {"trigger_id": maybe(body, "trigger_id")}
        return item(f"click/{id_of(actions[0], 'action_ts', 'actions[0]')}/{person}", "form", person, channel, opens)
    if action_id == PLAN or action_id.startswith(f"{PLAN}_"):
        return planned(body, person, channel, actions[0])
    if action_id not in BUTTONS:
        raise Malformed(f"I have no button {action_id[:60]!r}; mine are {', '.join(BUTTONS)}.")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise Malformed("I don't recognise this button.")
    moment = id_of(actions[0], "action_ts", "actions[0]")
    trigger = maybe(body, "trigger_id")
    payload = {"action_id": action_id, "value": value, "trigger_id": trigger if ID.fullmatch(trigger) else ""}
    return item(f"click/{moment}/{person}/{action_id}", "click", person, channel, payload)


def read_form(body: Mapping[str, Any]) -> Item:
    """The item behind a submitted form. Raises `Malformed`, also for a form that isn't ours."""
    view = body.get("view")
    person = id_of(body.get("user") or {}, "id", "user")
    if not isinstance(view, dict) or view.get("callback_id") != "dr_confirm":
        raise Malformed("I don't recognise this form.")
    channel, value, choice = _read_metadata(text_of(view, "private_metadata", "view"))
    form = f"submit/{id_of(view, 'id', 'view')}"
    if choice == cards.APPROVE:
        name = UNTYPED.sub("", maybe(view, "state", "values", "typed", "typed", "value")).strip()[: cards.MOST_NAME]
        return item(form, "submit", person, channel, {"value": value, "choice": choice, "typed": scrub(name)})
    typed = UNTYPED.sub("", maybe(view, "state", "values", "reason", "reason", "value"))
    reason = inert(scrub(" ".join(typed.split())).rstrip("."))
    if len(reason) < 3:
        raise Malformed("A reason of at least three characters is needed.")
    if len(reason) > MOST_REASON:
        raise Malformed(f"The reason has {len(reason)} characters; give one of at most {MOST_REASON}.")
    return item(form, "submit", person, channel, {"value": value, "choice": choice, "reason": reason})


def _field(body: Mapping[str, Any]) -> str:
    """The one field of a form, under which its mistake is shown."""
    if maybe(body, "view", "callback_id") == restore_form.CALLBACK:
        return restore_form.FIELD
    if maybe(body, "view", "callback_id") == CALLBACK:
        return SCENARIO
    *_, purpose = maybe(body, "view", "private_metadata").split("|")
    return "typed" if purpose == cards.APPROVE else "reason"


def _read_metadata(metadata: str) -> tuple[str, str, str]:
    """The channel, the question's value and the choice that a form is about. A form of an earlier version was for a skip."""
    channel, value, *choices = metadata.split("|")[:3] if "|" in metadata else (metadata, "")
    if choices == [cards.APPROVE] and ID.fullmatch(channel) and _VALUE.fullmatch(value):
        return channel, value, cards.APPROVE
    choice = CHOICES.get(choices[0] if choices else "skip")
    if not ID.fullmatch(channel) or not _VALUE.fullmatch(value) or choice is None or choice.form is None:
        raise Malformed("I don't recognise this form.")
    return channel, value, choice.name
