"""Restart the agent on one host, once: look, record the intent, restart, and if the answer gets lost, look again.

A start has an id on the host (systemd's InvocationID, docker's StartedAt), which is recorded before: another id afterwards is
the proof that the restart happened, and the same id, once nothing can be under way any more, that it did not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from actions.errors import ActionError, Refused
from actions.items import INTENDED, Item
from actions.scrub import unexpected
from actions.ssh import lines
from actions.ssh.inventory import Host
from actions.ssh.lines import UnitState
from actions.ssh.reply import AUTH, HOST_KEY, REFUSED, UNREACHABLE, Lost, NotReached
from actions.values import Verdict

if TYPE_CHECKING:
    from actions.ssh.client import Session
    from actions.world import World

RESTARTED, HEALTHY, LEFT_ALONE = "restarted", "healthy", "left alone"
FAILED, UNKNOWN, SILENT = "failed", "unknown", "silent"
GOOD = (HEALTHY, LEFT_ALONE)
BAD = (UNREACHABLE, REFUSED, HOST_KEY, AUTH, FAILED, UNKNOWN, SILENT)
STEADY = ("active", "failed", "inactive", "running", "exited", "created", "dead")  # nothing is under way
LOOK_SECONDS = 5.0
PAUSE_SECONDS = 0.5
MARGIN_SECONDS = 1.0


async def restart(world: World, host: Host, line: str) -> str:
    """Restart the agent with this command line; returns the outcome, which is on record. Never raises for a host's failure."""
    try:
        state, says = await _restart(world, host, line)
    except NotReached as error:
        state, says = error.kind, str(error)
    except ActionError as error:
        state, says = FAILED, f"{error} Nothing was sent."
    except Exception as error:  # nobody knows, so it is unknown
        state, says = UNKNOWN, f"{host}: {unexpected(error)}"
    await world.items.end(host.name, state, says)
    return state


async def settle(world: World, host: Host, item: Item) -> Verdict:
    """Whether a restart that was recorded as intended, and has no outcome, happened. Records the outcome if it did."""
    verdict, says = await _read_back(world, host, str(item.facts.get("start", "")), item.at)
    if verdict is Verdict.DONE:
        await world.items.end(host.name, RESTARTED, says)
    if verdict is Verdict.UNKNOWN:
        await world.items.end(host.name, UNKNOWN, says)
    return verdict


async def _restart(world: World, host: Host, line: str) -> tuple[str, str]:
    site = world.agents
    async with world.ssh.session(host) as session:
        try:
            before = await state(world, session)
        except Lost as error:  # of a question
            return UNREACHABLE, str(error)
        intended = time.time()
        await world.items.intend(host.name, {"start": before.start, "state": before.word})
        await world.gate.opened()
        try:
            reply = await session.run(line, seconds=site.restart_seconds + lines.KILL_AFTER + MARGIN_SECONDS)
        except Lost as error:
            return await _after_loss(world, host, before.start, intended, str(error))
    if reply.good:
        return RESTARTED, ""
    if reply.code == lines.TIMED_OUT:
        says = f"{host}: the restart had not ended after {site.restart_seconds:g} s."
        return await _after_loss(world, host, before.start, intended, says)
    if reply.signal:
        return await _after_loss(world, host, before.start, intended, f"{host}: {reply.says}.")
    return FAILED, f"{host}: {reply.says} (exit code {reply.code})."


async def _after_loss(world: World, host: Host, start: str, intended: float, lost: str) -> tuple[str, str]:
    verdict, says = await _read_back(world, host, start, intended)
    outcome = {Verdict.DONE: RESTARTED, Verdict.NOT_DONE: FAILED, Verdict.UNKNOWN: UNKNOWN}[verdict]
    return outcome, f"{lost} {says}"


async def _read_back(world: World, host: Host, start: str, intended: float) -> tuple[Verdict, str]:
    """Look at the host until it shows another start, or until a restart can no longer be under way."""
    until = intended + world.agents.restart_seconds + lines.KILL_AFTER + MARGIN_SECONDS
    while True:
        late = time.time() > until
        found = await look(world, host)
        if isinstance(found, UnitState):
            if found.start and found.start != start:
                return Verdict.DONE, "Reading back shows that it was restarted."
            if late and found.word in STEADY:
                return Verdict.NOT_DONE, f"Reading back shows that it was not restarted; it is {found.word}."
        if late:
            why = f"it is {found.word}" if isinstance(found, UnitState) else found
            return Verdict.UNKNOWN, f"We can't tell whether it was restarted: {why}."
        await asyncio.sleep(PAUSE_SECONDS)


async def look(world: World, host: Host) -> UnitState | str:
    """The agent's state now, or why the host does not say."""
    try:
        async with world.ssh.session(host) as session:
            return await state(world, session)
    except ActionError as error:
        return str(error).rstrip(".")


async def state(world: World, session: Session) -> UnitState:
    """The agent's state. Raises `Lost`, or `Refused` if the host can't tell."""
    reply = await session.run(lines.show(world.agents, session.host), seconds=LOOK_SECONDS)
    if not reply.good:
        raise Refused(f"{session.host}: its agent's state can't be read: {reply.says}.")
    return lines.state_of(session.host, reply.out)


def is_settled(item: Item | None, attempt: int) -> bool:
    """Whether nothing is to be sent for an item: it was restarted or left alone, or this very attempt has tried it already."""
    if item is None or item.state == INTENDED:
        return False
    return item.state in (*GOOD, RESTARTED, SILENT) or item.attempt == attempt


def to_read_back(item: Item | None) -> bool:
    """Whether a restart may have happened without our knowing: it was intended, and nothing proves how it ended."""
    return item is not None and item.state in (INTENDED, UNKNOWN, FAILED) and "start" in item.facts
