"""From a command to its acknowledgement, measured at the workspace: one at a time, and fifty in flight.

`/dr stop` of a run that does not exist is on disk before it is acknowledged, and is then refused to the person alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.slack.workspace import Workspace
from rehearsal.waiting import until
from tests.bench.figures import Figure, percentile
from tests.bench.subjects import Place, place, start
from tests.story.conftest import tries

COMMAND, REFUSAL = "stop nosuchrn", "There is no run 'nosuchrn' to stop"
PASSES, ALONE, TOGETHER, IN_FLIGHT, WARM_UP = 4, 50, 125, 50, 10


@dataclass(kw_only=True)
class Acks:
    """Milliseconds of each acknowledgement."""

    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)


async def measure(folder: Path) -> list[Figure]:
    """Passes of the bare Bolt app and of the bot in turn, each connected to a workspace of its own."""
    async with place(folder / "bare") as bare_place, place(folder / "bot") as bot_place:
        bare, bot = await start(bare_place, bare=True), await start(bot_place, bare=False)
        try:
            await asyncio.sleep(3.0)  # the engine and the clients of AWS are loaded after the connection
            of_bare, of_bot = Acks(), Acks()
            for number in range(PASSES + 1):
                warm_up = number == 0
                await one_pass(bare_place.workspace, Acks() if warm_up else of_bare, warm_up)
                await one_pass(bot_place.workspace, Acks() if warm_up else of_bot, warm_up)
                await quiet(bot_place)
        finally:
            await asyncio.gather(bare.kill(), bot.kill())
    return list(figures(of_bot, of_bare))


async def one_pass(workspace: Workspace, acks: Acks, warm_up: bool) -> None:
    """Commands one after the other, then fifty at a time."""
    for _ in range(WARM_UP if warm_up else ALONE):
        acks.alone.append(await one(workspace))
    left = iter(range(WARM_UP if warm_up else TOGETHER))
    await asyncio.gather(*(_in_turn(workspace, acks, left) for _ in range(IN_FLIGHT)))


async def one(workspace: Workspace, text: str = COMMAND) -> float:
    """The milliseconds of one acknowledgement; a command that is not acknowledged ends the benchmark."""
    answer = await workspace.command("alice", "incident", text)
    if not answer["acked"]:
        raise RuntimeError(f"/dr {text} was not acknowledged: {answer['error']}.")
    return float(answer["ack_ms"])


async def quiet(at: Place) -> None:
    """Wait until the bot has refused all that it was asked, so that the next pass of the other is undisturbed."""
    sent = sum(1 for entry in at.workspace.log if entry.get("type") == "slash_commands")

    def all_told() -> bool:
        return sum(tries(e) for e in at.workspace.ephemerals("alice") if e["text"].startswith(REFUSAL)) >= sent

    await until(all_told, 60, "every refusal")


def figures(bot: Acks, bare: Acks) -> Iterator[Figure]:
    """p50 and p99 of both loads beside the bare Bolt app's."""
    for name, ours, theirs in (
        ("one at a time", bot.alone, bare.alone),
        (f"{IN_FLIGHT} in flight", bot.together, bare.together),
    ):
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            yield Figure(
                name=f"Command to ack, {name}, {label}",
                value=percentile(ours, share),
                bare=percentile(theirs, share),
                unit="ms",
                ratio_aim=1.5,
            )


async def _in_turn(workspace: Workspace, acks: Acks, left: Iterator[int]) -> None:
    for _ in left:
        acks.together.append(await one(workspace))
