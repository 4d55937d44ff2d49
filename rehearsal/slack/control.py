"""The control API: the page and scripts use it to act as people and to cause faults. Loopback only."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from rehearsal.slack import shown
from rehearsal.slack.errors import UnknownError
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Doing = Callable[[Json], Awaitable[Json]]
KEEP_ALIVE_SECONDS = 15.0
TOGETHER_SECONDS = 0.03


class Control:
    """The handlers under /ui."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def routes(self) -> list[web.RouteDef]:
        """The routes of the control API, each closed to other machines and to other pages."""
        doings: dict[str, Doing] = {
            "command": self._command,
            "click": self._click,
            "click_view": self._click_view,
            "shortcut": self._shortcut,
            "react": self._react,
            "join": self._join,
            "submit": self._submit,
            "choose": self._choose,
            "close_view": self._close_view,
            "post": self._post,
            "home": self._home,
            "fault": self._fault,
        }
        return [
            *(web.post(f"/ui/{name}", _guard(_json(doing))) for name, doing in doings.items()),
            web.get("/ui/state", _guard(self._state)),
            web.get("/ui/log", _guard(self._log)),
            web.get("/ui/live", _guard(self._live)),
        ]

    async def _command(self, body: Json) -> Json:
        command = body.get("command", "/dr")
        text = body["text"].strip()
        if text.split(maxsplit=1)[:1] == [command]:
            text = text.removeprefix(command)
        return await self._workspace.command(body["person"], body["channel"], text, command=command)

    async def _click(self, body: Json) -> Json:
        place = body["person"], body["channel"], body["ts"], body["action_id"]
        return await self._workspace.click(*place, value=body.get("value"), state=body.get("state"))

    async def _click_view(self, body: Json) -> Json:
        place = body["person"], body["view_id"], body["action_id"]
        return await self._workspace.click_view(*place, value=body.get("value"), state=body.get("state"))

    async def _shortcut(self, body: Json) -> Json:
        of_message = body.get("channel") or "", body.get("ts") or ""
        return await self._workspace.shortcut(body["person"], body["callback_id"], *of_message)

    async def _react(self, body: Json) -> Json:
        return await self._workspace.react(body["person"], body["channel"], body["ts"], body["name"])

    async def _join(self, body: Json) -> Json:
        self._workspace.join(body["person"], body["channel"], leave=bool(body.get("leave")))
        return {"ok": True}

    async def _submit(self, body: Json) -> Json:
        return await self._workspace.submit(body["person"], body["view_id"], body.get("values") or {})

    async def _choose(self, body: Json) -> Json:
        return await self._workspace.choose(body["person"], body["view_id"], body["action_id"], body.get("value"))

    async def _close_view(self, body: Json) -> Json:
        return await self._workspace.close_view(body["person"], body["view_id"])

    async def _post(self, body: Json) -> Json:
        return await self._workspace.post(body["person"], body["channel"], body["text"], body.get("thread_ts"))

    async def _home(self, body: Json) -> Json:
        return await self._workspace.open_home(body["person"], body.get("tab", "home"))

    async def _fault(self, body: Json) -> Json:
        parameters = {name: value for name, value in body.items() if name != "kind"}
        self._workspace.faults.put(body["kind"], **parameters)
        return {"away": self._workspace.faults.away}

    async def _state(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(shown.state(self._workspace, request.query.get("person")))
        except UnknownError as error:
            return web.json_response({"error": str(error)}, status=404)

    async def _log(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"log": self._workspace.log})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket that tells of each change; browsers allow only six event streams for a host, but hundreds of these."""
        live = web.WebSocketResponse(heartbeat=KEEP_ALIVE_SECONDS)
        await live.prepare(request)
        queue = self._workspace.journal.watch()
        listening = asyncio.create_task(_until_closed(live))
        telling = asyncio.create_task(_tell(live, queue))
        try:
            await asyncio.wait({listening, telling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._workspace.journal.unwatch(queue)
            for task in (listening, telling):
                task.cancel()
            await asyncio.gather(listening, telling, return_exceptions=True)
            await live.close()
        return live


async def _until_closed(live: web.WebSocketResponse) -> None:
    """Read until the page is closed; it has nothing to say."""
    async for _ in live:
        pass


async def _tell(live: web.WebSocketResponse, queue: asyncio.Queue[Json | None]) -> None:
    """Tell of each change, in one message for those that come together, until the workspace closes."""
    await live.send_json({"what": "hello"})
    while (change := await queue.get()) is not None:
        await asyncio.sleep(TOGETHER_SECONDS)
        while not queue.empty():
            change = queue.get_nowait()
            if change is None:
                return
        await live.send_json(change)


def _json(doing: Doing) -> Handler:
    """A handler that takes and returns JSON; what the caller got wrong is returned as `{"error": sentence}`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return web.json_response({"error": "The control API takes application/json."}, status=415)
        try:
            return web.json_response(await doing(await request.json()))
        except UnknownError as error:
            return web.json_response({"error": str(error)}, status=404)
        except (KeyError, ValueError, AttributeError) as error:
            return web.json_response({"error": f"The request is not complete: {error!r}."}, status=400)

    return handle


def _guard(handler: Handler) -> Handler:
    """The same handler, only for callers on this machine and our own page."""

    async def handle(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not _loopback(request.remote) or (origin and origin.split("://")[-1] != request.host):
            return web.json_response({"error": "The control API serves only this machine."}, status=403)
        return await handler(request)

    return handle


def _loopback(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
