"""The workspace over HTTP: the Web API, Socket Mode, response URLs, the page and the control API."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from rehearsal.listening import stop_accepting
from rehearsal.slack.calls import answer
from rehearsal.slack.control import Control
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import TEAM
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SAFETY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes(workspace: Workspace) -> list[web.RouteDef]:
    """Every route of the workspace, to be added to an aiohttp application."""
    slack = SlackServer(workspace)
    return [
        web.route("*", "/api/{method}", slack.api),
        web.get("/link/", slack.link),
        web.get("/link", slack.link),
        web.post("/response/{key}", slack.response),
        web.post("/upload/{id}", slack.upload),
        web.get("/files/{id}/{name}", slack.file),
        web.get("/docs/{team}/{canvas}", slack.canvas),
        web.get("/", page),
        web.get("/static/{name}", page),
        *Control(workspace).routes(),
    ]


def application(workspace: Workspace) -> web.Application:
    """An application that has only the workspace, and closes it when it shuts down."""

    async def close(_: web.Application) -> None:
        await workspace.close()

    app = web.Application(client_max_size=4 * 2**20)
    app.add_routes(routes(workspace))
    app.on_shutdown.append(close)
    return app


@asynccontextmanager
async def serve(
    workspace: Workspace, listener: socket.socket | None = None, more: Iterable[web.RouteDef] = ()
) -> AsyncIterator[str]:
    """Serve the workspace, and `more` routes beside it, while the context lasts; gives its address.

    Without a listener it takes any free port of the loopback address.
    """
    app = application(workspace)
    app.add_routes(more)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    listener = listener or socket.create_server(("127.0.0.1", 0))
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        workspace.sockets.base = f"http://127.0.0.1:{listener.getsockname()[1]}"  # until a bot says at which it reached us
        yield workspace.sockets.base
    finally:
        await stop_accepting([listener])
        await runner.cleanup()


async def page(request: web.Request) -> web.Response:
    """The page at `/`, and its parts under `/static/`."""
    path = PAGE / request.match_info.get("name", "index.html")
    if path.parent != PAGE or path.suffix not in TYPES or not path.is_file():
        raise web.HTTPNotFound(text="There is no such part of the page.")
    text = await asyncio.to_thread(path.read_text, encoding="utf-8")
    return web.Response(text=text, content_type=TYPES[path.suffix], headers=SAFETY)


class SlackServer:
    """What an app uses. It knows nothing about the page and the control API."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def api(self, request: web.Request) -> web.StreamResponse:
        """One Web API call, form-encoded or JSON."""
        name, faults = request.match_info["method"], self._workspace.faults
        if faults.away:
            return self._away(request, name)
        arguments = await _arguments(request)
        await faults.delay(name)
        if faults.away:
            return self._away(request, name)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        body, refusal = answer(self._workspace, name, arguments, token or str(arguments.get("token") or ""))
        if refusal is None and faults.loses(name):
            self._workspace.journal.note("lost_answer", method=name)
            return _drop(request)
        headers = {"X-OAuth-Scopes": ",".join(self._workspace.scopes()), **(refusal.headers if refusal else {})}
        return web.json_response(body, status=refusal.status if refusal else 200, headers=headers)

    async def link(self, request: web.Request) -> web.StreamResponse:
        """One Socket Mode connection."""
        if self._workspace.faults.away:
            return self._away(request, "link")
        return await self._workspace.sockets.serve(request)

    async def response(self, request: web.Request) -> web.StreamResponse:
        """One answer to a response URL."""
        if self._workspace.faults.away:
            return self._away(request, "response_url")
        try:
            self._workspace.responses.use(request.match_info["key"], await _arguments(request))
        except RefusedError as error:
            self._workspace.journal.note("response_url", ok=False, error=error.error)
            return web.json_response(error.answer(), status=error.status if error.status != 200 else 400)
        self._workspace.journal.note("response_url", ok=True, error=None)
        self._workspace.journal.changed("message")
        return web.Response(text="ok")

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a file whose upload was announced."""
        if self._workspace.faults.away:
            return self._away(request, "upload")
        if self._workspace.faults.loses("upload"):
            self._workspace.journal.note("lost_answer", method="upload")
            return _drop(request)
        sound = self._workspace.uploads.receive(request.match_info["id"], await request.read())
        return web.Response(text="OK" if sound else "no such upload, or not as long as announced", status=200 if sound else 400)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file that was shared, for the page."""
        upload = self._workspace.uploads.files.get(request.match_info["id"])
        if upload is None or not upload.done:
            raise web.HTTPNotFound(text="There is no such file.")
        kind = "image/png" if upload.name.endswith(".png") else "text/plain"
        return web.Response(body=upload.content, content_type=kind, headers=SAFETY)

    async def canvas(self, request: web.Request) -> web.StreamResponse:
        """A canvas as the Markdown that it was made of."""
        canvas = self._workspace.store.canvases.get(request.match_info["canvas"])
        if canvas is None or request.match_info["team"] != TEAM:
            raise web.HTTPNotFound(text="There is no such canvas.")
        return web.Response(text=canvas["text"], content_type="text/plain", headers=SAFETY)

    def _away(self, request: web.Request, what: str) -> web.StreamResponse:
        self._workspace.journal.note("refused_while_away", method=what)
        return _drop(request)


def _drop(request: web.Request) -> web.StreamResponse:
    """Drop the connection; nobody gets the answer that's returned here."""
    if request.transport:
        request.transport.abort()
    return web.Response(status=503)


async def _arguments(request: web.Request) -> Json:
    """The arguments of a call from query, form or JSON; JSON inside a form is decoded."""
    given: Json = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        given |= _decode(body) if body.strip() else {}
    else:
        given |= {name: _part(str(value)) for name, value in (await request.post()).items()}
    return (
        given | {"base": f"{request.scheme}://{request.host}"}
        if request.path.endswith(("connections.open", "auth.test"))
        else given
    )


def _decode(body: str) -> Json:
    try:
        decoded = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(decoded, dict):
        return {}
    return {name: _part(value) if name in STRUCTURED else value for name, value in decoded.items()}


STRUCTURED = ("blocks", "view", "metadata", "message", "attachments", "document_content")


def _part(value: Any) -> Any:
    """A structured argument, decoded if it came as a string of JSON; anything else stays as it is."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
