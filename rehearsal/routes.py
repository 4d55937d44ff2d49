"""The rehearsal over HTTP, for the page's panel and for scripts: /rehearsal/faults, witness, journal, incidents and more."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any, Protocol

from aiohttp import web

from rehearsal.accepting import Accepting
from rehearsal.aws.journal import Journal
from rehearsal.faults import FaultPanel, Parts
from rehearsal.training import Training
from rehearsal.witness import Witness

SHOWN = 40
dumps = partial(json.dumps, default=str)


class Controls(Parts, Protocol):
    """What can be asked and controlled over HTTP. There is no witness until everything has started."""

    faults: FaultPanel
    journal: Journal
    witness: Witness
    writers: Accepting | None
    training: Training


class Routes:
    """The handlers under /rehearsal."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def all(self) -> list[web.RouteDef]:
        """Every route."""
        return [
            web.get("/rehearsal/faults", self._list_faults),
            web.post("/rehearsal/faults", self._put_fault),
            web.post("/rehearsal/aws-fault", self._put_aws_fault),
            web.get("/rehearsal/witness", self._witness),
            web.get("/rehearsal/journal", self._journal),
            web.get("/rehearsal/incidents", self._incidents),
            web.get("/rehearsal/fleet", self._fleet),
            web.get("/rehearsal/world", self._world),
            web.get("/rehearsal/calls", self._calls),
            web.get("/rehearsal/drills", self._drills),
            web.get("/rehearsal/debrief", self._debrief),
            web.post("/rehearsal/surprise", self._surprise),
            web.post("/rehearsal/bot", self._bot),
        ]

    async def _list_faults(self, _request: web.Request) -> web.Response:
        known = self._controls.faults.known.values()
        return web.json_response([{"name": f.name, "title": f.title, "says": f.says, "kind": f.kind} for f in known])

    async def _put_fault(self, request: web.Request) -> web.Response:
        name = str((await request.json()).get("name"))
        try:
            await self._controls.faults.put(name)
        except KeyError as error:
            return _refusal(str(error.args[0]))
        self._controls.training.caused(name)
        return web.json_response({"ok": True})

    async def _put_aws_fault(self, request: web.Request) -> web.Response:
        try:
            self._controls.aws_faults.put(**await request.json())
        except (TypeError, ValueError) as error:
            return _refusal(str(error))
        return web.json_response({"ok": True})

    async def _witness(self, request: web.Request) -> web.Response:
        witness: Witness | None = getattr(self._controls, "witness", None)
        if witness is None:
            return web.json_response({"state": "not watching yet"})
        report = await witness.verify() if request.query.get("verify") else witness.report()
        return web.json_response(report | (self._controls.writers.report() if self._controls.writers else {}))

    async def _journal(self, _request: web.Request) -> web.Response:
        journal = self._controls.journal
        calls = {"effects": journal.effects(source="bot"), "calls": journal.calls(source="bot")}
        return web.json_response(calls | {"statements": self._controls.database.statements()}, dumps=dumps)

    async def _incidents(self, _request: web.Request) -> web.Response:
        return web.json_response([incident.to_json() for incident in self._controls.faults.data.incidents])

    async def _fleet(self, _request: web.Request) -> web.Response:
        fleet = self._controls.fleet
        return web.json_response(await fleet.report() if fleet else {})

    async def _world(self, _request: web.Request) -> web.Response:
        if getattr(self._controls, "witness", None) is None:
            return web.json_response({"error": "The rehearsal is starting."}, status=503)
        return web.json_response(self._controls.training.picture.drawn() | {"witness": self._controls.witness.report()})

    async def _calls(self, _request: web.Request) -> web.Response:
        """The last calls of the bot that changed something in AWS, and its last statements, newest first."""
        calls = self._controls.journal.calls(source="bot", changing=True)[-SHOWN:]
        statements = await asyncio.to_thread(self._controls.database.statements)
        return web.json_response({"calls": calls[::-1], "statements": statements[: -SHOWN - 1 : -1]}, dumps=dumps)

    async def _drills(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._controls.training.drills))

    async def _debrief(self, _request: web.Request) -> web.Response:
        return web.json_response(self._controls.training.debrief())

    async def _surprise(self, _request: web.Request) -> web.Response:
        self._controls.training.draw()
        return web.json_response({"ok": True})

    async def _bot(self, request: web.Request) -> web.Response:
        acts = {"kill": self._controls.kill_bot, "start": self._controls.start_bot}
        act = acts.get((await request.json()).get("do", ""))
        if act is None:
            return _refusal('do must be "kill" or "start"')
        await act()
        return web.json_response({"ok": True})


def _refusal(sentence: str) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error": sentence}
    return web.json_response(body, status=400)
