"""The rehearsal: Slack, AWS in two regions, PostgreSQL, the control plane and the witness on one machine, with the bot."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from psycopg import conninfo

from rehearsal import settings
from rehearsal.accepting import Accepting
from rehearsal.aws.cloud import DATABASE_SECRET, PRIMARY, Cloud
from rehearsal.aws.secretsmanager import SecretsManager
from rehearsal.faults import FaultPanel
from rehearsal.fleet.fleet import Fleet
from rehearsal.listening import CannotStart, listen
from rehearsal.machines.launch import launch
from rehearsal.machines.processes import Processes
from rehearsal.migrations.project import Project
from rehearsal.options import Options
from rehearsal.postgres.fenced import unfence
from rehearsal.postgres.pair import ServerPair
from rehearsal.postgres.template import DATABASE, OWNER
from rehearsal.routes import Routes
from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace
from rehearsal.training import Training
from rehearsal.two_regions import TwoRegions
from rehearsal.waiting import NotSeen, together, until
from rehearsal.witness import Witness

__all__ = ["PRIMARY", "CannotStart", "Options", "Rehearsal"]

SHIP_SECONDS = 300.0  # AWS's: RDS uploads its logs every five minutes.
SHIP_AT_LEAST = 1.0  # Each segment costs a few processes, and a restore replays them one by one.
MANIFEST = Path(__file__).parent.parent / "manifest.yml"


class Rehearsal:
    """All parts together, as an async context: `async with Rehearsal(options) as world`."""

    witness: Witness
    url: str

    def __init__(self, options: Options) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.work_dir = options.work_dir.absolute()
        self.processes = Processes(self.work_dir / "processes.json")
        ship_every = max(SHIP_SECONDS / options.speed, SHIP_AT_LEAST)
        folder, cache = self.work_dir / "postgres", options.cache.absolute()
        self.database = ServerPair(self.processes, folder, cache=cache, ship_every=ship_every, tls=options.tls)
        self.migrations = Project(self.work_dir / "control-plane")
        two = self._second_environment if options.two_regions else None
        self.aws = Cloud(speed=options.speed, spawn=self._spawn, environment=self._task_environment, second_environment=two)
        self.rds = self.aws.add_database(self.database, seed=options.seed)
        self.regions = TwoRegions(self.aws, self.rds, self.database, self.work_dir) if two else None
        self.writers = Accepting(self.regions.databases) if self.regions else None
        manifest = yaml.safe_load(MANIFEST.read_text())
        self.workspace = Workspace(
            manifest=manifest, people=PEOPLE, channels=["incident", "general"], limits_speed=options.slack_speed
        )
        self._name_parts_of_aws()
        token, hosts = settings.AGENT_TOKEN, options.hosts
        self.fleet = Fleet(self.processes, self.work_dir / "fleet", hosts=hosts, token=token) if hosts else None
        self.faults = FaultPanel(self)
        self.training = Training(self, options.drills)
        self._stack = contextlib.AsyncExitStack()

    def _name_parts_of_aws(self) -> None:
        """Tests and drills use these all the time."""
        self.clock, self.journal, self.aws_faults = self.aws.clock, self.aws.journal, self.aws.faults
        self.front, self.balancer, self.ecs = self.aws.front, self.aws.balancer, self.aws.ecs
        self.logs, self.cloudwatch = self.aws.logs, self.aws.cloudwatch

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        """Start every part, in the order in which they need each other."""
        enter = self._stack.enter_async_context
        self._lock_work_dir()
        self.migrations.renew()
        self.url = await enter(serve(self.workspace, listen(self.options.port), Routes(self).all()))
        await enter(self.processes)
        self.database.reserve()
        await enter(self.aws)
        if self.regions is None:  # these take as long as the database: all start at once, and find out when it's there
            await together(enter(self.database), self._start_bot(), self._start_fleet())
            self._open_database()
            await self.ecs.start()
        else:
            await enter(self.database)
            self._open_database()
            await enter(self.regions)
            await self._start_bot()
            await together(self.ecs.start(), self._start_fleet())
        self.witness = await enter(Witness(self.public, lambda: self.live_dsn("postgres"), interval=self.options.witness_every))
        if self.writers is not None:
            await enter(self.writers)
        if self.options.training:
            await enter(self.training)
        if self.options.with_bot:
            await self._bot_connects()
        self._describe()

    def _open_database(self) -> None:
        self.programs.unlink(missing_ok=True)
        self.programs.symlink_to(self.database.primary.binaries.folder)
        self.rds.open()
        self._keep_secret()

    async def _start_bot(self) -> None:
        """Write its settings, for which every address must be known, and start it."""
        self._write_settings()
        if self.options.with_bot:
            await self.start_bot()

    async def _start_fleet(self) -> None:
        if self.fleet is not None:
            self.fleet.heartbeats = f"{self.public}{settings.HEARTBEATS}"
            await self._stack.enter_async_context(self.fleet)

    def _lock_work_dir(self) -> None:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self.work_dir / "lock").open("a"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"A rehearsal is running in {self.work_dir}. End it first (Ctrl-C in its terminal).") from error
        for old in self.work_dir.glob("state.sqlite*"):
            old.unlink()

    async def _spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        return await self.processes.start(name, list(argv), env=env, stdout=asyncio.subprocess.PIPE)

    def _keep_secret(self) -> None:
        """The secret that tasks read when they start, with one version: production's URL."""
        self.aws.secrets.create(DATABASE_SECRET, self.database.url(OWNER), "DATABASE_URL of the control plane")

    def _task_environment(self) -> Mapping[str, str]:
        return self._environment_of(self.aws.secrets)

    def _second_environment(self) -> Mapping[str, str]:
        assert self.aws.second is not None
        return self._environment_of(self.aws.second.secrets)

    def _environment_of(self, secrets: SecretsManager) -> Mapping[str, str]:
        database_url = secrets.current(DATABASE_SECRET)
        return settings.inherited() | {"DATABASE_URL": database_url, "AGENT_TOKEN": settings.AGENT_TOKEN}

    def live_dsn(self, role: str) -> str:
        """A connection string to the database of the region that serves, by its secret: a restore may have changed that."""
        secrets = self.regions.secrets_of(self.regions.serving) if self.regions else self.aws.secrets
        host, port = secrets.address(DATABASE_SECRET)
        return conninfo.make_conninfo(host=host, port=port, user=role, password=self.database.password(role), dbname=DATABASE)

    @property
    def public(self) -> str:
        """The public address of the control plane."""
        return self.regions.public.url if self.regions else self.balancer.url

    @property
    def endpoints(self) -> dict[str, str]:
        """The address of AWS in each region."""
        return self.aws.endpoints

    async def restore(self) -> None:
        """Undo every fault, go back to production's database, wait until every part is healthy, and forget the calls so far.

        Instances and snapshots that were made since the start are gone. Migrations that were applied stay applied.
        """
        await self.rds.production.settled()
        await self.faults.put("heal")
        await self.database.redundant()
        moved = self.aws.secrets.current(DATABASE_SECRET) != self.database.url(OWNER)
        elsewhere = self.regions is not None and self.regions.serving != PRIMARY
        if moved:
            self._keep_secret()
        await self.rds.reset()  # Before the tasks: production may be fenced, and then none of them gets healthy.
        await unfence(self.database)
        if self.regions is not None:
            await self.regions.restore()
        await self.ecs.restore(restart=moved)
        if moved or elsewhere:
            self.witness.forget_rows()
        await self.faults.injuries.bring_back()
        await self.faults.data.bring_back()
        await self.witness.healthy()
        self.journal.clear()

    # The bot ----------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """The bot's dr.toml."""
        return self.work_dir / "dr.toml"

    @property
    def programs(self) -> Path:
        """A link to the folder with PostgreSQL's programs, such as pg_dump; it's there as soon as the database is."""
        return self.work_dir / "programs"

    @property
    def bot_environment(self) -> dict[str, str]:
        """All environment variables of the bot."""
        tools = [self.regions.stack.on_path()] if self.regions else []
        path = os.pathsep.join(filter(None, [*tools, str(self.programs), os.environ.get("PATH", "")]))
        return settings.inherited() | {"PATH": path} | self._bot_settings()

    def _bot_settings(self) -> dict[str, str]:
        replica = self.regions.replica_url("dr_bot") if self.regions else ""
        return settings.environment(self.database.url("dr_bot"), replica)

    @property
    def bot_log(self) -> Path:
        """Where the bot's log is."""
        return self.work_dir / "bot.log"

    async def start_bot(self) -> None:
        """Start the bot."""
        argv = settings.bot_command(self.config, "serve")
        await self.processes.start("bot", argv, env=self.bot_environment, stdout=self.bot_log, cwd=self.work_dir)

    async def kill_bot(self) -> None:
        """Kill the bot with SIGKILL."""
        await self.processes.kill("bot")

    async def dr(self, *words: str, without: Sequence[str] = ()) -> tuple[int, str, str]:
        """Run the `dr` program beside the bot, without some of its variables; returns exit code, stdout and stderr."""
        environment = {name: value for name, value in self.bot_environment.items() if name not in without}
        argv, pipe = settings.bot_command(self.config, *words), asyncio.subprocess.PIPE
        process = await launch(*argv, env=environment, stdout=pipe, stderr=pipe, cwd=self.work_dir)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def show(self, run: str) -> dict[str, Any]:
        """What `dr show RUN --json` prints."""
        code, out, err = await self.dr("show", run, "--json")
        if code:
            raise RuntimeError(f"`dr show {run}` failed with exit code {code}: {err.strip()}")
        return dict(json.loads(out))

    async def _bot_connects(self, timeout: float = 30.0) -> None:
        with contextlib.suppress(NotSeen):
            await until(lambda: self.workspace.sockets.open or self.processes.pid("bot") is None, timeout)
        if not self.workspace.sockets.open:
            last = self.bot_log.read_text().strip().splitlines()[-1:] or ["(empty)"]
            raise CannotStart(f"The bot did not connect. The last line of {self.bot_log}: {last[0][:500]}")

    def _write_settings(self) -> None:
        text = settings.toml(
            slack_api=f"{self.url}/api/",
            state_url=self.options.state_url or f"sqlite:///{self.work_dir / 'state.sqlite'}",
            speed=self.options.speed,
            endpoints=self.endpoints,
            public=self.public,
            expiry_minutes=self.options.expiry_minutes,
            migrations=self.migrations.folder,
            slack_speed=self.options.slack_speed,
            reports=self.options.reports,
            **(self.regions.service_and_database() if self.regions else {}),
        )
        text += self.regions.section() if self.regions else ""
        if self.fleet is not None:
            text += settings.agents_toml(self.fleet.folder, self.public)
        self.config.write_text(text)

    # What scripts need to join in -------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """The contents of world.json. Others rely on these names."""
        return {
            "workspace": self.url,
            "slack_api": f"{self.url}/api/",
            "channel": settings.INCIDENT_CHANNEL,
            "persons": {person.name: person.id for person in PEOPLE},
            "aws": self.endpoints,
            "databases": {role: self.database.url(role) for role in ("dr_bot", "shielda", "postgres")},
            "secret": self.aws.secrets.arn(DATABASE_SECRET),
            "migrations": str(self.migrations.folder),
            "control_plane": {"public": self.public, "health": f"{self.public}/api/health"},
            "dns": self.regions.description() if self.regions else {},
            "ssh": self.fleet.description() if self.fleet else {},
            "config": str(self.config),
            "environment": self._bot_settings(),
            "speed": self.options.speed,
            "seed": self.options.seed,
            "processes": {"rehearsal": os.getpid(), **self.processes.pids()},
        }

    def _describe(self) -> None:
        path = self.work_dir / "world.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.description(), indent=2))
        self._stack.callback(path.unlink, missing_ok=True)
