"""A job that leaks sessions: it opens them until the database has no slot left, and leaves them idle in a transaction.

Run as a program with the connection string in LEAK_DSN. It prints `full N` when all slots are used up, and goes on taking any
that become free until none did for half a second. Then it only holds what it has: it doesn't open a session again that
somebody ended.
"""

import os
import sys
import time

import psycopg

REFILL_SECONDS = 0.5


def main() -> None:
    """Fill the slots, say so, and hold them until killed."""
    dsn, held = os.environ["LEAK_DSN"], fill(os.environ["LEAK_DSN"])
    sys.stdout.write(f"full {len(held)}\n")
    sys.stdout.flush()
    until = time.monotonic() + REFILL_SECONDS
    while time.monotonic() < until:
        if more := fill(dsn):
            held += more
            until = time.monotonic() + REFILL_SECONDS
        time.sleep(0.01)
    while held:
        time.sleep(3600)


def fill(dsn: str) -> list["psycopg.Connection[tuple[object, ...]]"]:
    """Open sessions, each idle in a transaction, until the database refuses one; returns them."""
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
