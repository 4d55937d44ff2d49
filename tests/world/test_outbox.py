"""The outbox against a Slack that answers with what is no answer: nothing is told twice, and the bot does not fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import insert, select

from bot import settings
from bot.slack.app import slack_client
from bot.slack.outbox import Outbox
from bot.slack.sender import EVENT
from bot.state.database import open_engine
from bot.state.store import Store
from bot.state.tables import outbox

ROOT = Path(__file__).parents[2]
RUN, KEY, CHANNEL = "abcdefgh", "abcdefgh/1.1#1:begin", "C0INCIDENT"
PAGE, JSON, TEXT = "text/html", "application/json", "text/plain"
STORED = {  # what comes back, although Slack has stored the message: status, content type, body
    "a proxy's page": (200, PAGE, "<html>Please log in</html>"),
    "a proxy's error page": (502, PAGE, "<html>Bad Gateway</html>"),
    "a page called JSON": (200, JSON, "<html>"),
    "plain text": (200, TEXT, "ok"),
    "nothing": (200, JSON, ""),
    "an answer that was cut off": (200, JSON, '{"ok": true, "ts": "1'),
    "a list": (200, JSON, "[1]"),
    "null": (200, JSON, "null"),
    "an answer without ts": (200, JSON, '{"ok": true}'),
    "an error in the middle of it": (200, JSON, '{"ok": false, "error": "fatal_error"}'),
}
NOT_STORED = {
    "a limit without a number": (429, JSON, '{"ok": false, "error": "ratelimited"}'),
    "a refusal": (200, JSON, '{"ok": false, "error": "restricted_action"}'),
}


class HalfSlack:
    """A server that answers the first post with something else, and everything after it well."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.posted: list[dict[str, Any]] = []
        self.requests = 0

    async def post(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.requests > 1 or self.kind in STORED:
            self.posted.append({"ts": f"{self.requests + 1}.0", "metadata": (await request.json())["metadata"]})
        if self.requests > 1:
            return web.json_response({"ok": True, "ts": self.posted[-1]["ts"]})
        status, content_type, body = (STORED | NOT_STORED)[self.kind]
        return web.Response(status=status, content_type=content_type, text=body, headers={"Retry-After": "soon"})

    async def replies(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "messages": [{"ts": "1.0"}, *self.posted]})


@pytest.fixture
async def half_slack(request: pytest.FixtureRequest, unused_tcp_port: int) -> AsyncIterator[HalfSlack]:
    slack = HalfSlack(request.param)
    app = web.Application()
    app.router.add_post("/chat.postMessage", slack.post)
    app.router.add_route("*", "/conversations.replies", slack.replies)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield slack
    await runner.cleanup()


@pytest.fixture
async def told(
    half_slack: HalfSlack, unused_tcp_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """A store with a card that stands in the channel and one reply that is still to be told, with the worker that tells it."""
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setattr("bot.slack.outbox.REFUSED_SECONDS", 0.05)
    site = settings.load(ROOT / "dr.toml")
    site = site.model_copy(update={"slack": site.slack.model_copy(update={"api_url": f"http://127.0.0.1:{unused_tcp_port}/"})})
    store = Store(open_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"))
    rows = [
        {"key": RUN, "kind": "card", "run_id": RUN, "channel": CHANNEL, "ts": "1.0", "sent_rev": 1, "text": ""},
        {"key": KEY, "kind": "reply", "run_id": RUN, "channel": CHANNEL, "ts": "", "sent_rev": 0, "text": "Step 1.1: Go."},
    ]
    await store.do(lambda c: c.execute(insert(outbox), rows))
    worker = asyncio.create_task(Outbox(store, slack_client(site), site).run())
    yield store
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    store.close()


@pytest.mark.parametrize("half_slack", [*STORED, *NOT_STORED], indirect=True)
async def test_a_message_that_was_answered_with_garbage_stands_once_in_the_thread(half_slack: HalfSlack, told: Store) -> None:
    row = await told.do(_reply)
    async with asyncio.timeout(30):
        while not row["ts"]:
            await asyncio.sleep(0.01)
            row = await told.do(_reply)
    (message,) = half_slack.posted
    assert row["ts"] == message["ts"]
    assert message["metadata"] == {"event_type": EVENT, "event_payload": {"key": KEY, "rev": 1}}


def _reply(connection: Any) -> Any:
    return connection.execute(select(outbox).where(outbox.c.key == KEY)).mappings().one()
