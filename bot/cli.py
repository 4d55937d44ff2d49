"""The `dr` program: serve, plan, run, targets, triage, report, runs, show, check, completion."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shlex
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from actions.scrub import scrub, scrub_all, unexpected
from bot import log
from bot.rehearsed import join
from bot.settings import BadSettings, Settings, load

WORDS = ("serve", "plan", "run", "targets", "triage", "report", "runs", "show", "check", "completion")
REHEARSAL = "use the rehearsal that runs in this folder, and nothing outside of it, instead of --config"
EXIT_CODES = (
    "Exit codes: 0 all is well; 1 it is not (a plan that cannot be approved, a target missed, a run that did not end well); "
    "2 bad arguments, settings or environment; 130 interrupted."
)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code: 0 well, 1 not well, 2 bad arguments, settings or environment."""
    options = _parser().parse_args(argv)
    if "shell" in options:
        return _print_completion(options.shell)
    log.set_up(level="INFO" if options.does is _serve else "WARNING")
    try:
        if options.rehearsal:
            options.config = join()
        return int(asyncio.run(options.does(load(options.config), options)))
    except BadSettings as error:
        about_file = str(error).startswith("[")  # a mistake that shows only when a setting is used
        _complain(f"{options.config}: {error}" if about_file else str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a defect: its details are for the log, and no traceback is for the person
        structlog.get_logger(__name__).exception("broke")
        _complain(unexpected(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    says = "Disaster recovery from Slack: a plan, an approval, a durable run."
    parser = argparse.ArgumentParser(prog="dr", description=says, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"dr {version('dr-bot')}")
    parser.add_argument("--rehearsal", action="store_true", help=REHEARSAL)
    words = parser.add_subparsers(required=True, metavar=" | ".join(WORDS))
    _word(words, "serve", _serve, "connect to Slack and serve")
    plan = _word(words, "plan", _plan, "make a plan and print it; touches nothing", as_json=True)
    plan.add_argument("scenario", help='the words after /dr, such as "database failover"')
    plan.add_argument("arguments", nargs="*", help="name=value")
    run = _word(words, "run", _run, "have the bot carry out what needs no approval, and wait; exit code 0 only if it ended well")
    run.add_argument("scenario", help='the words after /dr, such as "backup verify"')
    run.add_argument("arguments", nargs="*", help="name=value")
    run.add_argument("--unattended", action="store_true", required=True, help="as [authority] unattended of dr.toml allows")
    targets = _word(words, "targets", _report, "the recovery targets: met, missed or unknown", as_json=True)
    targets.add_argument("arguments", nargs="*", help="name=value")
    targets.set_defaults(report="targets")
    triage = _word(words, "triage", _report, "which scenario fits what is broken; touches nothing", as_json=True)
    triage.set_defaults(report="triage", arguments=[])
    report = _word(words, "report", _report, "make a read-only report and print it; exit code 1 if not all is well", as_json=True)
    report.add_argument("report", help='the words after /dr, such as "backup status"; or a run, whose report is written as files')
    report.add_argument("--out", type=Path, default=Path("."), help="the folder for the files of a run's report (default: here)")
    report.add_argument("arguments", nargs="*", help="name=value")
    _word(words, "runs", _runs, "list the latest runs", as_json=True)
    _word(words, "show", _show, "show a run and its timeline", as_json=True).add_argument("run")
    _word(words, "check", _check, "what would fail tonight: settings, Slack, AWS, databases", as_json=True)
    completion = words.add_parser("completion", help="print the script that completes the words of dr in your shell")
    completion.add_argument(
        "shell", choices=("bash", "zsh"), help='bash: eval "$(dr completion bash)" in ~/.bashrc; zsh: in ~/.zshrc'
    )
    return parser


def _word(words: Any, name: str, does: Callable[..., Coroutine[Any, Any, int]], says: str, *, as_json: bool = False) -> Any:
    word = words.add_parser(name, help=says, description=says)
    word.add_argument("--config", type=Path, default=Path("dr.toml"), help="the settings file (default: dr.toml)")
    word.add_argument("--rehearsal", action="store_true", default=argparse.SUPPRESS, help=REHEARSAL)
    if as_json:
        word.add_argument("--json", action="store_true", help="print JSON")
    word.set_defaults(does=does)
    return word


async def _serve(settings: Settings, _options: argparse.Namespace) -> int:
    from bot.serve import serve  # imports Slack's client, which the other words do not need

    await serve(settings)
    return 0


def _print_completion(shell: str) -> int:
    from bot.completion import script

    print(script(_parser(), shell))
    return 0


async def _plan(settings: Settings, options: argparse.Namespace) -> int:
    from actions.warming import warm
    from actions.world import World
    from bot.engine.planner import expiring
    from bot.state.kept import LateShelf
    from bot.terminal import plan_text
    from commands.scenario import BadCommand, parse

    world, shelf = World(settings), LateShelf(lambda: _store(settings))
    world.kept = shelf.get
    try:
        request = parse(" ".join([options.scenario, *options.arguments]))
        if request.scenario is None:
            raise BadCommand(f"`dr plan` takes a scenario, and {request.words!r} isn't one; `/dr help` lists them.")
        _require_database(settings)
        await warm(world)  # loading takes a while, and is not the silence of what is asked
        plan = expiring(await request.scenario.make(world, request.arguments), settings)
    except BadCommand as error:
        _complain(str(error))
        return 2
    finally:
        shelf.close()
        await world.close()
    _say(plan.to_json() if options.json else plan_text(plan))
    return 1 if plan.forbidden else 0


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    from bot.hand_over import Refused, hand_over
    from bot.state.database import open_engine
    from bot.state.store import Refusal
    from commands.scenario import BadCommand

    words = " ".join([options.scenario, *map(shlex.quote, options.arguments)])
    try:
        return 0 if await hand_over(settings, open_engine(settings.state.url), words, _say) else 1
    except BadCommand as error:
        _complain(str(error))
        return 2
    except (Refused, Refusal) as refusal:
        _complain(str(refusal))
        return 1


async def _report(settings: Settings, options: argparse.Namespace) -> int:
    if re.fullmatch(r"[a-z2-7]{8}", options.report):
        return await _run_report(settings, options)
    return await _asked_report(settings, options)


async def _run_report(settings: Settings, options: argparse.Namespace) -> int:
    """Write the report of a run: the same files that its thread gets."""
    from bot.slack.look import look_at
    from bot.slack.uploads import report_files
    from bot.state.usual import read_usual

    store = _store(settings)
    story = await store.story(options.report)
    if story is None:
        _complain(f"There is no run {options.report!r}; `dr runs` lists them.")
        return 2
    look = look_at(settings, story, await store.do(read_usual, story.offer.plan), simple=False)
    files = await report_files(_slack(settings), store, story, look)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, _, content in files:
        (options.out / name).write_bytes(content)
        _say(str(options.out / name))
    store.close()
    return 0


async def _asked_report(settings: Settings, options: argparse.Namespace) -> int:
    from actions.warming import warm
    from actions.world import World
    from bot.slack.report_card import report_text
    from bot.state.memory import LateMemory
    from commands.report import REPORTS
    from commands.scenario import BadCommand, parse

    world, memory = World(settings), LateMemory(lambda: _store(settings))
    try:
        request = parse(" ".join([options.report, *options.arguments]))
        if request.report is None:
            raise BadCommand(f"`dr report` takes a report, and {request.words!r} isn't one; there are {', '.join(REPORTS)}.")
        await warm(world)  # loading takes a while, and is not the silence of what is asked
        report = await request.report.make(world, memory, request.arguments)
    except BadCommand as error:
        _complain(str(error))
        return 2
    finally:
        await memory.close()
        await world.close()
    _say(report.to_json() if options.json else report_text(report))
    return 0 if report.good else 1


async def _runs(settings: Settings, options: argparse.Namespace) -> int:
    from bot.terminal import run_line, story_json

    store = _store(settings)
    stories = await store.stories()
    brief = [story_json(story, brief=True) for story in stories]
    _say(brief if options.json else "\n".join(run_line(s) for s in stories) or "There has been no run yet.")
    store.close()
    return 0


async def _show(settings: Settings, options: argparse.Namespace) -> int:
    from bot.slack.names import mentioned, named_in, names_of
    from bot.state.attached import attachments_of
    from bot.state.items import items_json
    from bot.terminal import iso, run_line, step_lines, story_json

    store = _store(settings)
    story = await store.story(options.run)
    items = await store.do(items_json, options.run)
    texts = await store.do(attachments_of, options.run)
    store.close()
    if story is None:
        _complain(f"There is no run {options.run!r}; `dr runs` lists them.")
        return 2
    lines = [run_line(story), *step_lines(story.offer.plan)]
    lines += [f"{iso(line.at)}  {line.mark:5}  {line.text}" for line in story.timeline]
    lines += [f"{item['state']:12}  {item['item']}  {item['says']}" for item in items]
    lines += [f"\n{text['name']} (step {text['step']}, attempt {text['attempt']}):\n{text['text']}" for text in texts]
    whole = story_json(story) | ({"items": items} if items else {}) | ({"attachments": texts} if texts else {})
    text = "\n".join(lines)
    people = {story.offer.requested_by, *mentioned(text)} - {""}
    names = {} if options.json else await names_of(_slack(settings), people)
    asked = story.offer.requested_by
    _say(whole if options.json else named_in(text, names).replace(f"by {asked}", f"by {names.get(asked, asked)}"))
    return 0


async def _check(settings: Settings, options: argparse.Namespace) -> int:
    from bot.check import check, once
    from bot.terminal import finding_line

    findings = await check(settings)
    told = [{"level": f.level, "says": f.says, "evidence": f.evidence} for f in findings]
    _say(told if options.json else "\n".join(finding_line(f) for f in once(findings)))
    return 1 if any(f.level == "stop" for f in findings) else 0


def _slack(settings: Settings) -> Any:
    """Slack's client to ask for names; None without a token, and then ids have to do."""
    from bot.slack.app import slack_client

    try:
        return slack_client(settings)
    except BadSettings:
        return None


def _store(settings: Settings) -> Any:
    from bot.state.database import open_engine
    from bot.state.store import Store

    return Store(open_engine(settings.state.url))


def _require_database(settings: Settings) -> None:
    """Raises `BadSettings` if the database's DSN is missing or malformed: a plan made without it could differ from the bot's."""
    from actions.db.connect import wrong_dsn

    if wrong := wrong_dsn(settings.database()):
        raise BadSettings(f"environment: {wrong}")


def _say(value: Any) -> None:
    """Print a text, or a value as JSON, without secrets: the last gate."""
    print(scrub(value) if isinstance(value, str) else json.dumps(scrub_all(value), indent=2), flush=True)


def _complain(line: str) -> None:
    print(scrub(line), file=sys.stderr)
