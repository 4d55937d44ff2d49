"""How the cards say times, people and lists."""

from __future__ import annotations

from collections.abc import Iterable

from bot.actors import is_person, mention


def span(seconds: float) -> str:
    """A length of time for a person who waits: "4 s", "1 min 24 s", "42 min", "3.5 h"."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def running(seconds: float) -> str:
    """A clock that runs: "1:24", "1:02:03"."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def listed(names: Iterable[str], word: str = "or") -> str:
    """Names as a sentence has them: "a, b or c"."""
    *others, last = names
    return f"{', '.join(others)} {word} {last}" if others else last


def called(entry: str) -> str:
    """A user or a user group of dr.toml, as Slack shows and notifies them."""
    return f"<!subteam^{entry}>" if entry.startswith("S") else f"<@{entry}>"


def who_could(entries: Iterable[str], besides: str = "") -> str:
    """Who of a list could do something, besides this person, as a sentence has it; "" if nobody is left."""
    others = [called(entry) for entry in entries if entry != besides]
    return listed(others) if others else ""


def concerned(requester: str, approvers: Iterable[str]) -> str:
    """The people whom a run's question is for, as mentions: who asked for it and who approved it."""
    people = dict.fromkeys(one for one in (requester, *approvers) if is_person(one))
    return " ".join(mention(one) for one in people)
