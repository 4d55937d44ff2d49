"""Moments as people type them, and how they are written in commands, names and sentences."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.moments import EXPECTED, ago, clock, iso, moment, stamp
from commands.scenario import BadCommand

NOW = datetime(2026, 1, 15, 10, 30, 20, 250_000, tzinfo=UTC)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 30), timezones=ZONES)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-15T09:30:00Z", "2026-01-15T09:30:00Z"),
        ("2026-01-15T09:30:00", "2026-01-15T09:30:00Z"),
        ("2026-01-15T09:30", "2026-01-15T09:30:00Z"),
        ("2026-01-15 09:30", "2026-01-15T09:30:00Z"),
        ("2026-01-15T09:30:00+02:00", "2026-01-15T07:30:00Z"),
        ("2026-01-15T09:30:00.123456Z", "2026-01-15T09:30:00.123456Z"),
        ("  2026-01-15   09:30 ", "2026-01-15T09:30:00Z"),
        ("10:30", "2026-01-15T10:30:00Z"),
        ("10:30Z", "2026-01-15T10:30:00Z"),
        ("10:30:15", "2026-01-15T10:30:15Z"),
        ("9:05", "2026-01-15T09:05:00Z"),
        ("5m", "2026-01-15T10:25:20Z"),
        ("5m ago", "2026-01-15T10:25:20Z"),
        ("5 min", "2026-01-15T10:25:20Z"),
        ("45s", "2026-01-15T10:29:35Z"),
        ("2h", "2026-01-15T08:30:20Z"),
        ("26h ago", "2026-01-14T08:30:20Z"),
    ],
)
def test_a_time_is_read_as_people_type_it_in_utc(text: str, meant: str) -> None:
    assert iso(moment(text, NOW)) == meant


@pytest.mark.parametrize("text", ["10:31", "10:30:21", "23:59"])
def test_a_time_of_day_that_has_not_come_yet_is_yesterdays(text: str) -> None:
    at = moment(text, NOW)
    assert (at.date(), at < NOW) == (datetime(2026, 1, 14, tzinfo=UTC).date(), True)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "yesterday", "24:00", "10:60", "10.30", "5", "5 days", "-5m", "m", "1e3s", "10:30+02:00"),
        *("2026-01-15", "20260115", "2026-13-01T10:30", "2026-01-15T25:00", "2026-W03-4", "0001-01-01T00:00+14:00", "9999999h"),
    ],
)
def test_what_is_no_time_is_refused_in_one_line_that_says_what_is(text: str) -> None:
    with pytest.raises(BadCommand) as refused:
        moment(text, NOW)
    assert str(refused.value) == f"{text.strip()!r} is not a time that I can read. {EXPECTED}."


def test_however_long_ago_it_is_said_to_be_nothing_breaks() -> None:
    assert moment("999999m", NOW) == (NOW - timedelta(minutes=999_999)).replace(microsecond=0)
    assert moment("999999h", NOW).year == 1911


@given(MOMENTS)
def test_a_moment_written_as_iso_is_read_as_the_same(at: datetime) -> None:
    assert moment(iso(at), NOW) == at
    assert moment(iso(at), NOW).tzinfo is UTC
    assert iso(moment(iso(at), NOW)) == iso(at)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(BadCommand):
        assert moment(text, NOW).tzinfo is UTC


@given(MOMENTS)
def test_a_stamp_is_a_part_of_a_name_that_rds_takes(at: datetime) -> None:
    assert stamp(at) == f"{at.astimezone(UTC):%Y%m%d-%H%M%S}"
    assert len(stamp(at)) == len("20260115-103000")
    assert stamp(at).replace("-", "").isdigit()


@pytest.mark.parametrize(
    ("passed", "says"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=0.4), "0 s"),
        (timedelta(seconds=40), "40 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(seconds=119.7), "120 s"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(minutes=119.6), "120 min"),
        (timedelta(hours=3.5), "3.5 h"),
        (timedelta(hours=50.4), "2.1 days"),
        (timedelta(days=20), "20.0 days"),
    ],
)
def test_how_long_ago_is_said_in_the_unit_that_people_use(passed: timedelta, says: str) -> None:
    assert ago(NOW - passed, NOW) == says


def test_a_sentence_shows_whole_seconds_of_utc() -> None:
    assert clock(NOW.astimezone(timezone(timedelta(hours=2)))) == "2026-01-15 10:30:20 UTC"
