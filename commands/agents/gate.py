"""Whether the control plane takes heartbeats: a heartbeat with a wrong token must be answered 401."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from actions.errors import Unreachable
from actions.values import count
from actions.world import World

TRIES, PAUSE = 3, 0.3  # one bad answer may be a passing one
PROBE = b'{"agent": "dr-bot-probe"}'
NO_TOKEN = "wrong-on-purpose"
WRONG_TOKEN = {"Authorization": f"Bearer {NO_TOKEN}", "Content-Type": "application/json"}


class Door(StrEnum):
    """What the control plane does with an agent that has a wrong token."""

    SHUT = "shut"  # 401: as it must be
    DOWN = "down"  # 5xx, or no answer
    OPEN = "open"  # 2xx: it lets everybody in
    ELSEWHERE = "elsewhere"  # 3xx, 404, 405: this address takes no heartbeats
    STRANGE = "strange"  # anything else


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The answers to heartbeats with a wrong token, 0 for none; `error` is the last reason for that."""

    url: str
    statuses: tuple[int, ...]
    error: str = ""

    @property
    def door(self) -> Door:
        """The judgement: the worst news first, and one 401 is enough to show that it works."""
        if any(200 <= status < 300 for status in self.statuses):
            return Door.OPEN
        if 401 in self.statuses:
            return Door.SHUT
        most = Counter(self.statuses).most_common(1)[0][0]
        if most == 0 or most >= 500:
            return Door.DOWN
        return Door.ELSEWHERE if 300 <= most < 400 or most in (404, 405) else Door.STRANGE

    @property
    def says(self) -> str:
        """What was seen, as a sentence."""
        several = Counter(self.statuses).most_common()
        said = [f"{_answer(status)} in {times} of {count(len(self.statuses), 'try', 'tries')}" for status, times in several]
        answered = _answer(self.statuses[0]) if len(several) == 1 else " and ".join(said)
        return f"A heartbeat with a wrong token to {self.url} {answered}. {MEANS[self.door]}"


def _answer(status: int) -> str:
    return f"was answered {status}" if status else "got no answer"


MEANS = {
    Door.SHUT: "So it takes heartbeats, and only from agents that it knows.",
    Door.DOWN: "The control plane is down, so no heartbeat gets through, whatever the agents do.",
    Door.OPEN: "SECURITY: it takes heartbeats from anybody. Tell whoever looks after its security now.",
    Door.ELSEWHERE: "That is no address that takes heartbeats: look at [agents] heartbeat_url and at the control plane's routes.",
    Door.STRANGE: "401 is expected, and this answer means neither that it works nor that it is down.",
}


async def ask_gate(world: World, url: str, *, seconds: float) -> Gate:
    """Send a heartbeat with a wrong token; up to three times unless the first answer is 401. Silence for so long is an answer."""
    statuses: list[int] = []
    error = ""
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(_ask(world, url, number * PAUSE, seconds)) for number in range(TRIES)]
        if (await tries[0])[0] == 401:
            for other in tries[1:]:
                other.cancel()
    for each in tries:
        if not each.cancelled():
            status, why = each.result()
            statuses.append(status)
            error = why or error
    return Gate(url=url, statuses=tuple(statuses), error=error)


async def _ask(world: World, url: str, after: float, seconds: float) -> tuple[int, str]:
    """The status of one try, 0 if there was no answer until `seconds` after the first began; and why."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.sleep(after)
            return (await world.http.send("POST", url, headers=WRONG_TOKEN, body=PROBE)).status, ""
    except TimeoutError:
        return 0, f"{url} gave no answer within {seconds - after:g} s."
    except Unreachable as error:
        return 0, str(error)
