"""The control plane that's deployed in the rehearsal: a small HTTP server that really reads and writes the database.

    python -m rehearsal.machines.control_plane --port 8080

Its environment: DATABASE_URL, IMAGE, AGENT_TOKEN, and BEHAVIOUR = good | broken | no-database. `broken` is the bad
deploy: every route answers 500, and the program ends with exit code 1 after BROKEN_EXIT_AFTER seconds. `no-database`
works without a database, for tests of everything around it. Logs are JSON lines on stdout.

It has its own HTTP on purpose: every task of every deployment starts this program, and importing aiohttp would double the
CPU time of its start (0.34 s instead of 0.17 s).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

HEALTH_SECONDS = 1.5
STATEMENT_SECONDS = 5.0
READ_SECONDS = 10.0
LARGEST_BODY = 1_000_000
ORGANIZATIONS = 40  # a record belongs to one of them
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Not Allowed"}
PROBE_ROW = 1  # the one row of health_probe that is the control plane's own
BROKEN = "column organizations.plan_tier does not exist"

Reply = tuple[int, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One complete HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; ValueError if it isn't one."""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("The body is not a JSON object.")
        return value


def say(level: str, message: str, **more: Any) -> None:
    """Write one JSON log line to stdout."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "message": message, **more}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class FreshConnections:
    """Runs statements on the database, each on a new connection, so that no connection outlives a failover.

    Each statement commits by itself. A program that's frozen between a statement and its COMMIT would keep the row of its
    health probe locked, and no task that replaces it could become healthy.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def run(self, statement: str, *values: Any, seconds: float = STATEMENT_SECONDS) -> Any:
        """Run one statement; returns the first row, or None. Raises psycopg.Error or TimeoutError."""
        async with asyncio.timeout(seconds):
            connection = await psycopg.AsyncConnection.connect(
                self.url, autocommit=True, connect_timeout=2, application_name="control-plane"
            )
            try:
                cursor = await connection.execute(statement, values)
                return await cursor.fetchone() if cursor.description else None
            finally:
                await connection.close()


class ControlPlane:
    """The routes of the program, over one database or none."""

    def __init__(self, *, image: str, token: str, database: FreshConnections | None) -> None:
        self.image = image
        self.token = token
        self.database = database
        self.routes: dict[tuple[str, str], Callable[[Request], Awaitable[Reply]]] = {
            ("GET", "/api/health"): self.health,
            ("GET", "/api/organizations/count"): self.count,
            ("POST", "/api/agents/heartbeat"): self.heartbeat,
            ("POST", "/api/records"): self.record,
        }

    async def answer(self, request: Request) -> Reply:
        """The reply to a request. If the database fails, it's a 503 with the database's own sentence."""
        route = self.routes.get((request.method, request.path))
        if route is None:
            known = any(path == request.path for _, path in self.routes)
            return (405 if known else 404), {"error": f"There is no {request.method} {request.path}."}
        try:
            return await route(request)
        except (psycopg.Error, OSError, TimeoutError) as error:
            sentence = _sentence(error)
            say("ERROR", f"{request.method} {request.path} failed: {sentence}")
            return 503, {"error": sentence}
        except ValueError as error:
            return 400, {"error": str(error)}

    async def health(self, request: Request) -> Reply:
        """200 only if the database could be read and written within 1.5 seconds."""
        if self.database is None:
            return 200, {"status": "ok", "database": "none", "image": self.image}
        try:
            await self.database.run(
                "INSERT INTO health_probe (id, at) SELECT %s, now() FROM (SELECT count(*) FROM organizations) AS known "
                "ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at",
                PROBE_ROW,
                seconds=HEALTH_SECONDS,
            )
        except (psycopg.Error, OSError, TimeoutError) as error:
            sentence = _sentence(error)
            say("ERROR", f"the health check failed: {sentence}")
            return 503, {"status": "failing", "database": sentence, "image": self.image}
        return 200, {"status": "ok", "database": "ok", "image": self.image}

    async def count(self, request: Request) -> Reply:
        """How many organizations there are."""
        if self.database is None:
            return 200, {"count": 0}
        row = await self.database.run("SELECT count(*) FROM organizations")
        return 200, {"count": row[0]}

    async def heartbeat(self, request: Request) -> Reply:
        """401 for an agent without the right token; otherwise its heartbeat is written. A relay may report for many `agents`."""
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"error": "The agent's token is not known."}
        given = request.json()
        agents = list(map(str, given.get("agents") or [given.get("agent", "unknown")]))
        if self.database is not None:
            await self.database.run("INSERT INTO heartbeats (agent, at) SELECT unnest(%s::text[]), now()", agents)
        return 200, {"status": "ok", "agents": len(agents)}

    async def record(self, request: Request) -> Reply:
        """201 once the record is committed. The same id twice is one record, so that a writer can try again."""
        given = request.json()
        number = given.get("id")
        if not isinstance(number, int):
            raise ValueError("A record needs a whole number as its id.")
        if self.database is not None:
            await self.database.run(
                "INSERT INTO records (id, body, written_at, organization_id) VALUES (%s, %s, now(), %s) "
                "ON CONFLICT (id) DO NOTHING",
                number,
                str(given.get("body", "")),
                1 + number % ORGANIZATIONS,
            )
        return 201, {"id": number}


async def broken(request: Request) -> Reply:
    """The answer to everything of a release that was built against another schema."""
    say("ERROR", f"Traceback: psycopg.errors.UndefinedColumn: {BROKEN} (in {request.method} {request.path})")
    return 500, {"error": BROKEN}


def _sentence(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "The database did not answer in time."
    return " ".join(str(error).split()) or type(error).__name__


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or None if the client sent nothing."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    length = int(headers.get("content-length", "0"))
    if length > LARGEST_BODY:
        raise ValueError("The body is too large.")
    body = await reader.readexactly(length)
    return Request(method=method, path=target.partition("?")[0], headers=headers, body=body)


def serve_with(answer: Callable[[Request], Awaitable[Reply]]) -> Callable[..., Awaitable[None]]:
    """A connection handler that answers one request with JSON and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                request = await read_request(reader)
            if request is not None:
                status, value = await answer(request)
                writer.write(_response(status, value))
                await writer.drain()
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that doesn't finish its request gets no answer
        except asyncio.CancelledError:
            pass  # the program ends; Python 3.11 would log a cancelled handler as an error
        finally:
            writer.close()

    return serve


def _response(status: int, value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def main(port: int) -> int:
    """Serve until SIGTERM (exit code 0), or until a broken release gives up (1)."""
    image, behaviour = os.environ.get("IMAGE", "unknown"), os.environ.get("BEHAVIOUR", "good")
    database = FreshConnections(os.environ.get("DATABASE_URL", "")) if behaviour == "good" else None
    plane = ControlPlane(image=image, token=os.environ.get("AGENT_TOKEN", ""), database=database)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    os.dup2(1, 2)  # what Python itself prints about a crash belongs in the log, too
    server = await asyncio.start_server(serve_with(broken if behaviour == "broken" else plane.answer), "127.0.0.1", port)
    say("INFO", f"control plane {image} listens on port {port}")
    patience = float(os.environ.get("BROKEN_EXIT_AFTER", "3")) if behaviour == "broken" else None
    try:
        await asyncio.wait_for(ended.wait(), patience)
    except TimeoutError:
        say("ERROR", f"Traceback: psycopg.errors.UndefinedColumn: {BROKEN}")
        say("CRITICAL", "the plan worker cannot start; exiting with 1")
        return 1
    finally:
        server.close()
    say("INFO", "control plane stops on request")
    return 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="The rehearsal's control plane.")
    arguments.add_argument("--port", type=int, required=True)
    raise SystemExit(asyncio.run(main(arguments.parse_args().port)))
