"""`dr serve`: from settings to a bot that is connected, resumes what was under way, and ends cleanly."""

from __future__ import annotations

import asyncio
import importlib
import signal
import time

import structlog

from actions.world import World
from bot.app import App, slack_client
from bot.authority import Directory, Gate
from bot.inbox import Inbox
from bot.leader import Leadership
from bot.outbox import Outbox
from bot.planner import Planner
from bot.settings import Settings
from bot.store import Store
from bot.tables import open_engine

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


async def _start_desk(settings: Settings, world: World, store: Store, inbox: Inbox, outbox: Outbox, client: object):  # type: ignore[no-untyped-def]
    await asyncio.to_thread(importlib.import_module, "bot.desk")  # the engine is heavy: it must not hold up an ack
    from bot.desk import Desk
    from bot.runs import Runs

    planner = Planner(settings, world, store)
    runs = Runs(store, planner)
    runs.launch(settings.state.url)
    await asyncio.to_thread(lambda: world.aws)  # boto3 is heavy, and the first command should not wait for it
    gate = Gate(settings.authority, Directory(client))
    desk = Desk(store=store, planner=planner, gate=gate, runs=runs, outbox=outbox, slack=client)
    await desk.resume()
    await inbox.open(desk.handle)
    await world.aws.prewarm()
    return runs


async def _until_told_to_end(*background: asyncio.Task[None]) -> None:
    told = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, told.set)
    waiting = asyncio.create_task(told.wait())
    while not waiting.done():
        watched = {waiting, *(task for task in background if not task.done())}
        finished, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()  # a background task ends only by a defect, and then the process ends with it
