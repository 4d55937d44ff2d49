"""A client of the control API, as the page and scripts use it."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from rehearsal.slack.errors import UnknownError
from rehearsal.waiting import until

Json = dict[str, Any]
Found = TypeVar("Found")


class WorkspaceClient:
    """Acts in the workspace at `base_url`: `async with WorkspaceClient(url) as slack`."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the workspace."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def command(self, person: str, channel: str, text: str, *, command: str = "/dr") -> Json:
        """Type a slash command: `{"acked", "ack_ms", "response", "error"}`."""
        return await self._post("command", person=person, channel=channel, text=text, command=command)

    async def click(self, person: str, channel: str, ts: str, action_id: str, *, value: Any = None, **more: Any) -> Json:
        """Press a button of a message; the answer has the same form as that of a command."""
        return await self._post("click", person=person, channel=channel, ts=ts, action_id=action_id, value=value, **more)

    async def do(self, doing: str, **body: Any) -> Json:
        """Anything else under /ui, such as `do("react", person="bob", channel="incident", ts=ts, name="eyes")`."""
        return await self._post(doing, **body)

    async def submit(self, person: str, view_id: str, values: Json) -> Json:
        """Submit a modal; the ack payload (`errors`…) together with `acked`, `ack_ms` and `error`."""
        return await self._post("submit", person=person, view_id=view_id, values=values)

    async def close_view(self, person: str, view_id: str) -> Json:
        """Close a modal without submitting it."""
        return await self._post("close_view", person=person, view_id=view_id)

    async def post(self, person: str, channel: str, text: str, *, thread_ts: str | None = None) -> Json:
        """Write a message as this person; returns it as stored."""
        return await self._post("post", person=person, channel=channel, text=text, thread_ts=thread_ts)

    async def fault(self, kind: str, **parameters: Any) -> Json:
        """Cause a fault of Slack, such as `fault("outage", seconds=30)`."""
        return await self._post("fault", kind=kind, **parameters)

    async def state(self, person: str | None = None) -> Json:
        """What this person sees: people, channels, messages by channel id, ephemerals, views."""
        return await self._get("state", **({"person": person} if person else {}))

    async def log(self) -> list[Json]:
        """Every call, envelope, connection and fault so far."""
        return list((await self._get("log"))["log"])

    async def messages(self, channel: str, thread_ts: str | None = None) -> list[Json]:
        """The messages of a channel (by name or id) outside threads, or one thread with its parent; oldest first."""
        return messages(await self.state(), channel, thread_ts)

    async def wait_for(self, predicate: Callable[[Json], Found], timeout: float = 10.0, *, person: str | None = None) -> Found:
        """Ask for the state until `predicate` returns something true, and return that."""

        async def look() -> Found:
            return predicate(await self.state(person))

        return await until(look, timeout)

    async def _post(self, doing: str, **body: Any) -> Json:
        async with self._open().post(f"{self._base}/ui/{doing}", json=body) as answer:
            return await _body(answer)

    async def _get(self, what: str, **query: str) -> Json:
        async with self._open().get(f"{self._base}/ui/{what}", params=query) as answer:
            return await _body(answer)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        return self._session


def messages(state: Json, channel: str, thread_ts: str | None = None) -> list[Json]:
    """The messages of a channel (by name or id) in a state; with `thread_ts` that parent and its replies."""
    ids = [c["id"] for c in state["channels"] if channel in (c["id"], c["name"])]
    listed: list[Json] = state["messages"][ids[0]] if ids else []
    if thread_ts is None:
        return listed
    return next(([parent, *parent["replies"]] for parent in listed if parent["ts"] == thread_ts), [])


async def _body(answer: aiohttp.ClientResponse) -> Json:
    body: Json = await answer.json()
    if answer.status >= 400:
        raise UnknownError(str(body.get("error", answer.status)))
    return body
