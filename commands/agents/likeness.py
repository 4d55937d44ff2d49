"""Lines of logs, grouped by likeness: what differs only in numbers, ids, addresses and quoted words is one error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

ERROR = re.compile(r"\b(?:error|fatal|panic|critical|fail(?:ed|ure)?|denied|refused|timed? ?out|exception)\b|[Nn]o space", re.I)
STAMP = re.compile(r"^\S*\d\d:\d\d:\d\d\S*\s+(?:\S+\s+)?(?:\S+\[\d+\]:\s+)?")  # time, host and program of a journal's line
MANAGER = re.compile(r"\bsystemd\[\d+\]: ")  # says that the agent failed, not why
VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+(?:[.:]\d+)*|\"[^\"]*\"|'[^']*'", re.I)
LAST_ERRORS = 3  # of each host: older ones are of another trouble
LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Group:
    """Errors that are alike: an example, and the hosts that have one."""

    example: str
    hosts: tuple[str, ...]


def grouped(logs: Mapping[str, str]) -> list[Group]:
    """The last errors of each host's log; those that most hosts have come first."""
    examples: dict[str, str] = {}
    hosts: dict[str, list[str]] = {}
    for host, log in logs.items():
        for text in last_errors(log):
            shape = VARIES.sub("#", text).casefold()
            examples.setdefault(shape, text)
            if host not in hosts.setdefault(shape, []):
                hosts[shape].append(host)
    by_number = sorted(hosts.items(), key=lambda found: -len(found[1]))
    return [Group(example=examples[shape], hosts=tuple(names)) for shape, names in by_number]


def last_errors(log: str) -> list[str]:
    """The last lines of a log that tell of an error, the newest first, without time and host."""
    own = [text for text in log.splitlines() if not MANAGER.search(text)]
    found = [STAMP.sub("", text).strip()[:LONGEST] for text in own if ERROR.search(text)]
    return list(dict.fromkeys(reversed(found)))[:LAST_ERRORS]
