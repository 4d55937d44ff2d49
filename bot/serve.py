"""`dr serve`: from settings to a bot that is connected, resumes what was under way, and ends cleanly."""

from __future__ import annotations

import asyncio
import importlib
import signal
import time
from typing import TYPE_CHECKING

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from actions.world import World
from bot.app import App, slack_client
from bot.authority import Directory, Gate
from bot.inbox import Inbox
from bot.leader import Leadership
from bot.outbox import Outbox
from bot.pace import Pace
from bot.planner import Planner
from bot.settings import Settings
from bot.store import Store
from bot.tables import open_engine

if TYPE_CHECKING:
    from bot.runs import Runs

log = structlog.get_logger(__name__)
FIRST_SECONDS = 2.0  # what the connection to Slack gets before the heavy imports; then they go on without it


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `BadSettings` where a token is missing."""
    began = time.monotonic()
    client = slack_client(settings)
    engine = open_engine(settings.state.url)
    leadership = Leadership(engine)
    await leadership.take()
    store = Store(engine)
    inbox = Inbox(store)
    app = App(settings, client, inbox, store)
    outbox = Outbox(store, client, settings)
    world = World(settings)
    telling = asyncio.create_task(outbox.run())
    connecting = asyncio.create_task(_connect(app, began))
    if not await store.unfinished():  # a run that was cut off goes first; else commands, recorded before the engine is there
        await asyncio.wait({connecting}, timeout=FIRST_SECONDS)
    runs = await _start_desk(settings, world, store, inbox, outbox, client)
    log.info("serving", seconds=round(time.monotonic() - began, 3))
    try:
        await _until_told_to_end(telling, connecting)
    finally:
        for task in (telling, connecting):
            task.cancel()
        await asyncio.gather(telling, connecting, app.close(), return_exceptions=True)
        await inbox.close()
        await runs.close()
        await world.close()
        store.close()
        leadership.release()


async def _connect(app: App, began: float) -> None:
    """Connect to Slack; while Slack is away, try again for as long as it takes."""
    while True:
        try:
            await app.connect()
        except Exception as error:  # Slack away, in whichever way: the runs go on without it
            log.warning("slack_unreachable", error=str(error))
            await asyncio.sleep(2.0)
        else:
            log.info("connected", seconds=round(time.monotonic() - began, 3))
            return


async def _start_desk(
    settings: Settings, world: World, store: Store, inbox: Inbox, outbox: Outbox, client: AsyncWebClient
) -> Runs:
    """Import and start what carries recoveries out; what was under way goes on, and what was recorded is handled."""
    await store.do(lambda _: importlib.import_module("sqlalchemy.orm"))  # no statement may be made while it is half there
    await asyncio.to_thread(importlib.import_module, "bot.desk")  # the engine is heavy: it must not hold up an ack
    await asyncio.to_thread(lambda: world.aws)  # boto3 is heavy too, and a run that goes on needs it at once
    from bot.desk import Desk
    from bot.runs import Runs

    planner = Planner(settings, world, store)
    runs = Runs(store, planner)
    runs.launch(settings.state.url)
    gate = Gate(settings.authority, Directory(client, Pace(settings.slack.posts_per_second)))
    desk = Desk(store=store, planner=planner, gate=gate, runs=runs, outbox=outbox, slack=client)
    await desk.resume()
    await inbox.open(desk.handle)
    await world.aws.prewarm()
    return runs


async def _until_told_to_end(*background: asyncio.Task[None]) -> None:
    """Wait for a signal. A background task fails only by a defect, and then the process ends with it."""
    told = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, told.set)
    waiting = asyncio.create_task(told.wait())
    watched = {waiting, *background}
    while not waiting.done():
        finished, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()
