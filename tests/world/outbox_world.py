"""An outbox that tells the rehearsal's Slack, for the tests of its lanes and of what only one person is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy import insert, update

from bot import settings
from bot.slack.app import slack_client
from bot.slack.outbox import Outbox
from bot.state.database import open_engine
from bot.state.store import Store
from bot.state.tables import outbox, plans
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import application
from rehearsal.slack.workspace import Workspace
from tests.world.test_store import offer

ROOT = Path(__file__).parents[2]
SCOPES = ["chat:write", "channels:read", "channels:history", "pins:write"]
INCIDENT, GENERAL = "C0INCIDENT", "C0GENERAL"
SPEED = 25.0
Json = dict[str, Any]


class Told:
    """A store, the workspace that its outbox tells, and what a test puts into the one and looks up in the other."""

    def __init__(self, workspace: Workspace, store: Store, site: settings.Settings) -> None:
        self.workspace = workspace
        self.store = store
        self.site = site

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Outbox]:
        """The outbox works as long as the block lasts."""
        client = slack_client(self.site)
        client.session = aiohttp.ClientSession()
        working = Outbox(self.store, client, self.site)
        worker = asyncio.create_task(working.run())
        try:
            yield working
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            await client.session.close()

    async def add(self, *rows: Json) -> None:
        """Order what is to be told."""
        for row in rows:
            await self.store.do(lambda c, row=row: c.execute(insert(outbox), row))

    async def card(self, run: str, channel: str = INCIDENT, **values: Any) -> None:
        """A plan whose card is in the channel, up to date."""
        await offer(self.store, run)
        await self.store.do(lambda c: c.execute(update(plans).where(plans.c.id == run).values(channel=channel)))
        ts = self.workspace.store.bot_message(self.workspace.channel(channel), f"The card of {run}", [])["ts"]
        await self.change(run, **{"channel": channel, "ts": ts, "sent_rev": 1, **values})

    async def change(self, key: str, **values: Any) -> None:
        """Change what is on record about one message."""
        await self.store.do(lambda c: c.execute(update(outbox).where(outbox.c.key == key).values(**values)))

    async def lines(self, run: str, count: int, channel: str = INCIDENT) -> None:
        """Lines of a run that are still to be told."""
        rows = ({"key": f"{run}/{n}", "kind": "reply", "run_id": run, "channel": channel} for n in range(count))
        await self.add(*(row | {"text": "x"} for row in rows))

    async def sentence(self, person: str, says: str, about: str = "", at: float | None = None) -> None:
        """A sentence for one person."""
        row = {"kind": "ephemeral", "channel": INCIDENT, "person": person, "text": says, "run_id": about}
        await self.add(row | {"key": f"refusal/{random.random()}", "at": at or time.time()})

    def calls(self, method: str, **arguments: str) -> list[Json]:
        """The calls of a method with these arguments that Slack carried out, in their order."""
        of_method = [e for e in self.workspace.log if e["kind"] == "call" and e["method"] == method and e["ok"]]
        return [e for e in of_method if all(e["args"].get(name) == value for name, value in arguments.items())]

    def errors(self) -> set[str]:
        """The errors with which Slack refused calls."""
        return {e["error"] for e in self.workspace.log if e["kind"] == "call" and e["error"]}

    def thread(self, run: str, channel: str = INCIDENT) -> list[str]:
        """The keys of the lines of a run, as they are in the channel."""
        messages = [m for m in self.workspace.channel(channel).messages if m.get("thread_ts")]
        keys = [m["metadata"]["event_payload"]["key"] for m in messages]
        return [key for key in keys if key.startswith(f"{run}/")]

    def cards(self, run: str) -> list[Json]:
        """The cards of a plan that the bot posted or edited."""
        return [m for m in self.workspace.messages(INCIDENT) if f"`{run}`" in str(m["blocks"])]

    def answers(self, person: str) -> list[str]:
        """What only this person was told."""
        return [m["text"] for m in self.workspace.ephemerals(person)]


@asynccontextmanager
async def open_told(folder: Path) -> AsyncIterator[Told]:
    """A workspace that is served, and an empty store in this folder."""
    workspace = Workspace(
        manifest={"oauth_config": {"scopes": {"bot": SCOPES}}},
        people=PEOPLE,
        channels=("incident", "general"),
        limits_speed=SPEED,
    )
    runner = web.AppRunner(application(workspace), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site = settings.load(ROOT / "dr.toml")
    workspace.sockets.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    slack = {"api_url": f"http://127.0.0.1:{runner.addresses[0][1]}/api/", "posts_per_second": SPEED, "channel": INCIDENT}
    store = Store(open_engine(f"sqlite:///{folder / 'state.sqlite'}"))
    yield Told(workspace, store, site.model_copy(update={"slack": site.slack.model_copy(update=slack)}))
    store.close()
    await runner.cleanup()
