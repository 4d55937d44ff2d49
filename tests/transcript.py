"""Every sentence of a few drills as people saw it, for docs/transcript.md: `python -m tests.transcript`.

Plan and card as they were first and last, the thread, the questions and the end; times, ids and addresses are as they came.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from rehearsal.drills.catalogue import DRILLS
from rehearsal.drills.report import Report
from rehearsal.drills.run import DrillRun
from rehearsal.people import People, run_of
from rehearsal.world import Options, Rehearsal

CHOSEN = ("control-plane-down", "bad-deploy", "too-many-connections", "database-failover")
EVERY_SECONDS = 0.2
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the transcript of the chosen drills, or of those named."""
    sys.stdout.write("# Transcript\n\nWhat the bot said in drills, as `make transcript` wrote it down. ")
    sys.stdout.write("`<@U0ALICE>` is shown by Slack as a name.\n")
    for name in sys.argv[1:] or CHOSEN:
        sys.stdout.write(asyncio.run(_drill(name)))


async def _drill(name: str) -> str:
    drill = DRILLS[name]
    with tempfile.TemporaryDirectory() as folder:
        options = Options(port=0, speed=120.0, work_dir=Path(folder) / "work", cache=ROOT / ".rehearsal" / "cache")
        async with Rehearsal(options) as world:
            run = DrillRun(world, Report(drill=drill, options=options))
            cards: dict[str, str] = {}
            watching = asyncio.create_task(_watch(run.people, cards))
            try:
                await run.run()
                await asyncio.sleep(2.0)
            finally:
                watching.cancel()
            return "\n".join(
                [
                    f"\n## {drill.title} (`{name}`)\n",
                    f"{run.cast['requester'].title()} typed `/dr {drill.command}`.\n",
                    *_told(run.people, cards),
                ]
            )


async def _watch(people: People, cards: dict[str, str]) -> None:
    """Keep each card as it was first: it is edited later."""
    while True:
        for message in people.messages():
            run = run_of(message)
            if run and run not in cards and "dr_approve" in str(message["blocks"]):
                cards[run] = _text(message)
        await asyncio.sleep(EVERY_SECONDS)


def _told(people: People, cards: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for message in people.messages():
        run = run_of(message)
        if run is None:
            kind = "The end, also in the channel" if message.get("subtype") == "thread_broadcast" else "A message in the channel"
            lines += [f"### {kind}\n", _quote(_text(message)), ""]
            continue
        lines += ["### The plan\n", _quote(cards.get(run, "")), "", "### The card at the end\n", _quote(_text(message)), ""]
        thread = [m for m in people.slack.messages("incident", message["ts"])[1:] if m.get("subtype") != "thread_broadcast"]
        lines += ["### The thread\n", *(_quote(_text(reply)) + "\n" for reply in thread)]
    return lines


def _quote(text: str) -> str:
    return "\n".join(f"> {line}  " for line in text.splitlines() if line.strip())


def _text(message: Any) -> str:
    """A message as text: its blocks if it has any."""
    blocks = message.get("blocks") or []
    files = [f"[{file['title']}: {file['name']}]" for file in message.get("files") or []]
    return html.unescape("\n".join([*([line for block in blocks for line in _block(block)] or [message["text"]]), *files]))


def _block(block: Any) -> list[str]:
    if block["type"] == "actions":
        return [" ".join(f"[{element['text']['text']}]" for element in block["elements"])]
    if block["type"] == "plan":
        tasks = [
            (task["status"], task["title"], *(_rich(task.get(part)) for part in ("details", "output"))) for task in block["tasks"]
        ]
        return [block["title"], *(f"{status}: {' | '.join(part for part in parts if part)}" for status, *parts in tasks)]
    texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
    return [line for text in texts if text for line in re.split(r"\n", text["text"])]


def _rich(block: Any) -> str:
    if not block:
        return ""
    elements = [element for section in block["elements"] for element in section["elements"]]
    return "".join(element.get("text") or f"<@{element.get('user_id', '')}>" for element in elements)


if __name__ == "__main__":
    main()
