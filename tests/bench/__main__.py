"""`python -m tests.bench [PART...]`: measure everything, or the parts named, and print the table."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import acks, answers, diffs, engine, fleets, recoveries, regions, repairs, restores, starts, surfaces
from tests.bench.figures import Figure, machine, table
from tests.bench.subjects import opened

PARTS = {
    "acks": acks.measure,
    "recoveries": recoveries.measure,
    "answers": answers.measure,
    "restores": restores.measure,
    "regions": regions.measure,
    "surfaces": surfaces.measure,
    "engine": engine.measure,
    "diffs": diffs.measure,
    "repairs": repairs.measure,
    "fleets": fleets.measure,
    "starts": starts.measure,
    "rehearsal": starts.rehearsal,
}


async def main(wanted: list[str]) -> int:
    """Measure part by part; nothing else of the benchmark runs at the same time."""
    where, began = machine(), time.monotonic()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        base = opened(Path(folder))
        for name in wanted or PARTS:
            print(f"Measuring {name} ...", file=sys.stderr, flush=True)
            figures += await PARTS[name](base / name)
    print(f"{where}, {time.monotonic() - began:.0f} s in all\n\n{table(figures)}")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(asyncio.run(main(sys.argv[1:])))
