"""Who asked for a run: a person in Slack, by their id, or an actor that isn't a person: the terminal, or a schedule."""

from __future__ import annotations

import getpass
import re
import socket

TERMINAL, SCHEDULE = "terminal:", "schedule:"
LONGEST = 40  # characters, as the state has them
NOBODY = "nobody: dr.toml allows it (`[authority] unattended`)"


def this_terminal() -> str:
    """The terminal that this program runs in, by account and machine."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have it
        account = "?"
    machine = socket.gethostname().partition(".")[0]
    return (TERMINAL + re.sub(r"[^\w.@-]", "_", f"{account}@{machine}", flags=re.ASCII))[:LONGEST]


def is_person(who: str) -> bool:
    """Whether this is a person in Slack."""
    return not who.startswith((TERMINAL, SCHEDULE))


def named(who: str) -> str:
    """The actor in words; a person by their id."""
    kind, _, rest = who.partition(":")
    return (
        who if is_person(who) else f"the terminal ({rest})" if kind == "terminal" else f"the {rest} schedule".replace("  ", " ")
    )


def mention(who: str) -> str:
    """The actor in words, or a person as Slack shows them."""
    return f"<@{who}>" if is_person(who) else named(who)


def upper(who: str) -> str:
    """The same at the beginning of a sentence."""
    return who[:1].upper() + who[1:]
