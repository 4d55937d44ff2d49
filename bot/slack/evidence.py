"""The message shortcut "Save as evidence": a message goes into the timeline of the recovery that is under way in its channel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from actions.scrub import plain, scrub
from actions.values import Json
from bot.slack.authority import Directory
from bot.slack.blocks import clock, day
from bot.slack.mrkdwn import cut, inert
from bot.slack.payloads import Malformed, id_of, item, maybe, typed_text
from bot.slack.words import listed
from bot.state.plans import open_in_thread
from bot.state.store import Connection, Item, Refusal, Store
from bot.state.story import SAVED
from bot.state.timeline import is_told, tell

log = structlog.get_logger(__name__)
SHORTCUT = "dr_evidence"
MOST_TEXT = 1200  # characters of a message; the rest is behind its link
ELSEWHERE = "Recoveries are reported in <#{}>, and messages are saved as evidence there. Nothing was saved."
_TS = re.compile(r"\d{1,12}\.\d{1,8}", re.ASCII)
_PERSON = re.compile(r"[UW][A-Z0-9]{1,38}", re.ASCII)


def read_shortcut(body: Mapping[str, Any]) -> Item:
    """The item behind the shortcut on a message. Raises `Malformed`, also for a shortcut that isn't ours."""
    if body.get("callback_id") != SHORTCUT or body.get("type") != "message_action":
        raise Malformed("I don't recognise this shortcut.")
    person, channel = (id_of(body.get(key) or {}, "id", key) for key in ("user", "channel"))
    message = body.get("message")
    ts = maybe(message, "ts")
    if not _TS.fullmatch(ts):
        raise Malformed("The message has no usable ts.")
    said = inert(scrub(" ".join(typed_text(_text_of(message)).split())))
    thread = maybe(message, "thread_ts")
    payload = {
        "ts": ts,
        "thread": thread if _TS.fullmatch(thread) else "",
        "author": _author(message),
        "text": cut(said, MOST_TEXT) or "(a message without text)",
    }
    return item(f"evidence/{id_of(body, 'action_ts')}/{person}", "evidence", person, channel, payload)


async def save(store: Store, directory: Directory, slack: Any, item: Item) -> str:
    """Put the message into the timelines that it belongs to, once; returns the sentence for whoever saved it.

    Raises `Refusal` if nothing is under way in the channel, and for a guest.
    """
    await directory.require_member(item.person)
    link = await _link(slack, item)
    found = await store.do(_save, item, link)
    if not found:
        says = f"No recovery is under way in <#{item.channel}>, and no plan waits there for its approval. Nothing was saved."
        raise Refusal(f"{says} Ask for a plan first, for instance with `/dr triage`.")
    fresh = [run for run, is_fresh in found.items() if is_fresh]
    if not fresh:
        return f"That message is in the timeline of {_names(found)} already."
    return f"Saved to the timeline of {_names(fresh)}; `/dr show {fresh[0]}` and the report have it."


def _names(found: Sequence[str] | Mapping[str, bool]) -> str:
    names = [f"`{run}`" for run in found]
    return f"run{'s' if len(names) > 1 else ''} {listed(names, 'and')}"


async def _link(slack: Any, item: Item) -> str:
    """Where the message is; if Slack doesn't say, by what it's found."""
    try:
        return str((await slack.chat_getPermalink(channel=item.channel, message_ts=item.payload["ts"]))["permalink"])
    except Exception as error:  # whatever it is, the evidence is kept without its link
        log.warning("no_permalink", item=item.id, error=plain(error))
        return f"message {item.payload['ts']} of channel {item.channel}; Slack didn't give its link"


def _save(connection: Connection, item: Item, link: str) -> dict[str, bool]:
    """The plans and runs that the message was saved to, and whether it's new in each."""
    said = item.payload
    at = float(said["ts"])
    text = f"Evidence, saved by <@{item.person}>: {said['author']} wrote on {day(at)} at {clock(at)}: “{said['text']}” ({link})"
    found = {}
    for run_id in open_in_thread(connection, item.channel, said["thread"]):
        key = f"evidence:{item.channel}:{said['ts']}"
        found[run_id] = not is_told(connection, run_id, key)
        tell(connection, run_id, key, SAVED, text)
    return found


def _text_of(message: Any) -> str:
    """What a message says: its text, or that of its first attachment, which is where monitors put theirs."""
    if text := maybe(message, "text"):
        return text
    attachments: Json = message.get("attachments")
    first = attachments[0] if isinstance(attachments, list) and attachments else {}
    return maybe(first, "fallback") or maybe(first, "text")


def _author(message: Any) -> str:
    """Who wrote a message: a mention, or the name of an app."""
    if _PERSON.fullmatch(person := maybe(message, "user")):
        return f"<@{person}>"
    name = maybe(message, "username") or maybe(message, "bot_profile", "name")
    return f"the app {cut(inert(scrub(' '.join(typed_text(name).split()))), 60)}" if name else "an app"
