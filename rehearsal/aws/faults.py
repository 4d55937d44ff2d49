"""Faults of the AWS API itself, on purpose and a counted number of times: throttling, lost answers, hangs, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from rehearsal.aws.garbled import PAGES

Before = Literal["throttle", "error500", "hang", "drop", "garbled", "access_denied", "slow", "region_down"]
After = Literal["after_drop", "after_500", "after_hang", "after_garbled"]
Kind = Before | After
BEFORE: frozenset[str] = frozenset(get_args(Before))
AFTER: frozenset[str] = frozenset(get_args(After))


@dataclass(kw_only=True, eq=False)
class Fault:
    """One rule: what goes wrong, where, and how many times more (None: until `clear`)."""

    kind: Kind
    region: str = "*"
    service: str = "*"
    operation: str = "*"
    times: int | None = 1
    seconds: float = 0.0
    page: str = "html_403"

    def matches(self, region: str, service: str, operation: str) -> bool:
        """Whether the rule has times left and its patterns (shell wildcards) fit the call."""
        if self.times == 0:
            return False
        wanted = ((region, self.region), (service, self.service), (operation, self.operation))
        return all(fnmatchcase(value, pattern) for value, pattern in wanted)


class Faults:
    """The rules in force.

    Before the effect: throttle, error500, hang (there is never an answer), drop (the connection is cut), garbled (a `page`
    of rehearsal/aws/garbled.py comes back instead), access_denied, slow (the answer takes `seconds` of real time more),
    region_down (every call of the region is cut: the API can be reached, but it's dead. `Front.region_down` is harder: the
    port refuses).
    After it: after_drop, after_500, after_hang and after_garbled (the call takes effect, and the answer is lost).
    """

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def put(
        self,
        kind: Kind,
        *,
        operation: str = "*",
        service: str = "*",
        region: str = "*",
        times: int | None = 1,
        seconds: float = 0.0,
        page: str = "html_403",
    ) -> Fault:
        """Put a rule in force; returns it, so that the caller can see how many times are left."""
        if kind not in BEFORE | AFTER:
            raise ValueError(f"There is no fault {kind!r}; there are {', '.join(sorted(BEFORE | AFTER))}.")
        if page not in PAGES:
            raise ValueError(f"There is no page {page!r}; there are {', '.join(PAGES)}.")
        lasting = None if kind == "region_down" else times
        fault = Fault(kind=kind, operation=operation, service=service, region=region, times=lasting, seconds=seconds, page=page)
        self.rules.append(fault)
        return fault

    def take(self, region: str, service: str, operation: str, *, kinds: frozenset[str]) -> Fault | None:
        """Use up one time of the first rule of these kinds that fits this call; None if there is no such rule."""
        for fault in self.rules:
            if fault.kind in kinds and fault.matches(region, service, operation):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def denies(self, action: str) -> bool:
        """Whether an access_denied rule covers an IAM action such as "ecs:UpdateService"; doesn't use up the rule."""
        service, _, operation = action.partition(":")
        return any(
            rule.kind == "access_denied"
            and rule.times != 0
            and fnmatchcase(service, rule.service)
            and fnmatchcase(operation, rule.operation)
            for rule in self.rules
        )

    def clear(self) -> None:
        """End all rules."""
        self.rules.clear()
