"""A card with far too many words still gets laid out: the longest are cut, and it always ends."""

from __future__ import annotations

import pytest

from bot.slack import rich
from bot.slack.blocks import MOST_CHARACTERS, fit, section, size


def test_the_texts_of_many_long_steps_are_cut_until_the_card_fits() -> None:
    tasks = [rich.task(f"run-{n}", f"{n}.1 Do it", "done", "psql -c " + "x" * 300, "It says " + "y" * 500) for n in range(15)]
    card = [section("*The end*"), rich.plan("Steps", tasks, "plan")]
    assert size(card) > MOST_CHARACTERS
    assert size(fit(card)) <= MOST_CHARACTERS
    assert card[0]["text"]["text"] == "*The end*"
    assert [task["title"] for task in card[1]["tasks"]] == [f"{n}.1 Do it" for n in range(15)]


@pytest.mark.timeout(20)
def test_a_card_that_can_not_fit_is_laid_out_all_the_same() -> None:
    tasks = [rich.task(f"run-{n}", "Do it", "done", "true", "so") for n in range(300)]
    card = fit([section("x"), rich.plan("Steps", tasks, "plan")])
    assert len(card[1]["tasks"]) == 300
