"""Health checks as Route 53 has them: HTTP requests from outside, and a verdict after three of a kind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

EVERY_SECONDS = 30
THRESHOLD = 3
AT_LEAST = 0.2  # real seconds between two requests
ANSWER_SECONDS = 4.0  # AWS's, until a checker gives up
ANSWER_AT_LEAST = 0.5
CHECKERS = {"us-east-1": "15.177.2.10", "eu-west-1": "15.177.10.10", "ap-southeast-1": "15.177.18.10"}


@dataclass(kw_only=True, eq=False)
class Check:
    """One health check of an address of this machine, and what its last requests came to."""

    port: int
    path: str
    name: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    healthy: bool = True
    says: str = "Success: HTTP Status Code 200, OK"
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    in_a_row: int = 0

    def note(self, success: bool, says: str) -> None:
        """Count one request: the verdict changes after three that differ from it."""
        self.says, self.at = says, datetime.now(UTC)
        self.in_a_row = 0 if success == self.healthy else self.in_a_row + 1
        if self.in_a_row >= THRESHOLD:
            self.healthy, self.in_a_row = success, 0

    def view(self) -> dict[str, Any]:
        """The HealthCheck of AWS's answers."""
        config = {
            "Type": "HTTP",
            "FullyQualifiedDomainName": self.name,
            "Port": self.port,
            "ResourcePath": self.path,
            "RequestInterval": EVERY_SECONDS,
            "FailureThreshold": THRESHOLD,
            "Inverted": False,
            "Disabled": False,
            "EnableSNI": False,
        }
        return {
            "Id": self.id,
            "CallerReference": f"terraform-{self.id[:8]}",
            "HealthCheckConfig": config,
            "HealthCheckVersion": 1,
        }

    def observations(self) -> list[dict[str, Any]]:
        """What each of the checkers saw last; here they all see the same."""
        report = {"Status": self.says, "CheckedTime": self.at}
        return [{"Region": region, "IPAddress": address, "StatusReport": report} for region, address in CHECKERS.items()]


class HealthChecks:
    """All health checks; each begins to ask once it is added. `real` makes AWS's seconds real ones."""

    def __init__(self, real: Callable[[float], float]) -> None:
        self.known: dict[str, Check] = {}
        self._real = real
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, *, port: int, path: str, name: str) -> Check:
        """A new health check, which begins as healthy."""
        check = Check(port=port, path=path, name=name)
        self.known[check.id] = check
        self._tasks.append(asyncio.create_task(self._watch(check), name=f"health check {name}"))
        return check

    def healthy(self, number: str) -> bool:
        """The verdict of a health check."""
        return self.known[number].healthy

    async def close(self) -> None:
        """Nothing is asked any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, check: Check) -> None:
        while True:
            patience = max(self._real(ANSWER_SECONDS), ANSWER_AT_LEAST)
            check.note(*await _ask(check.port, check.path, patience))
            await asyncio.sleep(max(self._real(EVERY_SECONDS), AT_LEAST))


async def _ask(port: int, path: str, patience: float) -> tuple[bool, str]:
    """Whether the address is well, and the sentence of Route 53's for it."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                first = (await reader.readline()).decode("latin-1").split(" ", 2)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        status, reason = int(first[1]), first[2].strip()
    except TimeoutError:
        return False, "Failure: The health checker could not establish a connection within the timeout limit."
    except (OSError, ValueError, IndexError):
        return False, "Failure: The health checker could not connect to the endpoint."
    word = "Success" if 200 <= status < 400 else "Failure"
    return word == "Success", f"{word}: HTTP Status Code {status}, {reason}"
