"""What a standby may conclude, whom it may call gone, and what a sender does while the lead is not certain."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from actions.gate import Gate, GateClosed
from bot.state.holder import is_gone, name_of_this_process
from bot.state.leader import GAP_SECONDS, IDLE_SECONDS, LOOK_SECONDS, MARGIN_SECONDS, TTL_SECONDS, Seen, Watch

LEASE = Seen(epoch=3, holder="elsewhere/1/2/word", beat=7)


def looks(watch: Watch, seen: Seen, since: float, until: float) -> list[bool]:
    """What a standby concludes when it looks all the time and sees the same."""
    count = int((until - since) / LOOK_SECONDS)
    return [watch.expired(seen, since + n * LOOK_SECONDS) for n in range(count + 1)]


# A standby ------------------------------------------------------------------------------------------------------------


def test_a_lease_without_a_new_beat_expires_after_its_time_to_live() -> None:
    concluded = looks(Watch(), LEASE, 100.0, 100.0 + TTL_SECONDS + 0.05)
    assert concluded == [False] * (len(concluded) - 1) + [True]


@pytest.mark.parametrize("renewed", [Seen(epoch=3, holder=LEASE.holder, beat=8), Seen(epoch=4, holder="b/1/2/x", beat=7)])
def test_a_new_beat_or_epoch_starts_the_wait_again(renewed: Seen) -> None:
    watch = Watch()
    late = 100.0 + TTL_SECONDS - 0.1
    assert not any(looks(watch, LEASE, 100.0, late))
    assert not any(looks(watch, renewed, late + LOOK_SECONDS, late + TTL_SECONDS))
    assert watch.expired(renewed, late + LOOK_SECONDS + TTL_SECONDS)


def test_a_standby_that_could_not_look_for_a_while_starts_waiting_again() -> None:
    watch = Watch()
    assert not any(looks(watch, LEASE, 100.0, 101.0))
    back = 101.0 + GAP_SECONDS + 0.2
    assert not any(looks(watch, LEASE, back, back + TTL_SECONDS - LOOK_SECONDS))
    assert watch.expired(LEASE, back + TTL_SECONDS + 0.01)


def test_a_leader_stops_sending_before_a_standby_can_take_over() -> None:
    """Its lease counts from before the renewal, the standby's wait from after it has read it; and there is a margin."""
    assert 0 < MARGIN_SECONDS < TTL_SECONDS - 2 * LOOK_SECONDS


def test_a_killed_leader_is_replaced_within_two_seconds() -> None:
    assert TTL_SECONDS + 2 * LOOK_SECONDS < 2.0
    assert IDLE_SECONDS < TTL_SECONDS  # and one that was killed within a renewal holds up nobody


# Who is gone ----------------------------------------------------------------------------------------------------------


def holder_of(process: subprocess.Popen[bytes]) -> str:
    machine = name_of_this_process().split("/")[0]
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{machine}/{process.pid}/{started}/word"


def test_a_process_of_this_machine_is_gone_once_it_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        holder = holder_of(process)
        assert not is_gone(holder)
        process.kill()
        ends = time.monotonic() + 5
        while not is_gone(holder) and time.monotonic() < ends:  # nobody has collected it yet: it is a zombie
            time.sleep(0.01)
        assert is_gone(holder)
    assert is_gone(holder)


def test_another_process_with_the_same_number_is_not_the_holder() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        machine, pid, started, word = holder_of(process).split("/")
        assert is_gone(f"{machine}/{pid}/{int(started) - 1}/{word}")
        process.kill()


def test_this_process_before_it_started_over_is_gone() -> None:
    assert is_gone(name_of_this_process())


@pytest.mark.parametrize("holder", ["", "x", "elsewhere/1/2/word", "//0/word", "/1/2/word"])
def test_nobody_elsewhere_is_called_gone(holder: str) -> None:
    assert not is_gone(holder)


# The gate -------------------------------------------------------------------------------------------------------------


async def test_a_change_waits_at_the_gate_until_it_opens() -> None:
    opens = time.monotonic() + 0.1
    gate = Gate(lambda: time.monotonic() >= opens)
    await asyncio.gather(gate.opened(), asyncio.to_thread(gate.wait))
    assert time.monotonic() >= opens


async def test_a_change_that_waited_too_long_is_refused() -> None:
    gate = Gate(lambda: False, patience=0.05)
    with pytest.raises(GateClosed, match="could not be sure that it still leads"):
        await gate.opened()
    with pytest.raises(GateClosed, match="could not be sure that it still leads"):
        await asyncio.to_thread(gate.wait)
