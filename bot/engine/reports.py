"""A report that somebody asked for in Slack: made once, and told to that person alone through the outbox."""

from __future__ import annotations

from collections.abc import Mapping

from actions.world import World
from bot.slack.report_card import with_buttons
from bot.state.memory import StoreMemory
from bot.state.messages import order_report
from bot.state.notes import TARGETS, note_lines
from bot.state.store import Item, Store
from commands.report import ReportKind


async def answer(store: Store, world: World, item: Item, kind: ReportKind, arguments: Mapping[str, str]) -> None:
    """Make the report and order its messages. Raises `BadCommand`. If that was done before a crash already, nothing is added."""
    report = await kind.make(world, StoreMemory(store), arguments)
    await store.do(order_report, item.id, item.channel, item.person, with_buttons(report))
    if report.name == "targets" and not arguments:
        lines = [(line.level.value, f"{line.check}: {line.says}") for line in report.findings]
        await store.do(note_lines, TARGETS, lines)
