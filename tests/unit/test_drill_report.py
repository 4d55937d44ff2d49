"""What `rehearse drill` prints for people: the outcome first, then the steps, then what the witness measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.drills.catalogue import DRILLS
from rehearsal.drills.lost import stated_loss, wrong_loss
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


@pytest.mark.parametrize(
    ("label", "seconds"),
    [
        ("Promote and lose up to 7 s (about 120 rows)", 7.0),
        ("Promote and lose up to 5.0 min", 300.0),
        ("Approve", None),
    ],
)
def test_the_loss_that_people_agree_to_is_read_off_the_button(label: str, seconds: float | None) -> None:
    button: dict[str, Any] = {"action_id": "dr_approve", "text": {"type": "plain_text", "text": label}}
    assert stated_loss({"blocks": [{"type": "section"}, {"type": "actions", "elements": [button]}]}) == seconds


@pytest.mark.parametrize(
    ("stated", "measured", "says"),
    [
        (7.0, 3.2, ""),
        (7.0, 7.1, "More is lost than was agreed to: the button said up to 7 s, and the witness measured 7.1 s."),
        (
            9.0,
            3.2,
            "The loss was stated wrongly: the button said up to 9 s, and the witness measured 3.2 s, more than 5 s apart.",
        ),
        (None, 3.2, "The button named no loss, and 3.2 s of commits are lost."),
    ],
)
def test_a_region_is_not_recovered_if_another_loss_was_agreed_to(stated: float | None, measured: float, says: str) -> None:
    assert wrong_loss(stated, measured) == says
