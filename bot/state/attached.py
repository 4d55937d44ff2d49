"""The texts that steps attached to their runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, select

from bot.state.tables import attachments


def replace_attachment(connection: Connection, key: Mapping[str, Any], text: str) -> None:
    """Store a text in place of an earlier one with the same run, step, attempt and name."""
    connection.execute(delete(attachments).where(*(attachments.c[column] == value for column, value in key.items())))
    connection.execute(attachments.insert().values(**key, text=text, at=time.time()))


def attachments_of(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """The texts of a run in their order: step, attempt, name and text."""
    columns = (attachments.c.step, attachments.c.attempt, attachments.c.name, attachments.c.text)
    rows = connection.execute(select(*columns).where(attachments.c.run_id == run_id).order_by(attachments.c.at)).mappings()
    return [dict(row) for row in rows]
