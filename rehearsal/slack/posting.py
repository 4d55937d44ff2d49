"""HTTP mode: what Slack posts to an app's address instead of sending it over a socket, signed as Slack signs it.

https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession

Json = dict[str, Any]
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A request as it is posted."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Posting:
    """Where the app is reached, and the secret that it shares with Slack."""

    url: str
    secret: str

    def sign(self, kind: str, payload: Json, *, at: float | None = None) -> Posted:
        """The request for an envelope of this type, signed now or at another time."""
        if kind == "events_api":
            content_type, body = JSON, json.dumps(payload)
        else:
            fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            content_type, body = FORM, urlencode(fields)
        moment = str(int(time.time() if at is None else at))
        digest = hmac.new(self.secret.encode(), f"v0:{moment}:{body}".encode(), hashlib.sha256).hexdigest()
        return Posted(
            body=body.encode(),
            headers={
                "Content-Type": content_type,
                "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
                "X-Slack-Request-Timestamp": moment,
                "X-Slack-Signature": f"v0={digest}",
            },
        )

    async def send(self, posted: Posted) -> tuple[int, Json | None]:
        """Post a request; the status, and what came back: a text is the message that an acknowledgement shows."""
        async with ClientSession() as session, session.post(self.url, data=posted.body, headers=posted.headers) as answer:
            text = await answer.text()
            if not text:
                return answer.status, None
            return answer.status, json.loads(text) if answer.content_type == JSON else {"text": text}
