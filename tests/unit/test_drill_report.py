"""What `rehearse drill` prints for people: the outcome first, then the steps, then what the witness measured."""

from __future__ import annotations

from pathlib import Path

from rehearsal.drills.catalogue import DRILLS
from rehearsal.drills.report import Report
from rehearsal.world import Options

OPTIONS = Options(work_dir=Path("work"), cache=Path("cache"), speed=60)
STEP = {"title": "Restart", "command": "aws ecs update-service", "outcome": "done", "seconds": 1.2, "step": "1.1"}


def report(**more: object) -> Report:
    return Report(drill=DRILLS["bad-deploy"], options=OPTIONS, run={"steps": [STEP]}, **more)  # type: ignore[arg-type]


def test_a_failure_comes_first() -> None:
    failed = report(outcome="failed", why="The bot refused: no.", witness={"outage_seconds": 3.21, "rows_lost": None})
    assert failed.to_text().splitlines() == [
        "bad-deploy: failed. The bot refused: no.",
        "  done         Restart  (aws ecs update-service)",
        "  The witness measured 3.21 s of outage and did not count the lost rows. AWS's waits ran 60 times faster than AWS.",
    ]


def test_lost_rows_are_counted_in_plain_words() -> None:
    last = [report(witness={"rows_lost": lost}).to_text().splitlines()[-1] for lost in (0, 1, 2)]
    assert [line.partition(" and ")[2].partition(".")[0] for line in last] == ["no lost rows", "1 lost row", "2 lost rows"]
