"""Every call that reached the rehearsal's AWS: the proof of what was done, and how often."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, TypedDict

SECRET = frozenset({"SecretString", "SecretBinary", "MasterUserPassword"})
SOURCES = {"drbot": "bot", "terraform": "terraform"}  # a word of the user agent -> who that is
READING = ("Describe", "List", "Get", "Filter", "Simulate", "Test")


class Call(TypedDict):
    """One call: when, where, what, by whom, and how it ended ("ok", an error code, or "unanswered")."""

    at: str
    region: str
    service: str
    operation: str
    parameters: dict[str, Any]
    request_id: str
    source: str
    changing: bool
    result: str
    fault: str | None


class Effect(TypedDict):
    """How often a changing operation took effect in a region."""

    service: str
    operation: str
    region: str
    count: int


class Journal:
    """The record of calls, oldest first. A call is recorded once it's certain whether it took effect."""

    def __init__(self) -> None:
        self.entries: list[Call] = []

    def record(
        self,
        *,
        region: str,
        service: str,
        operation: str,
        parameters: dict[str, Any],
        request_id: str,
        user_agent: str,
        result: str,
        fault: str | None,
    ) -> None:
        """Add a call; its source is "bot" or "terraform" if the user agent says so, or else "other"."""
        self.entries.append(
            Call(
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                region=region,
                service=service,
                operation=operation,
                parameters=_plain(parameters),
                request_id=request_id,
                source=next((name for word, name in SOURCES.items() if word in user_agent), "other"),
                changing=not operation.startswith(READING),
                result=result,
                fault=fault,
            )
        )

    def calls(self, *, changing: bool | None = None, source: str | None = None, operation: str | None = None) -> list[Call]:
        """The calls that match, oldest first."""
        return [
            call
            for call in self.entries
            if changing in (None, call["changing"])
            and source in (None, call["source"])
            and operation in (None, call["operation"])
        ]

    def effects(self, *, source: str | None = None) -> list[Effect]:
        """How often each changing call took effect, whether or not the caller learned of it."""
        done = Counter(
            (call["service"], call["operation"], call["region"])
            for call in self.calls(changing=True, source=source)
            if call["result"] == "ok"
        )
        return [
            Effect(service=service, operation=operation, region=region, count=count)
            for (service, operation, region), count in done.items()
        ]

    def clear(self) -> None:
        """Forget everything, so that a new drill can start."""
        self.entries.clear()


def _plain(value: Any) -> Any:
    """The value as JSON can carry it, without secrets."""
    if isinstance(value, dict):
        return {key: "***" if key in SECRET else _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | None) else repr(value)
