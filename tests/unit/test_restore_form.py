"""The form for the time of a restore: what it says of each choice, what it refuses, and that Slack takes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.slack.app import WrongTime, read_pick, read_time
from bot.slack.restore_form import CALLBACK, Form, form_view
from commands.restore_time import Window
from rehearsal.slack.blocks import view_problems
from rehearsal.slack.checking import Checker
from rehearsal.slack.elements import element as check_element

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
WINDOW = Window(earliest=NOW - timedelta(days=7), latest=NOW - timedelta(minutes=3))
FORM = Form(channel="C0INCIDENT", database="", instance="prod", at=int((NOW - timedelta(minutes=12)).timestamp()), window=WINDOW)
USER = {"user": {"id": "U0ALICE"}}


def texts(form: Form) -> str:
    return str(form_view(form, NOW)["blocks"])


def moved(**ago: float) -> Form:
    return replace(FORM, at=int((NOW - timedelta(**ago)).timestamp()))


def view(form: Form, at: int | None) -> dict[str, Any]:
    values = {"time": {"dr_time": {"type": "datetimepicker", "selected_date_time": at}}}
    return {"id": "V1", "callback_id": CALLBACK, "private_metadata": form.metadata, "state": {"values": values}}


@pytest.mark.parametrize("form", [FORM, replace(FORM, window=None), replace(FORM, window=Window(error="RDS is away."))])
def test_slack_takes_the_form_and_it_survives_the_way_there_and_back(form: Form) -> None:
    assert view_problems(form_view(form, NOW)) == []
    assert Form.read(form.metadata, form.at) == form


def test_the_form_says_the_moment_in_the_persons_zone_in_utc_and_the_loss() -> None:
    says = texts(FORM)
    assert f"<!date^{FORM.at}^{{date_short_pretty}}, {{time_secs}}|" in says
    assert "*2026-01-15 10:18:00 UTC*" in says
    assert "All that was committed after 2026-01-15 10:18:00 UTC is given up: the last 12 min." in says
    assert "RDS can restore from 2026-01-08 10:30:00 UTC up to 2026-01-15 10:27:00 UTC." in says
    assert "the last 3.0 h." in texts(moved(hours=3))


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (moved(minutes=-1), "2026-01-15 10:31:00 UTC is in the future, and a restore goes back."),
        (moved(minutes=2), "2026-01-15 10:28:00 UTC is later than 2026-01-15 10:27:00 UTC, up to which RDS can restore so far."),
        (moved(days=8), "2026-01-07 10:30:00 UTC is earlier than 2026-01-08 10:30:00 UTC, from which on there are backups."),
        (moved(minutes=3), ""),
        (moved(days=7), ""),
        (replace(moved(days=8), window=Window(error="RDS is away.")), ""),
        (replace(moved(days=8), window=None), ""),
    ],
)
def test_a_moment_that_no_restore_reaches_is_refused_in_the_form(form: Form, says: str) -> None:
    assert form.wrong(NOW).startswith(says)
    assert bool(form.wrong(NOW)) is bool(says)
    assert ("is given up" in texts(form)) is not bool(says)


def test_what_could_not_be_read_is_said_in_the_form() -> None:
    assert "unknown, so the plan will say whether this time is possible. RDS is away." in texts(
        replace(FORM, window=Window(error="RDS is away."))
    )


def test_a_submitted_form_is_the_command_that_one_would_type() -> None:
    item = read_time(USER | {"view": view(replace(FORM, database="billing"), FORM.at - 60)})
    assert item is not None
    assert (item.kind, item.person, item.channel) == ("command", "U0ALICE", "C0INCIDENT")
    assert item.payload["text"] == "database restore time=2026-01-15T10:17:00Z database=billing"


@pytest.mark.parametrize(
    ("at", "metadata", "says"),
    [
        (None, FORM.metadata, "Choose a date"),
        (FORM.at, "{}", "Choose a date"),
        (4e9, FORM.metadata, "in the future"),
    ],
)
def test_a_form_that_cannot_be_used_is_one_line_under_its_field(at: Any, metadata: str, says: str) -> None:
    with pytest.raises(WrongTime, match=says):
        read_time(USER | {"view": view(FORM, at) | {"private_metadata": metadata}})


def test_other_forms_and_buttons_are_left_to_others() -> None:
    assert read_time(USER | {"view": {"callback_id": "dr_confirm"}}) is None
    assert read_pick(USER | {"actions": [{"action_id": "dr_approve"}]}) is None


def test_a_choice_is_recorded_with_its_moment_and_its_form() -> None:
    action = {"action_id": "dr_time", "action_ts": "1.2", "selected_date_time": FORM.at}
    item = read_pick(USER | {"view": view(FORM, FORM.at), "actions": [action]})
    assert item is not None
    assert (item.kind, item.payload) == ("pick", {"view": "V1", "metadata": FORM.metadata, "moment": "1.2", "at": FORM.at})


@pytest.mark.parametrize(
    ("element", "says"),
    [
        ({"type": "datepicker", "initial_date": "2026-01-15"}, ""),
        ({"type": "datepicker", "initial_date": "15.1.2026"}, "YYYY-MM-DD"),
        ({"type": "datepicker", "initial_date": "2026-02-30"}, "YYYY-MM-DD"),
        ({"type": "timepicker", "initial_time": "10:30", "timezone": "Europe/Berlin"}, ""),
        ({"type": "timepicker", "initial_time": "10:30:15"}, "HH:mm"),
        ({"type": "timepicker", "timezone": "Mars/Olympus"}, "IANA time zone"),
        ({"type": "datetimepicker", "initial_date_time": 1768472580}, ""),
        ({"type": "datetimepicker", "initial_date_time": "2026-01-15"}, "10 digits"),
    ],
)
def test_the_rehearsal_checks_pickers_as_slack_does(element: dict[str, Any], says: str) -> None:
    check = Checker()
    check_element(check, element, {element["type"]}, "/e")
    assert [says in complaint for complaint in check.complaints] == ([True] if says else [])
