"""Faults of the whole world, by name: for the page's panel, for drills, and for scripts over HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from rehearsal.world import World

LOST_ANSWER = "The call takes effect, and its answer is lost on the way."


@dataclass(frozen=True, kw_only=True)
class WorldFault:
    """Something that can be broken, or mended, by a name."""

    name: str
    title: str
    says: str
    kind: str
    put: Callable[[], Awaitable[Any]]


class WorldFaults:
    """What can go wrong in this world. `put(name)` makes it so."""

    def __init__(self, world: World) -> None:
        self._world = world

    def known(self) -> list[WorldFault]:
        """Every fault there is, in the order of the panel."""
        world = self._world
        return [
            WorldFault(
                name="control-plane-hangs",
                title="The control plane hangs",
                says="Its process is frozen; ECS still counts it as running.",
                kind="outage",
                put=self._hang,
            ),
            WorldFault(
                name="bad-deploy",
                title="A bad deploy",
                says="Somebody ships a revision that answers 500.",
                kind="outage",
                put=self._deploy_badly,
            ),
            WorldFault(
                name="database-hangs",
                title="The database hangs",
                says="The primary takes connections and answers nothing.",
                kind="outage",
                put=world.database.hang_primary,
            ),
            WorldFault(
                name="too-many-connections",
                title="Too many connections",
                says="A nightly report takes every slot and stays idle in its transactions.",
                kind="outage",
                put=world.database.fill_connections,
            ),
            *self._smaller(),
        ]

    def _smaller(self) -> list[WorldFault]:
        """Faults around the work itself: lost answers, Slack away, the bot killed; and the way back."""
        rows: list[tuple[str, str, str, str, Callable[[], Awaitable[Any]]]] = [
            ("lost-answer-deploy", "Lost answer: UpdateService", LOST_ANSWER, "answer", lambda: self._lose("UpdateService")),
            (
                "lost-answer-reboot",
                "Lost answer: RebootDBInstance",
                LOST_ANSWER,
                "answer",
                lambda: self._lose("RebootDBInstance"),
            ),
            ("slack-away", "Slack away for 60 s", "No message comes through, and no click.", "slack", self._slack_away),
            ("kill-bot", "Kill the bot", "SIGKILL, and it is started again.", "bot", self._restart_bot),
            ("heal", "Take faults back", "AWS, Slack and the database are without fault again.", "mend", self._heal),
        ]
        return [WorldFault(name=name, title=title, says=says, kind=kind, put=put) for name, title, says, kind, put in rows]

    async def put(self, name: str) -> None:
        """Make a fault so. Raises KeyError with a sentence for an unknown name."""
        for fault in self.known():
            if fault.name == name:
                await fault.put()
                return
        raise KeyError(f"There is no fault {name!r}; the faults are {', '.join(f.name for f in self.known())}.")

    def add_routes(self, app: web.Application) -> None:
        """The HTTP side: /rehearsal/faults, /rehearsal/aws-fault, /rehearsal/witness, /rehearsal/journal, /rehearsal/bot."""
        app.router.add_get("/rehearsal/faults", self._list)
        app.router.add_post("/rehearsal/faults", self._put)
        app.router.add_post("/rehearsal/aws-fault", self._put_aws)
        app.router.add_get("/rehearsal/witness", self._witness)
        app.router.add_get("/rehearsal/journal", self._journal)
        app.router.add_post("/rehearsal/bot", self._bot)

    async def _hang(self) -> None:
        await self._world.ecs.hang()

    async def _deploy_badly(self) -> None:
        await self._world.ecs.deploy_badly()

    async def _lose(self, operation: str) -> None:
        self._world.aws_faults.put("after_drop", operation=operation)

    async def _slack_away(self) -> None:
        self._world.workspace.faults.outage(60)

    async def _restart_bot(self) -> None:
        await self._world.kill_bot()
        await self._world.start_bot()

    async def _heal(self) -> None:
        self._world.aws_faults.clear()
        self._world.workspace.faults.recover()
        self._world.rds.heal()
        await self._world.database.heal()

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response([{"name": f.name, "title": f.title, "says": f.says, "kind": f.kind} for f in self.known()])

    async def _put(self, request: web.Request) -> web.Response:
        try:
            await self.put(str((await request.json()).get("name")))
        except KeyError as error:
            return web.json_response({"ok": False, "error": error.args[0]}, status=400)
        return web.json_response({"ok": True})

    async def _put_aws(self, request: web.Request) -> web.Response:
        try:
            self._world.aws_faults.put(**await request.json())
        except TypeError as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True})

    async def _witness(self, _request: web.Request) -> web.Response:
        witness = getattr(self._world, "witness", None)
        if witness is None:
            return web.json_response({"state": "not watching yet"})
        return web.json_response(await witness.verify() if _request.query.get("verify") else witness.report())

    async def _journal(self, _request: web.Request) -> web.Response:
        journal = self._world.journal
        calls = {"effects": journal.effects(source="bot"), "calls": journal.calls(source="bot")}
        return web.json_response(calls | {"statements": self._world.database.statements()}, dumps=_dumps)

    async def _bot(self, request: web.Request) -> web.Response:
        does = {"kill": self._world.kill_bot, "start": self._world.start_bot}.get((await request.json()).get("do", ""))
        if does is None:
            return web.json_response({"ok": False, "error": 'do must be "kill" or "start"'}, status=400)
        await does()
        return web.json_response({"ok": True})


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)
