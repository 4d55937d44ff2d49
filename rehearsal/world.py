"""The world of a rehearsal: Slack, AWS in two regions, PostgreSQL, the control plane, the witness, and the bot beside them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import yaml
from aiohttp import web

from rehearsal import settings
from rehearsal.aws.clock import Clock
from rehearsal.aws.cloudwatch import CloudWatch
from rehearsal.aws.ecr import ecr_handlers
from rehearsal.aws.ecs.api import Ecs, ecs_handlers
from rehearsal.aws.faults import Faults
from rehearsal.aws.front import Front
from rehearsal.aws.journal import Journal
from rehearsal.aws.logs import Logs
from rehearsal.aws.rds.api import Rds
from rehearsal.aws.sts import iam_handlers, sts_handlers
from rehearsal.faults import WorldFaults
from rehearsal.listening import stop_accepting
from rehearsal.machines.balancer import Balancer
from rehearsal.machines.processes import Processes
from rehearsal.postgres.pair import Database
from rehearsal.slack.members import DEFAULT_PERSONS
from rehearsal.slack.server import application
from rehearsal.slack.workspace import Workspace
from rehearsal.witness import Witness

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
PRIMARY, SECOND = "us-west-2", "us-east-1"


class CannotStart(Exception):
    """The rehearsal cannot start here; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a rehearsal is started. `room` is its folder, `cache` one that outlives it; port 0 takes any free one.

    `slack_speed` is how many times Slack's own rate limits its Slack allows, and the bot keeps to.
    """

    room: Path
    cache: Path
    port: int = 8044
    speed: float = 60.0
    seed: int = 0
    with_bot: bool = True
    state_url: str = ""
    expiry_minutes: float = 15.0
    slack_speed: float = settings.SLACK_SPEED


class World:
    """Everything at once, as an async context: `async with World(options) as world`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.room = options.room.absolute()
        self.clock = Clock(options.speed)
        self.journal = Journal()
        self.aws_faults = Faults()
        self.faults = WorldFaults(self)
        self.endpoints: dict[str, str] = {}
        self._stack = contextlib.AsyncExitStack()
        self._lock: IO[str] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # The parts, in the order in which they need each other ------------------------------------------------------------

    async def _start(self) -> None:
        self._take_room()
        await self._open_workspace()
        self.processes = await self._stack.enter_async_context(Processes(self.room / "processes.json"))
        self.database = Database(self.processes, self.room / "postgres", cache=self.options.cache.absolute())
        await asyncio.gather(self._start_database(), self._start_aws())
        self.rds = Rds(self.database, self.clock, instance="shielda-prod", region=PRIMARY, seed=self.options.seed)
        self._stack.push_async_callback(self.rds.close)
        self.front.add("rds", self.rds.handlers)
        if self.options.with_bot:
            self._write_settings()
            await self.start_bot()
        await self.ecs.start()
        self.witness = Witness(self.balancer.url, self.database.dsn("postgres"))
        await self.witness.start()
        self._stack.push_async_callback(self.witness.stop)
        if self.options.with_bot:
            await self._bot_connected()
        else:
            self._write_settings()
        self._describe()

    def _take_room(self) -> None:
        self.room.mkdir(parents=True, exist_ok=True)
        self._lock = (self.room / "lock").open("a")
        self._stack.callback(self._lock.close)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"A rehearsal is running in {self.room} already; end it first (Ctrl-C in its terminal).") from error
        for old in self.room.glob("state.sqlite*"):
            old.unlink()

    async def _open_workspace(self) -> None:
        self.workspace = Workspace(
            manifest=yaml.safe_load(MANIFEST.read_text()),
            persons=DEFAULT_PERSONS,
            channels=["incident", "general"],
            limits_speed=self.options.slack_speed,
        )
        app = application(self.workspace)
        self.faults.add_routes(app)
        listening = self._listen()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()
        self._stack.push_async_callback(stop_accepting, [listening])
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def _listen(self) -> socket.socket:
        port = self.options.port
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise CannotStart(f"Port {port} is taken ({why}); choose another with --port, such as {port + 1}.") from error

    async def _start_database(self) -> None:
        await self.database.start()
        self._stack.push_async_callback(self.database.close)

    async def _start_aws(self) -> None:
        self.front = Front(regions={PRIMARY: 0, SECOND: 0}, clock=self.clock, journal=self.journal, faults=self.aws_faults)
        self.balancer = Balancer()
        await self.balancer.start()
        self._stack.push_async_callback(self.balancer.close)
        self.logs = Logs(clock=self.clock)
        self.cloudwatch = CloudWatch(clock=self.clock, region=PRIMARY)
        self.ecs = Ecs(
            clock=self.clock, logs=self.logs, balancer=self.balancer, spawn=self._spawn, environment=self._task_environment
        )
        self._stack.push_async_callback(self.ecs.close)
        self.front.add("ecs", ecs_handlers([self.ecs]))
        self.front.add("ecr", ecr_handlers([self.ecs]))
        self.front.add("logs", self.logs.handlers())
        self.front.add("cloudwatch", self.cloudwatch.handlers())
        self.front.add("sts", sts_handlers())
        self.front.add("iam", iam_handlers(self.aws_faults))
        self.endpoints = await self.front.start()
        self._stack.push_async_callback(self.front.close)

    async def _spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        return await self.processes.start(name, list(argv), env=env, stdout=asyncio.subprocess.PIPE)

    def _task_environment(self) -> Mapping[str, str]:
        return settings.inherited() | {"DATABASE_URL": self.database.url("shielda"), "AGENT_TOKEN": "fleet-secret"}

    # The bot ----------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """The dr.toml of this world."""
        return self.room / "dr.toml"

    @property
    def bot_environment(self) -> dict[str, str]:
        """All variables of the bot's process."""
        return settings.inherited() | settings.environment(self.database.url("dr_bot"))

    async def start_bot(self) -> None:
        """Start the bot; its log goes to bot.log in the room."""
        argv = settings.bot_command(self.config, "serve")
        await self.processes.start("bot", argv, env=self.bot_environment, stdout=self.room / "bot.log", cwd=self.room)

    async def kill_bot(self) -> None:
        """Kill the bot with SIGKILL."""
        await self.processes.kill("bot")

    async def _bot_connected(self, timeout: float = 30.0) -> None:
        ends = time.monotonic() + timeout
        while not self.workspace.state()["connected"]:
            if self.processes.pid("bot") is None or time.monotonic() > ends:
                last = (self.room / "bot.log").read_text().strip().splitlines()[-1:] or ["nothing"]
                raise CannotStart(f"The bot did not connect. The last line of {self.room / 'bot.log'}: {last[0][:500]}")
            await asyncio.sleep(0.02)

    def _write_settings(self) -> None:
        text = settings.toml(
            slack_api=f"{self.url}/api/",
            state_url=self.options.state_url or f"sqlite:///{self.room / 'state.sqlite'}",
            speed=self.options.speed,
            endpoints=self.endpoints,
            public=self.balancer.url,
            expiry_minutes=self.options.expiry_minutes,
            slack_speed=self.options.slack_speed,
        )
        self.config.write_text(text)

    # What scripts can join in with -------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """What `world.json` tells."""
        return {
            "workspace": self.url,
            "slack_api": f"{self.url}/api/",
            "channel": settings.INCIDENT_CHANNEL,
            "persons": {person.name: person.id for person in DEFAULT_PERSONS},
            "aws": self.endpoints,
            "databases": {role: self.database.url(role) for role in ("dr_bot", "shielda", "postgres")},
            "control_plane": {"public": self.balancer.url, "health": f"{self.balancer.url}/api/health"},
            "ssh": {},
            "config": str(self.config),
            "environment": settings.environment(self.database.url("dr_bot")),
            "speed": self.options.speed,
            "seed": self.options.seed,
            "processes": {"rehearsal": os.getpid(), **self.processes.pids()},
        }

    def _describe(self) -> None:
        path = self.room / "world.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.description(), indent=2))
        self._stack.callback(path.unlink, missing_ok=True)
