"""A job that forgets its sessions: opens them until the database has no slot left, and keeps them idle in a transaction.

Run as a program with the connection string in LEAK_DSN. Prints `full N` once the slots are used up, goes on refilling for
half a second so that nobody slips into a slot, then only holds what it has: an ended session is not opened again.
"""

import os
import sys
import time

import psycopg

REFILL_SECONDS = 0.5


def main() -> None:
    """Fills the slots, says so, and holds them until it is killed."""
    dsn, held = os.environ["LEAK_DSN"], fill(os.environ["LEAK_DSN"])
    sys.stdout.write(f"full {len(held)}\n")
    sys.stdout.flush()
    until = time.monotonic() + REFILL_SECONDS
    while time.monotonic() < until:
        held += fill(dsn)
        time.sleep(0.01)
    while held:
        time.sleep(3600)


def fill(dsn: str) -> list["psycopg.Connection[tuple[object, ...]]"]:
    """The sessions it got, each idle in a transaction, until the database refused one."""
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    while True:
        try:
            session = psycopg.connect(dsn, connect_timeout=3)
            session.execute("SELECT count(*) FROM records")
        except psycopg.OperationalError:
            return held
        held.append(session)


if __name__ == "__main__":
    main()
