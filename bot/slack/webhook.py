"""HTTP mode: Slack posts to us, and each request that bears Slack's signature is taken once.

A request is refused with 401 before anything of it is read if its signature is missing or wrong, if it's older or newer than five
minutes, or if it was taken before, by this bot or the one that led before it. What is in it goes the same way as over a socket.

https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier

from bot.settings import Settings
from bot.state.requests import take_request
from bot.state.store import Store

log = structlog.get_logger(__name__)
PATH = "/slack/events"
VALID_SECONDS = 5 * 60  # how old or new a request may be, by Slack's own rule; `SignatureVerifier` holds it
MOST_BYTES = 2**20
END_SECONDS = 1.0  # what requests under way get when the server ends


class NotSlack(Exception):
    """A request that isn't taken: it isn't Slack's, or was taken before. The message says which, for the log."""


class Webhook:
    """The server that Slack posts to, while it is open. `bolt` gets what was verified."""

    def __init__(self, settings: Settings, bolt: AsyncApp, store: Store) -> None:
        self._listen = settings.slack.listen
        self._verifier = SignatureVerifier(settings.signing_secret.get_secret_value())
        self._bolt = bolt
        self._store = store
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen. Raises `OSError` if the port is taken."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.add_routes([web.post(PATH, self._receive), web.get(PATH, _answer_probe)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=END_SECONDS)
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        log.info("listening", address=self._listen, path=PATH)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            await self._verify(request, raw)
        except NotSlack as refusal:
            log.warning("request_refused", why=str(refusal), remote=request.remote)
            return web.json_response({"error": "invalid request"}, status=401)
        try:
            body = read_body(request.content_type, raw)
        except ValueError:
            log.warning("request_unreadable", remote=request.remote, content_type=request.content_type)
            return web.json_response({"error": "unreadable request"}, status=400)
        # As over a socket: Bolt's own reading of a posted body takes a command with the word "payload" in it for a form.
        heard = AsyncBoltRequest(body=body, headers=dict(request.headers), mode="socket_mode")
        return await to_aiohttp_response(await self._bolt.async_dispatch(heard))

    async def _verify(self, request: web.Request, raw: bytes) -> None:
        """Raises `NotSlack`, and then nothing is on record."""
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        try:
            is_valid = self._verifier.is_valid(raw, timestamp, signature)  # it compares in constant time
        except (ValueError, TypeError):  # a time that's no number, a body that's no text, a signature that isn't ASCII
            is_valid = False
        if not is_valid:
            raise NotSlack("its signature is missing or wrong, or its time is more than five minutes from ours")
        if not await self._store.at_once(take_request, signature, 3 * VALID_SECONDS):
            raise NotSlack("it was taken before")


async def _answer_probe(_: web.Request) -> web.Response:
    """What a load balancer asks, and Slack when it checks the certificate: only the bot that leads listens."""
    return web.Response(text="ok")


def read_body(content_type: str, raw: bytes) -> dict[str, Any]:
    """What Slack posted: an event as JSON, a click or a form as JSON in the field `payload`, a command as fields.

    Raises `ValueError` if it's none of these.
    """
    text = raw.decode()
    if content_type != "application/json":
        fields = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
        if "payload" not in fields:
            return dict(fields)
        text = fields["payload"]
    body = json.loads(text)
    if not isinstance(body, dict):
        raise ValueError("an object is expected")
    return body
