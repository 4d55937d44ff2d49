"""The report of a run: a Markdown file and a picture of the timeline, uploaded as Slack wants files uploaded.

That of a verification of backups has a second picture: the trend of all of them.

They hang on the message that says how the run ended: chat.update takes them as `file_ids`.

https://docs.slack.dev/messaging/working-with-files#upload
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import structlog

from actions.scrub import unexpected
from actions.values import Json
from bot.slack.canvas import add_canvas
from bot.slack.look import Look
from bot.slack.names import names_of
from bot.slack.run_picture import picture
from bot.slack.run_report import markdown, people_in
from bot.slack.trend_picture import FEWEST, trend_picture
from bot.state.items import items_json
from bot.state.memory import StoreMemory
from bot.state.store import Store
from bot.state.story import Story
from commands.memory import VERIFICATION

log = structlog.get_logger(__name__)


class NotWritten(Exception):
    """The report couldn't be drawn or written: a defect. The message is the end of that sentence."""


class NotUploaded(OSError):
    """Slack did not take the bytes of a file."""


async def upload_report(slack: Any, store: Store, story: Story, look: Look) -> list[str]:
    """Draw, write and upload the files, which nobody sees yet; returns their ids. Makes the canvas, too, if Slack lets us.

    Slack's errors are the caller's to judge.

    Raises `NotWritten` if there is nothing to upload, which another try would not fix.
    """
    try:
        written = await report_files(slack, store, story, look)
    except Exception as error:
        log.exception("report_broke", run=story.offer.id)
        says = f"written. {unexpected(error)} The log has the details, and `dr show {story.offer.id}` has the timeline."
        raise NotWritten(says) from error
    files = []
    for name, title, content in written:
        announced = await slack.files_getUploadURLExternal(filename=name, length=len(content))
        await _send(slack, announced["upload_url"], content)
        files.append({"id": announced["file_id"], "title": title})
    await slack.files_completeUploadExternal(files=files)
    await add_canvas(slack, store, story, written[0][2].decode())
    return [str(file["id"]) for file in files]


async def report_files(slack: Any, store: Store, story: Story, look: Look) -> list[tuple[str, str, bytes]]:
    """The files of a report: name, title and content."""
    items: list[dict[str, Json]] = await store.do(items_json, story.offer.id)
    names = await names_of(slack, people_in(story, look, items))
    drawn = await asyncio.to_thread(picture, story, look.rto_minutes)
    text = markdown(story, look, items, names).encode()
    name = stem(story.offer.id)
    return [(f"{name}.md", "Report", text), (f"{name}.png", "Timeline", drawn), *await _trend(store, story, look)]


async def _trend(store: Store, story: Story, look: Look) -> list[tuple[str, str, bytes]]:
    """The trend up to this verification, of the same database's backups; nothing for another run, and for the first one."""
    plan, run = story.offer.plan, story.run
    if plan.scenario != VERIFICATION or run is None or run.ended is None:
        return []
    past = [one for one in await StoreMemory(store).verifications() if one.target == plan.target]
    until = datetime.fromtimestamp(run.ended, UTC)  # rounded as theirs is: else this one is now and then after itself
    past = [one for one in reversed(past) if one.ended <= until]
    if len(past) < FEWEST:
        return []
    drawn = await asyncio.to_thread(trend_picture, past, look.rto_minutes)
    return [(f"{stem(run.id)}-trend.png", "Trend of verifications", drawn)]


def by_hand(run_id: str) -> str:
    """How to get a report that isn't in Slack, as a sentence."""
    return f"`dr report {run_id} --out DIR` writes its files."


def stem(run_id: str) -> str:
    """The name of a run's files without their ending: by it a message that shared them is found."""
    return f"run-{run_id}"


def shares(message: Json, run_id: str) -> bool:
    """Whether a message of the thread shared a run's report."""
    return any(str(file.get("name", "")).startswith(stem(run_id)) for file in message.get("files") or [])


async def _send(slack: Any, url: str, content: bytes) -> None:
    async with slack.session.post(url, data=content) as answer:
        if answer.status != 200:
            raise NotUploaded(
                f"Slack answered {answer.status} to {len(content)} bytes: {json.dumps((await answer.text())[:200])}."
            )
