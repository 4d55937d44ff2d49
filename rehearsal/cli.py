"""The `rehearse` program: everything in the browser, or a drill without one."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from rehearsal.drills.catalogue import DRILLS, Drill
from rehearsal.drills.run import carry_out
from rehearsal.drills.work_dirs import drill_work_dir
from rehearsal.machines.launch import launch_by
from rehearsal.machines.preloaded import Preloaded
from rehearsal.machines.preloading import Forker
from rehearsal.machines.processes import ProcessError
from rehearsal.postgres.binaries import PostgresMissing
from rehearsal.postgres.template import prepare
from rehearsal.world import CannotStart, Options, Rehearsal

HOME = Path(".rehearsal")
SPARES_AFTER = 3.0  # seconds: people begin by looking, and a start has enough to do


def main(argv: list[str] | None = None, *, forker: Forker | None = None) -> int:
    """Run the program; returns its exit code: 0 if all is well, 1 if the drill failed, 2 if the rehearsal can't start.

    Programs are forked from the `forker`, if there is one.
    """
    HOME.mkdir(exist_ok=True)
    options = _parser().parse_args(argv if argv is not None else sys.argv[1:] or ["start"])
    try:
        return asyncio.run(_run(options, forker))
    except (CannotStart, PostgresMissing) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(options: argparse.Namespace, forker: Forker | None) -> int:
    if forker is None:
        return int(await options.does(options))
    async with Preloaded(forker) as preloaded:
        launch_by(preloaded.launch)
        return int(await options.does(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rehearse", description="Practise recoveries on this machine, with real faults and without a real AWS or Slack."
    )
    words = parser.add_subparsers(required=True, metavar="start | drills | drill NAME")
    start = words.add_parser("start", help="start everything: the workspace in the browser, AWS, PostgreSQL, and the bot")
    start.add_argument("--port", type=int, default=8044, help="port of the workspace (default: 8044; 0 is any free port)")
    start.add_argument("--no-bot", action="store_true", help="start everything except the bot")
    start.add_argument("--work-dir", "--room", type=Path, default=HOME, help="folder of this rehearsal (default: .rehearsal)")
    start.add_argument("--state", default="", help="the bot's [state] url (default: SQLite in the work folder)")
    start.add_argument("--expiry-minutes", type=float, default=15.0, help="how long a plan can wait for approval (default: 15)")
    start.add_argument("--hosts", type=int, default=12, help="how many agents' hosts there are (default: 12; 0 is none)")
    start.set_defaults(does=_start)
    words.add_parser("drills", help="list the drills").set_defaults(does=_drills)
    drill = words.add_parser("drill", help="run a drill; exit code 0 only if the witness agrees that it recovered")
    drill.add_argument("name", choices=sorted(DRILLS), metavar="NAME", help=", ".join(DRILLS))
    drill.add_argument("--json", action="store_true", help="print one JSON object")
    drill.set_defaults(does=_drill)
    for word in (start, drill):
        word.add_argument("--speed", type=_speed, default=60.0, help="how many times faster than AWS to wait (default: 60)")
        word.add_argument("--seed", type=int, default=0, help="chooses people and pauses (default: 0)")
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 1 <= speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 10000")
    return speed


async def _start(options: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    began = time.monotonic()
    world = Rehearsal(
        Options(
            work_dir=options.work_dir,
            cache=HOME / "cache",
            port=options.port,
            speed=options.speed,
            seed=options.seed,
            with_bot=not options.no_bot,
            state_url=options.state,
            expiry_minutes=options.expiry_minutes,
            hosts=options.hosts,
            training=True,
            tls=True,
            drills=[_offered(drill) for drill in DRILLS.values() if drill.fault],
        )
    )
    starting = asyncio.create_task(world.__aenter__())
    ending = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 130
    starting.result()
    try:
        print(f"The workspace is at {world.url} (ready after {time.monotonic() - began:.1f} s).", flush=True)
        print("Open it, choose a fault on the right, type /dr as Alice, and approve as Bob. Ctrl-C ends everything.", flush=True)
        if options.work_dir == HOME:
            print(
                "In another terminal, in this folder: .venv/bin/dr --rehearsal targets (or plan, runs, show, check).", flush=True
            )
        making = asyncio.create_task(_make_spares(world))
        await stopped.wait()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
    finally:
        await world.__aexit__()
    return 0


async def _make_spares(world: Rehearsal) -> None:
    """The next start is faster, or if they can't be made, as fast as this one."""
    await asyncio.sleep(SPARES_AFTER)
    with suppress(OSError, ProcessError):
        template = await prepare(world.processes, world.options.cache.absolute())
        await template.make_spares(world.processes)


def _offered(drill: Drill) -> dict[str, str]:
    """A drill as the page offers it: a restore without its moment, which the bot's form asks for."""
    words = [word for word in drill.command.split() if "{" not in word]
    return {"name": drill.name, "title": drill.title, "fault": drill.fault, "command": f"/dr {' '.join(words)}"}


async def _drills(_options: argparse.Namespace) -> int:
    for drill in DRILLS.values():
        print(f"{drill.name:22} {drill.title}")
    return 0


def _tell(line: str) -> None:
    """A line of a drill as it happens."""
    print(line, flush=True)


async def _drill(options: argparse.Namespace) -> int:
    with drill_work_dir(HOME) as work_dir:
        start = Options(work_dir=work_dir, cache=HOME / "cache", port=0, speed=options.speed, seed=options.seed)
        report = await carry_out(DRILLS[options.name], start, None if options.json else _tell)
    print(json.dumps(report.to_json(), indent=2) if options.json else report.to_text())
    return 0 if report.outcome == report.drill.outcome else 1
