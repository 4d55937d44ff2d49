"""The app's home, and the form in which a plan is picked: Slack takes them, and they say what must be known."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import settings as dr_toml
from bot.slack.home import Seen, Told, home_view
from bot.slack.pick_form import pick_form, picked
from bot.state.story import Run, Story
from commands.scenario import parse
from rehearsal.slack import blocks as slack
from tests.unit.test_cards import long, stories
from tests.unit.test_plan_cards import offered, plan_with

SITE = dr_toml.load(Path(__file__).parents[2] / "dr.toml")
NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
told = st.none() | st.builds(
    Told,
    at=st.just(1_764_000_000.0),
    lines=st.lists(st.tuples(st.sampled_from(["ok", "met", "stop", "missed", "warn", "unknown"]), long), max_size=12).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=15, deadline=None)
@given(st.lists(stories(), max_size=6), told, told, st.sampled_from(["", "0 4 * * 1"]))
def test_any_home_is_one_that_slack_takes(several: list[Story], check: Told | None, targets: Told | None, cron: str) -> None:
    view = home_view(Seen(stories=several, check=check, targets=targets, cron=cron), NOW)
    assert slack.view_problems(view) == []


def test_the_home_says_what_runs_what_would_fail_and_what_is_due_next() -> None:
    now = time.time()
    run = Run(id="abcdefgh", target="x", state="running", says="", began=now, ended=None, stop_by="", question=None)
    running, over = (
        replace(offered(plan_with()), run=run),
        replace(offered(plan_with()), run=replace(run, state="done", ended=now + 84)),
    )
    check = Told(
        at=now, lines=(("ok", "Slack's scopes suffice."), ("stop", "AWS would refuse rds:RebootDBInstance to this role."))
    )
    said = json.dumps(home_view(Seen(stories=[running, over], check=check, cron="0 4 * * 1"), NOW))
    for words in ("*running*", "*done*, 1 min 24 s", "AWS would refuse", "1 others are", "2026-11-30", "have not been read yet"):
        assert words in said
    assert "Slack's scopes" not in said


def submitted(**values: str) -> dict[str, Any]:
    """The form's state as Slack sends it: a choice for what is chosen, a value for what is typed."""
    view = pick_form(SITE, "C0INCIDENT")
    state: dict[str, Any] = {}
    for block in view["blocks"]:
        if block["type"] == "input":
            name, element = block["block_id"], block["element"]
            is_typed = element["type"] == "plain_text_input"
            chosen = {"selected_option": {"value": values[name]} if name in values else element.get("initial_option")}
            state[name] = {name: {"type": element["type"]} | ({"value": values.get(name)} if is_typed else chosen)}
    return view | {"state": {"values": state}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scenario": "database failover"}, "database failover"),
        ({"scenario": "database failover", "database": "replica"}, "database failover database=replica"),
        ({"scenario": "control-plane restart", "table": "orders"}, "control-plane restart"),
        ({"scenario": "backup status"}, "backup status"),
    ],
)
def test_what_is_picked_is_the_command_that_a_person_would_type(values: dict[str, str], words: str) -> None:
    assert picked(submitted(**values)) == words
    assert parse(words).words in words


def test_the_form_is_one_that_slack_takes_and_a_scenario_must_be_picked() -> None:
    assert slack.view_problems(pick_form(SITE, "C0INCIDENT")) == []
    with pytest.raises(ValueError, match="Choose what to plan"):
        picked(submitted())
    with pytest.raises(ValueError, match="Choose what to plan"):
        picked(submitted(scenario="no such thing"))


@given(st.text(max_size=60))
def test_what_is_typed_into_the_form_is_one_argument_and_nothing_else(text: str) -> None:
    words = picked(submitted(scenario="corruption repair", table=text))
    request = parse(words)
    assert request.words == "corruption repair"
    assert dict(request.arguments) == ({"table": text.strip()} if text.strip() else {})
