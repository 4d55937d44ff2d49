"""Thirty secrets are planted in all that the bot reads, through two incidents; none is in what it says, stores or logs."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import random
import string
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from aiohttp import web
from psycopg import conninfo

from rehearsal import settings
from rehearsal.aws.ecs.api import ecs_handlers
from rehearsal.aws.ecs.tasks import Task
from rehearsal.aws.front import AwsError
from rehearsal.machines.launch import launch
from rehearsal.slack import shown
from tests.story.conftest import WEST, Incident, until

LOG_GROUP = "/ecs/shielda-control-plane"
_random = random.Random(6)


def core(length: int = 14, alphabet: str = string.ascii_letters + string.digits) -> str:
    """The part of a secret that is looked for afterwards: letters of both kinds and digits."""
    return "aZ7" + "".join(_random.choice(alphabet) for _ in range(length - 3))


# What is planted where; {} is the secret.
LINES = [
    ["ERROR no route to postgresql://dr:{}@db.example:5432/x", "sent Authorization: Bearer {}", "Set-Cookie: sid={}; Path=/"],
    ['ERROR {{"password":"{}"}}', "xoxb-1-2-{}", "dsn dr:{}@tcp(db:3306)/x"],
    ["FATAL eyJhbGciOiJIUzI1NiJ9.{}.abc", "ghp_0123456789{}", "npm_0123456789{}"],
]
EVENTS = ["https://s3.example/x?X-Amz-Signature={}&x=1", "https://hooks.slack.com/services/T0/B0/{}"]
RDS_EVENTS = ["Parameter group with redis://:{}@cache:6379/0 applied.", "Secret: {} rotated."]
STOPPED, ROLLOUT, ALARM = (
    "Task failed: amqp://u:x@{}@h/ with api_key={}",
    "blocked by client_secret = '{}'",
    "Threshold: token={}",
)
REFUSED = "X-Amz-Security-Token: {} is expired for {{'secret_access_key': '{}'}}"
POSTGRES = "no entry for {} with PASSWORD '{}' nor passfile=/{}"
BODY, COOKIE = "<password>{}</password>", "session={}"
APPLICATION = "nightly token={}"
TYPED = ["show xapp-1-A0-{}", "control-plane restart password={}", "stop --password {}", "control-plane 'restart secret={}"]
REASON = "the password is {} and it answers"
MALFORMED = "postgresql://dr:{}@{} {}@127.0.0.1:1/x"
ENVIRONMENT = {"MY_API_KEY": "{}", "AWS_SESSION_TOKEN": "{}", "QUEUE_URL": "amqp://me:{}@queue/"}

HIDDEN = [  # what is seen of them, so that each source was really read
    *("postgresql://dr:***@db.example:5432/x", '{"password":"***"}', "dsn dr:***@tcp(db:3306)/x", "FATAL ***"),
    *("X-Amz-Signature=***", "hooks.slack.com/services/***", "was given *** and ***", "redis://:***@cache:6379/0"),
    *("amqp://u:***@h/ with api_key=***", "client_secret = '***'", "Threshold: token=***", "Secret: *** rotated"),
    *("X-Amz-Security-Token: ***", "'secret_access_key': '***'", "no entry for *** with PASSWORD *** nor passfile=***"),
    *(
        "nightly token=***",
        "There is no run '***'",
        "the password is *** and it answers",
        "DATABASE_URL holds a DSN that can't be used",
    ),
]


class Planted:
    """Makes secrets and remembers them."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def into(self, text: str, *known: str) -> str:
        """The text with a new secret for each {}, or with the known ones first."""
        fresh = [core() for _ in range(text.count("{}") - len(known))]
        self.secrets += fresh
        return text.format(*known, *fresh)

    def found_in(self, text: str) -> list[str]:
        """Which secrets are there."""
        return [secret for secret in self.secrets if secret in text]


@contextlib.asynccontextmanager
async def every_post(incident: Incident) -> AsyncIterator[list[str]]:
    """Everything that stands anywhere in the workspace, at each moment at which something changes there."""
    posts: list[str] = []
    queue = incident.slack.journal.watch()

    async def look() -> None:
        while await queue.get():
            posts.append(json.dumps([shown.state(incident.slack, person.name) for person in incident.slack.people.values()]))

    task = asyncio.create_task(look())
    try:
        yield posts
    finally:
        incident.slack.journal.unwatch(queue)
        task.cancel()


@contextlib.asynccontextmanager
async def talkative_health(planted: Planted) -> AsyncIterator[str]:
    """A health address that answers well, with secrets in its body and its headers; yields the address."""
    body, cookie = planted.into(BODY), planted.into(COOKIE)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body, headers={"Set-Cookie": cookie, "WWW-Authenticate": f"Basic realm={cookie}"})

    app = web.Application()
    app.router.add_get("/api/health", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/health"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def refusing_postgres(says: str) -> AsyncIterator[int]:
    """A server that speaks PostgreSQL's protocol and refuses everybody with this message; yields its port."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                length, code = struct.unpack("!ii", await reader.readexactly(8))
                await reader.readexactly(length - 8)
                if code not in (80877103, 80877104):  # a request for TLS or GSS
                    break
                writer.write(b"N")
            fields = b"".join(name + text.encode() + b"\0" for name, text in ((b"S", "FATAL"), (b"C", "XX000"), (b"M", says)))
            writer.write(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.contextmanager
def refused_deployments(incident: Incident, says: str) -> Iterator[None]:
    """UpdateService is refused with this message."""

    def refuse(_region: str, _parameters: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("InvalidParameterException", says)

    front = incident.world.front
    front.add("ecs", {"UpdateService": refuse})
    try:
        yield
    finally:
        front.add("ecs", ecs_handlers([incident.world.ecs]))


async def restart_bot(incident: Incident, **environment: str) -> None:
    """The bot with other variables than the rehearsal gives it."""
    world = incident.world
    await world.processes.stop("bot", grace=10)
    argv = settings.bot_command(world.config, "serve")
    env = world.bot_environment | environment
    await world.processes.start("bot", argv, env=env, stdout=world.work_dir / "bot.log", cwd=world.work_dir)
    await until(lambda: incident.slack.sockets.open, 20)


def plant_in_aws(incident: Incident, planted: Planted, environment: dict[str, str]) -> None:
    """Log lines, events and reasons of ECS, events of RDS, an alarm."""
    world, scheduler = incident.world, incident.world.ecs.scheduler
    for pieces in LINES:
        world.logs.put(WEST, LOG_GROUP, "control-plane/1", planted.into(" ".join(pieces)))
    raw = " and ".join(value for name, value in environment.items() if name != "QUEUE_URL")
    scheduler.tell(f"was given {raw}")
    for text in EVENTS:
        scheduler.tell(planted.into(text))
    now = world.clock.now()
    stopped = Task(revision=scheduler.primary.revision, deployment=scheduler.primary.id, created_at=now)
    stopped.last = stopped.desired = "STOPPED"
    stopped.stop_code, stopped.reason, stopped.stopped_at = "TaskFailedToStart", planted.into(STOPPED), now
    scheduler.tasks.append(stopped)
    scheduler.records[-1].status, scheduler.records[-1].reason = "STOPPED", planted.into(ROLLOUT)
    for text in RDS_EVENTS:
        world.rds.events.add(world.rds.production.source, planted.into(text), "notification")
    world.cloudwatch.set_state("shielda-rds-cpu-high", "ALARM", planted.into(ALARM))


async def restart_that_fails(incident: Incident, planted: Planted) -> str:
    """A restart that AWS refuses and Carol skips with a reason; returns the run."""
    for text in TYPED:
        await incident.type("alice", planted.into(text))
    run = await incident.plan("alice")
    with refused_deployments(incident, planted.into(REFUSED)):
        await incident.click("bob", run, "dr_approve")
        await incident.waiting(run)
    await incident.click("carol", run, "dr_skip")
    form = await until(lambda: next(iter(incident.slack.views("carol")), None))
    assert (await incident.slack.submit("carol", form["id"], {"reason": planted.into(REASON)}))["acked"]
    assert await incident.ended(run) == "Done"
    return run


@contextlib.asynccontextmanager
async def idle_sessions(incident: Incident, application: str) -> AsyncIterator[list[psycopg.AsyncConnection[Any]]]:
    """Two sessions of this application, idle in their transactions."""
    dsn = conninfo.make_conninfo(incident.world.database.dsn("shielda"), application_name=application)
    sessions = [await psycopg.AsyncConnection.connect(dsn) for _ in range(2)]
    try:
        for session in sessions:
            await session.execute("SELECT 1")
        yield sessions
    finally:
        for session in sessions:
            await session.close()


async def sessions_that_are_ended(incident: Incident, planted: Planted) -> str:
    """Two sessions with a secret in their name hold slots beside a report that takes the rest; all of them are ended."""
    async with idle_sessions(incident, planted.into(APPLICATION)) as sessions:
        await incident.world.database.fill_connections()
        await asyncio.sleep(1.1)
        run = await incident.approved("alice", "bob", "database failover idle_for=1")
        assert await incident.ended(run) == "Done", incident.thread(run)
        assert "nightly token=***" in incident.says(run)
        for session in sessions:
            with pytest.raises(psycopg.OperationalError):
                await session.execute("SELECT 1")
    return run


async def programs(incident: Incident, runs: list[str], environment: dict[str, str], malformed: str) -> list[str]:
    """What the other words of the program print, with a good DSN and with a malformed one."""
    good = incident.world.bot_environment | environment
    bad, turns = good | {"DATABASE_URL": malformed}, asyncio.Semaphore(3)

    async def ask(env: dict[str, str], *words: str) -> str:
        argv, pipe = settings.bot_command(incident.world.config, *words), asyncio.subprocess.PIPE
        async with turns:
            process = await launch(*argv, env=env, stdout=pipe, stderr=asyncio.subprocess.STDOUT, cwd=incident.world.work_dir)
            return (await process.communicate())[0].decode()

    return await asyncio.gather(
        ask(good, "show", runs[0], "--json"),
        ask(good, "show", runs[1]),
        ask(good, "runs", "--json"),
        ask(good, "plan", "control-plane restart", "--json"),
        ask(good, "plan", "database failover"),
        ask(good, "check"),
        ask(bad, "plan", "database failover"),
        ask(bad, "check", "--json"),
    )


async def test_none_of_thirty_secrets_is_in_slack_the_state_a_log_or_an_output(incident: Incident) -> None:
    planted, world = Planted(), incident.world
    environment = {name: planted.into(text) for name, text in ENVIRONMENT.items()}
    password = planted.into("{}")
    async with every_post(incident) as posts, talkative_health(planted) as health:
        async with refusing_postgres(planted.into(POSTGRES, password)) as port:
            world.config.write_text(world.config.read_text().replace(f"{world.balancer.url}/api/health", health))
            dsn = f"host=127.0.0.1 port={port} user=dr dbname=x password='{password}'"
            await restart_bot(incident, DATABASE_URL=dsn, **environment)
            plant_in_aws(incident, planted, environment)
            runs = [await restart_that_fails(incident, planted)]
        await restart_bot(incident, **environment)
        runs.append(await sessions_that_are_ended(incident, planted))
        outputs = await programs(incident, runs, environment, planted.into(MALFORMED))
    said_by_bot = [entry for entry in incident.slack.log if entry["kind"] != "envelope"]  # an envelope holds what a person typed
    places = {f"output {number}": text for number, text in enumerate(outputs)}
    places |= {f"post {number}": text for number, text in enumerate(posts)}
    places |= {path.name: path.read_bytes().decode(errors="replace") for path in world.work_dir.glob("state.sqlite*")}
    places |= {"log": world.bot_log.read_text(), "calls": json.dumps(said_by_bot)}
    assert len(planted.secrets) >= 30
    assert {name: found for name, text in places.items() if (found := planted.found_in(text))} == {}
    everything = html.unescape("".join(places.values()).replace('\\\\"', '"').replace('\\"', '"'))
    assert [text for text in HIDDEN if text not in everything] == []
