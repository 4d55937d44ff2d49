"""The `rehearse` program, and `python -m rehearsal`: imports what its processes need beside what it needs itself.

Both take seconds. So the process from which the bot, the control plane and the fleet are forked starts first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rehearsal.machines.preloading import start


def main() -> int:
    """Run the program; returns its exit code (see `rehearsal.cli`)."""
    forker = None
    try:
        if forks(sys.argv[1:] or ["start"]):
            forker = start()
        from rehearsal.cli import main as rehearse

        return rehearse(forker=forker)
    except KeyboardInterrupt:
        return 130
    finally:
        if forker:
            forker.end()


def forks(words: Sequence[str]) -> bool:
    """Whether there are programs to fork. Only on Linux: elsewhere a fork of what has imported this much may crash."""
    starts = words[0] in ("start", "drill") and not {"-h", "--help", "--no-bot"}.intersection(words)
    return starts and sys.platform == "linux"


if __name__ == "__main__":
    sys.exit(main())
