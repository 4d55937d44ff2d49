"""`dr serve`: check, stand by, lead, be connected, resume what was under way; and end cleanly.

The order of the end: no input any more, then the steps that run are cut off (they leave no outcome, and the next process
resumes them), then the engine, then the rest, and at last the lead is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import structlog

from actions.gate import Gate
from actions.scrub import plain
from actions.values import Json
from actions.warming import warm
from actions.world import World
from bot.ending import END_SECONDS, end_part, end_within, leave, told_to_end
from bot.engine.planner import Planner
from bot.settings import Settings
from bot.slack import authority
from bot.slack.app import App, slack_client
from bot.slack.inbox import Inbox
from bot.slack.outbox import Outbox
from bot.slack.outsiders import Outsiders
from bot.slack.pace import Pace
from bot.slack.tokens import check_tokens
from bot.state.away import Patience
from bot.state.database import Engine, open_engine
from bot.state.leader import Leadership
from bot.state.store import Store

if TYPE_CHECKING:
    from bot.engine.handlers import Handlers
    from bot.engine.runs import Runs
    from bot.engine.schedule import Schedule

log = structlog.get_logger(__name__)
T = TypeVar("T")
FIRST_SECONDS = 2.0  # what the connection to Slack gets before the heavy imports; then they go on without it
DEAF_SECONDS = 3.0  # a leader unsure of its lead for this long takes no input: it could not record any
CATCH_UP_SECONDS = 5.0
WARM_SECONDS = 10.0  # looking for missing credentials may take that long; then commands are taken all the same


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, which end the process. Raises `BadSettings` when a token is missing or refused."""
    told, bot = told_to_end(), Bot(settings)
    serving, telling = asyncio.create_task(bot.serve()), asyncio.create_task(told.wait())
    await asyncio.wait({serving, telling}, return_when=asyncio.FIRST_COMPLETED)
    if told.is_set():
        log.info("ending")
    else:
        end_within(END_SECONDS, 1)
    serving.cancel()
    await asyncio.wait({serving})
    await bot.close()
    if not serving.cancelled():
        serving.result()
    leave(0)


class Bot:
    """The parts of a bot that leads. `await serve()` makes and runs them, `await close()` ends those that there are."""

    def __init__(self, settings: Settings) -> None:
        self._began = time.monotonic()
        self.settings = settings
        self.client = slack_client(settings)
        self.patience = Patience()
        self.lead: Leadership | None = None
        self.app: App | None = None
        self.runs: Runs | None = None
        self.schedule: Schedule
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._warming: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Lead as soon as nobody else does, and serve until cancelled. Ends by itself only by a defect."""
        checking = asyncio.create_task(check_tokens(self.client, self.settings))
        try:
            engine = await self._open(checking)
            self.lead = lead = Leadership(engine)
            if not await lead.try_to_take():
                await self._stand_by(lead, checking)
        finally:
            checking.cancel()
        lead.fence(engine)
        await self._lead(lead, engine)
        finished, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()

    async def _open(self, checking: asyncio.Task[None]) -> Engine:
        """The state, once its server is there, and once Slack has taken the tokens or turned out to be away."""
        opening = asyncio.ensure_future(in_thread(open_engine, self.settings.state.url, self.patience))
        await asyncio.wait({opening, checking}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            await asyncio.wait({checking}, timeout=FIRST_SECONDS)
        if checking.done():
            checking.result()
        return await opening

    async def _stand_by(self, lead: Leadership, checking: asyncio.Task[None]) -> None:
        """Wait for the lead with everything heavy already loaded, and meanwhile for Slack's verdict on the tokens, too."""
        taking = asyncio.create_task(lead.take())
        await in_thread(importlib.import_module, "bot.engine.handlers")
        await in_thread(importlib.import_module, "actions.aws.gateway")
        await in_thread(importlib.import_module, "actions.http")
        await asyncio.wait({taking, checking}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            checking.result()
        await taking

    async def _lead(self, lead: Leadership, engine: Engine) -> None:
        gate = Gate(lead.leads, name=f"lead/{lead.epoch}")
        self.client.session = gated_session(gate)
        self.client.headers["User-Agent"] += f" drbot {gate.name}"
        self.store = Store(engine, self.patience)
        self.world = World(self.settings, gate)
        self.inbox = Inbox(self.store)
        self.directory = authority.Directory(self.client, Pace(self.settings.slack.posts_per_second))
        outsiders = Outsiders(self.settings.authority, self.directory)
        self.outbox = Outbox(self.store, self.client, self.settings, lambda: outsiders.known)
        self.app = App(self.settings, self.client, self.inbox, self.store)
        self._tasks = [asyncio.create_task(self.outbox.run()), asyncio.create_task(self._listen(lead, self.app))]
        self._tasks.append(asyncio.create_task(outsiders.run()))
        if not await self.store.unfinished():  # else the run that was cut off goes first, and the connection comes beside it
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connected.wait(), FIRST_SECONDS)
        handlers = await self._start_handlers()
        self._tasks.append(asyncio.create_task(self._catch_up(handlers)))
        self._tasks.append(asyncio.create_task(self._watch()))
        self._tasks.append(asyncio.create_task(handlers.runs.health.run()))
        self._tasks += [asyncio.create_task(part) for part in self._keeping()]
        log.info("serving", epoch=lead.epoch, seconds=round(time.monotonic() - self._began, 3))

    async def _start_handlers(self) -> Handlers:
        """Import and start what carries recoveries out; what was under way goes on, and what was recorded is handled."""
        await self.store.do(lambda _: importlib.import_module("sqlalchemy.orm"))  # no statement while it is half imported
        await in_thread(importlib.import_module, "bot.engine.handlers")  # the engine is heavy: it must not hold up an ack
        await in_thread(lambda: (self.world.aws, self.world.http))  # heavy too, and a run that goes on needs them at once
        from bot.engine.handlers import Handlers
        from bot.engine.runs import Runs
        from bot.engine.schedule import Schedule
        from bot.state.kept import Shelf

        planner = Planner(self.settings, self.world, self.store)
        self.world.kept = Shelf(self.store).get
        self.runs, self.schedule = Runs(self.store, planner), Schedule(self.settings, self.store)
        self.runs.launch(self.settings.state.url)
        await self.schedule.apply()
        gate = authority.Gate(self.settings.authority, self.directory)
        handlers = Handlers(store=self.store, planner=planner, gate=gate, runs=self.runs, outbox=self.outbox, slack=self.client)
        await handlers.resume()
        self._warming = asyncio.create_task(self._warm())
        await asyncio.wait({self._warming}, timeout=WARM_SECONDS)  # a first plan's seconds are for answers, like a second one's
        await self.inbox.open(handlers.handle)
        return handlers

    async def _warm(self) -> None:
        """Load and make what plans need, while what was cut off goes on already."""
        try:
            await warm(self.world)
        except Exception:  # then the first plan does it
            log.exception("warming_broke")

    # What goes on beside it -------------------------------------------------------------------------------------------

    async def _listen(self, lead: Leadership, app: App) -> None:
        """Be connected to Slack, but not while nothing can be recorded: then another bot should get what people do."""
        while True:
            await self._connect(app)
            unsure = 0.0
            while unsure < DEAF_SECONDS:
                await asyncio.sleep(0.25)
                unsure = 0.0 if lead.leads() else unsure + 0.25
            log.warning("not_listening", says="The lease could not be renewed for a while. Nothing can be recorded.")
            await app.close()
            while not lead.leads():  # noqa: ASYNC110 - it is a matter of time, and nothing announces it
                await asyncio.sleep(0.1)

    async def _connect(self, app: App) -> None:
        """Connect to Slack; while Slack is away, try again for as long as it takes."""
        while True:
            try:
                await app.connect()
            except Exception as error:  # Slack is away, for whatever reason: the runs go on without it
                log.warning("slack_unreachable", error=plain(error))
                await asyncio.sleep(2.0)
            else:
                self._connected.set()
                log.info("connected", seconds=round(time.monotonic() - self._began, 3))
                return

    async def _catch_up(self, handlers: Handlers) -> None:
        """Pick up what was recorded but never handled, because the answer of the state's server got lost."""
        while True:
            await asyncio.sleep(CATCH_UP_SECONDS)
            try:
                await self.inbox.catch_up()
                await handlers.resume()
                await handlers.runs.catch_up()
            except Exception:  # it is tried again, and the runs go on meanwhile
                log.exception("catching_up_broke")

    async def _watch(self) -> None:
        """Alert about what nobody attends."""
        from bot.engine.watch import Watch

        await Watch(self.settings, self.store, self.schedule).run()

    def _keeping(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What the bot does while all is well, so that it knows enough when it isn't."""
        for name, database in self.settings.databases.items():
            if database.heartbeat_table:
                yield self._beat(name, database.heartbeat_table)
        yield self._keep()
        yield self._read_daily()

    async def _read_daily(self) -> None:
        """Note once a day what would fail tonight."""
        from bot.daily import read_daily  # it imports every report

        await read_daily(self.settings, self.store, self.world)

    async def _beat(self, name: str, table: str) -> None:
        """Write heartbeat rows into a database that is recovered, but not while a run works on it."""
        from actions.db.rhythm import Rhythm, rhythm_name  # psycopg is heavy
        from bot.heartbeat import Heartbeat
        from bot.state.kept import Shelf

        database, shelf = self.settings.database(name), Shelf(self.store)
        kept = rhythm_name(name)

        async def is_held() -> bool:
            return await self.store.holder(str(database)) is not None

        async def remember(rhythm: Mapping[str, Json]) -> None:
            await shelf.put(kept, rhythm)

        known = await shelf.get(kept)
        rhythm = Rhythm.from_json(known.facts) if known else None
        await Heartbeat(self.world, database, table, is_held, remember, rhythm).run()

    async def _keep(self) -> None:
        """Keep facts of the world while all is well."""
        from bot.state.kept import Keeper, Shelf

        async def is_busy() -> bool:
            return bool(await self.store.unfinished())

        await Keeper(self.world, Shelf(self.store), is_busy).run()

    # The end ----------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the parts that there are. If the steps don't end, nothing under them is taken away: the process exits."""
        for task in [*self._tasks, *([self._warming] if self._warming else [])]:
            task.cancel()
        if self.app:
            await end_part("slack", self.app.close())
            await end_part("inbox", self.inbox.close())
        if self.runs:
            if not await end_part("steps", self.runs.cut_off()):
                leave(0)
            await end_part("engine", in_thread(self.runs.close))
        self.patience.end()
        if self.app:
            await end_part("outbox", asyncio.gather(*self._tasks, return_exceptions=True))
            await end_part("world", self.world.close())
        if self.client.session:
            await end_part("session", self.client.session.close())
        if self.lead:
            await end_part("lead", in_thread(self.lead.release))


def gated_session(gate: Gate) -> aiohttp.ClientSession:
    """A session for Slack whose requests pass the gate when their connection stands, directly before they are written."""
    trace = aiohttp.TraceConfig()

    async def pass_gate(*_: object) -> None:
        await gate.opened()

    trace.on_connection_create_end.append(pass_gate)
    connector = aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace], timeout=aiohttp.ClientTimeout(total=10))


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work on a thread of its own: the loop's pool is the engine's, and is gone before we are."""
    return await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), work, *arguments)
