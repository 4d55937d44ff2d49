"""Notes by name: small facts that the bot wants to find again, such as what the last check said."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from actions.scrub import scrub
from actions.values import Json
from bot.state.tables import insert_once, notes

CHECK, TARGETS = "latest check", "latest targets"  # names of the notes that the home shows
SIMPLE = "simple cards"  # the name of the note that this workspace refused task cards
MOST_LINES = 200


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a check or a report said at a moment: its lines as level and sentence."""

    at: float
    lines: tuple[tuple[str, str], ...]


def note(connection: Connection, name: str) -> Json:
    """The value under a name; None if there is none."""
    return connection.execute(select(notes.c.value).where(notes.c.name == name)).scalar()


def note_once(connection: Connection, name: str, value: Json) -> bool:
    """Write a note; False if there is one of this name already, which stays."""
    return insert_once(connection, notes, name=name, value=value, at=time.time())


def change_note(connection: Connection, name: str, value: Json) -> None:
    """Give a note that is there another value."""
    connection.execute(update(notes).where(notes.c.name == name).values(value=value))


def note_lines(connection: Connection, name: str, lines: Iterable[tuple[str, str]]) -> None:
    """Note the lines (level and sentence) that a check or a report has now; the earlier ones go."""
    value = [[level, scrub(says)] for level, says in lines][:MOST_LINES]
    connection.execute(notes.delete().where(notes.c.name == name))
    note_once(connection, name, value)


def told(connection: Connection) -> dict[str, Told]:
    """The latest lines of `dr check` and of the targets, by the names `CHECK` and `TARGETS`, as far as there are any."""
    rows = connection.execute(select(notes).where(notes.c.name.in_((CHECK, TARGETS)))).mappings()
    return {row["name"]: Told(at=row["at"], lines=tuple((level, says) for level, says in row["value"])) for row in rows}
