"""The messages that are still to be sent, or were: the rows of the outbox. Each is ordered once, by its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, or_, select, update

from actions.scrub import scrub
from bot.state.story import ENDS, WHOLE
from bot.state.tables import insert_once, outbox, runs

Row = dict[str, Any]
FOLDED = "folded"  # stands for the ts of a line that is part of another's message


# Ordering them --------------------------------------------------------------------------------------------------------


def order_reply(connection: Connection, run_id: str, channel: str, key: str, mark: str, text: str) -> None:
    """Order a reply in the thread of a plan or run that isn't a line of its timeline, once."""
    reply = {"kind": "reply", "run_id": run_id, "channel": channel, "mark": mark, "text": text}
    insert_once(connection, outbox, key=f"{run_id}/{key}", **reply)


def order_alert(connection: Connection, key: str, channel: str, says: str) -> bool:
    """Order an alert, a message by itself in the channel, once; False if it was ordered before."""
    row = {"key": f"alert/{key}"[:120], "kind": "alert", "channel": channel, "mark": "bad", "text": scrub(says)}
    return insert_once(connection, outbox, **row, run_id=f"alert/{key}"[:40])


def order_report(connection: Connection, asked: str, channel: str, person: str, texts: Sequence[str]) -> None:
    """Order all messages of a report that only one person sees, or none if the first is there: made again, it may differ."""
    for number, text in enumerate(texts):
        row = {"kind": "ephemeral", "channel": channel, "person": person, "text": text}
        if not insert_once(connection, outbox, key=f"report{number}/{asked}"[:120], **row) and number == 0:
            return


# What is to be told next ----------------------------------------------------------------------------------------------


def due_rows(connection: Connection) -> list[Row]:
    """What may be sent next: each run's first line or card that is not posted, its edits and pins, and each person's sentences.

    A sentence that a person is to be told several times is one row; `tries` says how often, and `last` is its last `seq`.
    """
    ephemeral, card = outbox.c.kind == "ephemeral", outbox.alias()
    first = select(func.min(outbox.c.seq)).where(~ephemeral, outbox.c.ts == "").group_by(outbox.c.run_id)
    stale = or_(outbox.c.sent_rev < outbox.c.rev, and_(outbox.c.pin_wanted, ~outbox.c.pinned))
    thread = and_(outbox.c.kind.in_(("reply", "file")), card.c.key == outbox.c.run_id)
    told = select(outbox, card.c.ts.label("thread")).outerjoin(card, thread)
    same = outbox.c.kind, outbox.c.person, outbox.c.channel, outbox.c.run_id, outbox.c.text
    seq, key, at = outbox.c.seq, outbox.c.key, outbox.c.at
    counted = func.min(seq).label("seq"), func.max(seq).label("last"), func.count().label("tries")
    once = select(*same, *counted, func.min(key).label("key"), func.max(at).label("at"))
    queries = (
        told.where(or_(outbox.c.seq.in_(first), and_(outbox.c.ts != "", stale))),
        once.where(ephemeral, outbox.c.sent_rev < outbox.c.rev).group_by(*same),
    )
    return [dict(row) for query in queries for row in connection.execute(query).mappings()]


def waiting_lines(connection: Connection, row: Any) -> Sequence[RowMapping]:
    """This reply and those of its run that wait behind it, in their order."""
    waiting = select(outbox).where(*_waits(row["run_id"]), outbox.c.seq >= row["seq"]).order_by(outbox.c.seq)
    return connection.execute(waiting).mappings().all()


def end_row(connection: Connection, run_id: str) -> RowMapping:
    """The message that says how a run ended."""
    return connection.execute(select(outbox).where(outbox.c.key == f"{run_id}/end")).mappings().one()


def oldest_pinned(connection: Connection, channel: str) -> RowMapping | None:
    """The oldest pinned card of a channel whose run is over."""
    over = runs.c.id == outbox.c.run_id, runs.c.state.in_(ENDS)
    rows = select(outbox).where(outbox.c.channel == channel, outbox.c.pinned, *over).order_by(outbox.c.seq)
    return connection.execute(rows.limit(1)).mappings().first()


def revision(connection: Connection, row: Any) -> int:
    """The revision that a message should show by now."""
    return int(connection.execute(select(outbox.c.rev).where(outbox.c.seq == row["seq"])).scalar_one())


# What came of them ----------------------------------------------------------------------------------------------------


def record_sent(connection: Connection, row: Any, **values: Any) -> None:
    """Record what came of a message; nothing is recorded if it was replaced in the meantime."""
    connection.execute(update(outbox).where(outbox.c.seq == row["seq"], outbox.c.ts == row["ts"]).values(**values))


def fold_lines(connection: Connection, row: Any, last: int, text: str) -> None:
    """Let one message tell the text of the lines from this row up to `last`; the others of them are told with it."""
    rest = *_waits(row["run_id"]), outbox.c.seq > row["seq"], outbox.c.seq <= last
    connection.execute(update(outbox).where(*rest).values(ts=FOLDED, sent_rev=outbox.c.rev))
    connection.execute(update(outbox).where(outbox.c.seq == row["seq"]).values(text=text, mark=FOLDED))


def close_ephemerals(connection: Connection, rows: Sequence[Any]) -> None:
    """Stop sending what these rows stand for: each is a sentence for a person, up to the row `last`."""
    for row in rows:
        same = [outbox.c[name] == row[name] for name in ("kind", "person", "channel", "run_id", "text")]
        connection.execute(update(outbox).where(*same, outbox.c.seq <= row["last"]).values(sent_rev=outbox.c.rev))


def post_card_again(connection: Connection, run_id: str, gone: str) -> None:
    """Post the card that is gone once more; under the new one goes what is read before an approval, and what follows."""
    unsent = {"ts": "", "sent_rev": 0, "in_flight": False}
    if connection.execute(select(outbox.c.ts).where(outbox.c.key == run_id)).scalar() == gone:
        connection.execute(update(outbox).where(outbox.c.run_id == run_id, outbox.c.mark == WHOLE).values(**unsent))
        connection.execute(update(outbox).where(outbox.c.key == run_id).values(pinned=False, **unsent))


def _waits(run_id: str) -> tuple[Any, ...]:
    """Which replies of a run aren't told yet."""
    return outbox.c.run_id == run_id, outbox.c.kind == "reply", outbox.c.ts == ""
