"""Response URLs: where an app answers an interaction, up to five times within half an hour."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from rehearsal.slack.blocks import problems
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.store import Channel, Store

Json = dict[str, Any]
USES = 5
LIFE_SECONDS = 30 * 60.0


@dataclass(kw_only=True)
class ResponseUrl:
    """One response URL: who interacted, where, and with which message (None for a slash command)."""

    person: str
    channel: Channel
    message: Json | None
    until: float
    uses: int = 0


class Responses:
    """All response URLs of the workspace."""

    def __init__(self, store: Store, *, strict: bool) -> None:
        self._store = store
        self._strict = strict
        self._urls: dict[str, ResponseUrl] = {}

    def create(self, base: str, person: str, channel: Channel, message: Json | None = None) -> str:
        """A new URL under this base address."""
        key = secrets.token_urlsafe(12)
        self._urls[key] = ResponseUrl(person=person, channel=channel, message=message, until=time.monotonic() + LIFE_SECONDS)
        return f"{base}/response/{key}"

    def use(self, key: str, body: Json) -> None:
        """Do what an app posted to a response URL; refused with expired_url, used_url or what is wrong in it."""
        url = self._urls.get(key)
        if url is None or time.monotonic() > url.until:
            raise RefusedError("expired_url", status=404)
        if url.uses >= USES:
            raise RefusedError("used_url", status=404)
        url.uses += 1
        self.answer(url.person, url.channel, body, url.message)

    def answer(self, person: str, channel: Channel, body: Json, message: Json | None = None) -> None:
        """Show an answer to the person alone or to the channel, or replace or delete the message with it."""
        text, blocks = str(body.get("text") or ""), body.get("blocks") or []
        complaints = problems(blocks) if self._strict else []
        if complaints:
            raise RefusedError("invalid_blocks", response_metadata={"messages": complaints})
        if message is not None and body.get("delete_original"):
            self._store.drop(message)
        elif not text and not blocks:
            raise RefusedError("no_text")
        elif message is not None and body.get("replace_original"):
            message |= {"text": text, "blocks": self._store.with_block_ids(blocks)}
        elif body.get("response_type") == "in_channel":
            self._store.bot_message(channel, text, blocks, thread_ts=body.get("thread_ts"))
        else:
            self._store.ephemeral(person, channel, text, blocks)
