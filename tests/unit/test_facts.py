"""All reads of a plan share a budget: a silent service costs the plan that much, a slow one may take longer."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

from actions.aws.call import AwsUnreachable
from actions.errors import Unreachable
from actions.values import ok, stop, warn
from commands.facts import gathering, read, unread_first

NEVER = 60.0


async def answer(after: float = 0.0) -> str:
    await asyncio.sleep(after)
    return "available"


async def refuse(error: Unreachable) -> NoReturn:
    raise error


async def test_a_silent_service_costs_no_more_than_the_budget() -> None:
    began = time.monotonic()
    with gathering(budget=0.3, slow=NEVER):
        first, other = await asyncio.gather(read("RDS", answer(NEVER), of="rds"), read("RDS events", answer(NEVER), of="rds"))
    assert time.monotonic() - began < NEVER / 4
    assert first.error.startswith("RDS gave no answer within ")
    assert not other.known


async def test_what_a_service_owes_that_answers_may_take_longer() -> None:
    with gathering(budget=0.3, slow=NEVER):
        quick, slow = await asyncio.gather(read("RDS", answer(), of="rds"), read("RDS events", answer(0.9), of="rds"))
    assert (quick.value, slow.value) == ("available", "available")


async def test_a_service_that_answers_vouches_for_no_other() -> None:
    with gathering(budget=0.3, slow=NEVER):
        quick, silent = await asyncio.gather(read("RDS", answer(), of="rds"), read("ECS", answer(NEVER), of="ecs"))
    assert (quick.known, silent.known) == (True, False)


async def test_a_refusal_is_an_answer_and_silence_is_none() -> None:
    refusal, silence = AwsUnreachable("AccessDenied.", code="AccessDenied", final=True), Unreachable("The connection broke off.")
    for error, waited in ((refusal, True), (silence, False)):
        with gathering(budget=0.3, slow=NEVER):
            _, slow = await asyncio.gather(read("Alarm", refuse(error), of="aws"), read("RDS", answer(0.9), of="aws"))
        assert slow.known is waited


async def test_even_a_slow_service_has_a_deadline() -> None:
    with gathering(budget=0.1, slow=0.4):
        _, slow = await asyncio.gather(read("RDS", answer(), of="rds"), read("RDS events", answer(NEVER), of="rds"))
    assert not slow.known


async def test_reads_one_after_the_other_share_the_budget() -> None:
    began = time.monotonic()
    with gathering(budget=0.5, slow=NEVER):
        facts = [await read("RDS", answer(NEVER)) for _ in range(3)]
    assert time.monotonic() - began < 3 * 0.5
    assert not any(fact.known for fact in facts)


async def test_a_question_that_nobody_waits_for_any_more_is_ended() -> None:
    ended = asyncio.Event()

    async def ask() -> None:
        try:
            await asyncio.sleep(NEVER)
        finally:
            ended.set()

    with gathering(budget=0.1):
        assert not (await read("RDS", ask())).known
    await asyncio.wait_for(ended.wait(), 5)


def test_what_could_not_be_read_is_said_first() -> None:
    findings = (ok("A"), stop("B"), warn("C could not be read, so this plan does without it."), stop("D could not be read."))
    assert [found.says[0] for found in unread_first(findings)] == ["D", "C", "A", "B"]
