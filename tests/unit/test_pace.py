"""The bot keeps to Slack's rate limits, each in its own lane; the rehearsal's Slack refuses whoever does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.pace import LIMITS, Pace, lane_of
from rehearsal.slack.errors import RefusedError
from rehearsal.slack.limits import Limits

POST, ELSEWHERE, EDIT = lane_of("chat.postMessage", "C1"), lane_of("chat.postMessage", "C2"), lane_of("chat.update", "C1")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(1.0, clock)


def calls_within(pace: Pace, clock: Clock, lane: tuple[str, str], seconds: float) -> int:
    """How many calls a lane takes if each is made as soon as it may be."""
    ends, calls = clock.now + seconds, 0
    while clock.now + pace.wait(lane) <= ends:
        clock.now += pace.wait(lane)
        pace.take(lane)
        calls += 1
    return calls


@given(
    method=st.sampled_from(sorted(LIMITS)),
    speed=st.sampled_from([0.5, 1.0, 4.0, 25.0]),
    idle=st.lists(st.floats(0, 30), min_size=100, max_size=100),
)
def test_slack_never_has_to_refuse_a_call_that_kept_the_pace(method: str, speed: float, idle: list[float]) -> None:
    clock = Clock()
    pace, limits, lane = Pace(speed, clock), Limits(speed, clock), lane_of(method, "C1")
    for seconds in idle:
        clock.now += pace.wait(lane) + (seconds if seconds > 20 else 0)  # mostly at full pace, sometimes after a rest
        pace.take(lane)
        limits.take(method, "C1")


@pytest.mark.parametrize(("lane", "calls"), [(POST, 61), (EDIT, 40), (lane_of("chat.postEphemeral", "C1"), 105)])
def test_a_lane_takes_as_many_calls_a_minute_as_slack_does(pace: Pace, clock: Clock, lane: tuple[str, str], calls: int) -> None:
    assert calls_within(pace, clock, lane, 60.5) == calls


def test_posts_have_a_lane_per_channel_and_edits_one_for_all() -> None:
    assert POST != ELSEWHERE
    assert lane_of("chat.update", "C1") == lane_of("chat.update", "C2")


def test_a_pause_of_one_lane_leaves_the_others_free(pace: Pace, clock: Clock) -> None:
    pace.pause(POST, 30)
    assert pace.wait(POST) == 30
    assert pace.wait(ELSEWHERE) == pace.wait(EDIT) == 0
    clock.now += 30
    assert pace.wait(POST) == 0


def test_a_lane_without_answers_pauses_longer_each_time_until_one_comes(pace: Pace) -> None:
    assert [pace.back_off(POST) for _ in range(6)] == [0.2, 0.5, 1.0, 2.0, 4.0, 4.0]
    assert pace.back_off(EDIT) == 0.2
    pace.answered(POST)
    assert pace.back_off(POST) == 0.2


# The rehearsal's Slack ------------------------------------------------------------------------------------------------


def test_too_many_posts_in_one_channel_are_refused_there_and_nowhere_else(clock: Clock) -> None:
    limits = Limits(1.0, clock)
    for _ in range(3):
        limits.take("chat.postMessage", "C1")
    for _ in range(2):  # what is refused does not count
        with pytest.raises(RefusedError) as refused:
            limits.take("chat.postMessage", "C1")
        assert (refused.value.error, refused.value.status) == ("ratelimited", 429)
        assert refused.value.headers["Retry-After"] == "1"
    limits.take("chat.postMessage", "C2")
    limits.take("chat.update", "C1")
    clock.now += 1
    limits.take("chat.postMessage", "C1")


def test_a_method_without_a_channels_limit_is_limited_as_a_whole(clock: Clock) -> None:
    limits = Limits(1.0, clock)
    for number in range(10):
        limits.take("chat.update", f"C{number}")
    with pytest.raises(RefusedError) as refused:
        limits.take("chat.update", "C99")
    assert refused.value.headers["Retry-After"] == "2"


def test_a_faster_slack_takes_as_many_more_calls(clock: Clock) -> None:
    limits = Limits(25.0, clock)
    for _ in range(100):
        limits.take("chat.postMessage", "C1")
        clock.now += 1 / 25
