"""A report that somebody asked for in Slack: made once, and told to that person alone through the outbox."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from actions.world import World
from bot.home_tab import TARGETS, write_note
from bot.memory import StoreMemory
from bot.report_card import with_buttons
from bot.store import Item, Store
from bot.tables import outbox
from commands.report import ReportKind


async def answer(store: Store, world: World, item: Item, kind: ReportKind, arguments: Mapping[str, str]) -> None:
    """Make the report and order its messages. Raises `BadCommand`. If that was done before a crash already, nothing is added."""
    report = await kind.make(world, StoreMemory(store), arguments)
    await store.do(_order, store, item, with_buttons(report))
    if report.name == "targets" and not arguments:
        lines = [(line.level.value, f"{line.check}: {line.says}") for line in report.findings]
        await store.do(write_note, store, TARGETS, lines)


def _order(connection: Connection, store: Store, item: Item, texts: tuple[str, ...]) -> None:
    """Order all messages, or none if the first is there: a report that is made again may have other ones."""
    for number, text in enumerate(texts):
        row = {"kind": "ephemeral", "channel": item.channel, "person": item.person, "text": text}
        if not store.insert_once(connection, outbox, key=f"report{number}/{item.id}"[:120], **row) and number == 0:
            return
