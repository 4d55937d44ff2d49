"""The `rehearse` program: the world in the browser, or a drill without a browser."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from rehearsal.drills.run import DRILLS, Report, carry_out
from rehearsal.drills.work_dirs import drill_room
from rehearsal.world import CannotStart, Options, World

HOME = Path(".rehearsal")


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code: 0 well, 1 not recovered, 2 cannot start."""
    HOME.mkdir(exist_ok=True)
    options = _parser().parse_args(argv if argv is not None else sys.argv[1:] or ["start"])
    try:
        return int(asyncio.run(options.does(options)))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rehearse", description="Practise recoveries on one machine; nothing here is real but the work."
    )
    words = parser.add_subparsers(required=True, metavar="start | drills | drill NAME")
    start = words.add_parser("start", help="the world, the workspace in the browser, and the bot")
    start.add_argument("--port", type=int, default=8044, help="the workspace's port (default: 8044; 0 takes any)")
    start.add_argument("--no-bot", action="store_true", help="start the world without the bot")
    start.add_argument("--room", type=Path, default=HOME, help="the folder of this world (default: .rehearsal)")
    start.add_argument("--state", default="", help="the bot's [state] url (default: SQLite in the room)")
    start.add_argument("--expiry-minutes", type=float, default=15.0, help="how long a plan may wait for approval")
    start.set_defaults(does=_start)
    words.add_parser("drills", help="list the drills").set_defaults(does=_drills)
    drill = words.add_parser("drill", help="fault, /dr, approval, recovery, report; exit 0 only if the witness agrees")
    drill.add_argument("name", choices=sorted(DRILLS), metavar="NAME", help=", ".join(DRILLS))
    drill.add_argument("--json", action="store_true", help="print one JSON object")
    drill.set_defaults(does=_drill)
    for word in (start, drill):
        word.add_argument("--speed", type=_speed, default=60.0, help="how much faster than AWS the waits are (default: 60)")
        word.add_argument("--seed", type=int, default=0, help="chooses persons and pauses (default: 0)")
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 1 <= speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 10000")
    return speed


async def _start(options: argparse.Namespace) -> int:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    began = time.monotonic()
    world = World(
        Options(
            room=options.room,
            cache=HOME / "cache",
            port=options.port,
            speed=options.speed,
            seed=options.seed,
            with_bot=not options.no_bot,
            state_url=options.state,
            expiry_minutes=options.expiry_minutes,
        )
    )
    starting = asyncio.create_task(world.__aenter__())
    ending = asyncio.create_task(told.wait())
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 130
    starting.result()
    try:
        print(f"The workspace is at {world.url} (ready after {time.monotonic() - began:.1f} s).", flush=True)
        print(
            "Open it, choose a fault at the right, then type /dr as Alice and approve as Bob. Ctrl-C ends everything.", flush=True
        )
        await told.wait()
    finally:
        await world.__aexit__()
    return 0


async def _drills(_options: argparse.Namespace) -> int:
    for drill in DRILLS.values():
        print(f"{drill.name:22} {drill.title}")
    return 0


async def _drill(options: argparse.Namespace) -> int:
    with drill_room(HOME) as room:
        world = Options(room=room, cache=HOME / "cache", port=0, speed=options.speed, seed=options.seed)
        report = await carry_out(DRILLS[options.name], world)
    print(json.dumps(report.to_json(), indent=2) if options.json else _text(report))
    return 0 if report.outcome == "recovered" else 1


def _text(report: Report) -> str:
    said = report.to_json()
    lines = [f"{said['drill']}: {said['outcome']}. {report.why}"]
    lines += [f"  {step['outcome']:12} {step['title']}  ({step['command']})" for step in said["steps"]]
    lost = f"{said['rows_lost']} rows lost"
    lines.append(f"  outage {said['rto_seconds']} s and {lost} by the witness; AWS's waits ran {said['speed']:g} times faster.")
    return "\n".join(lines)
