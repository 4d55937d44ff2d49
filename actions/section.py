"""What the sections of dr.toml are made of: types of values, and checks that several of them share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from actions.scrub import scrub

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # else True would be 1, and "inf" a speed
Whole = Annotated[int, Field(strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]  # the NAME of [services.NAME] and [databases.NAME]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
UnitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@_.-]{0,99}$")]  # of systemd or docker; needs no quotes
UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]
Host = Annotated[
    str, Field(pattern=r"^[a-z0-9_][a-z0-9-]{0,62}(\.[a-z0-9_][a-z0-9-]{0,62})+$", max_length=253)
]  # in small letters
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=3600)]
TABLE_NAME = r"[a-z_][a-z0-9_]{0,62}(?:\.[a-z_][a-z0-9_]{0,62})?"  # one that needs no quotes


class Section(BaseModel):
    """A section of dr.toml: frozen, an unknown key is an error, and no text has blanks around it or holds control characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        for text in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []:
            if isinstance(text, str) and (text != text.strip() or not text.isprintable()):
                raise ValueError("blanks around a text, line breaks and control characters are not allowed")
        return value


def web_address(url: str) -> SplitResult:
    """The parts of an http or https address. Raises ValueError, saying what is wrong and quoting no secret."""
    if scrub(url) != url:
        raise ValueError(
            "there is a secret in it, which the channel would see; an address without user, password or token is expected"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(
            "its host or port cannot be read; http://HOST:PORT/PATH with a port from 1 to 65535 is expected"
        ) from error
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\^`{|}<>\"]", url):
        raise ValueError("it is not an http or https address; https://HOST/PATH is expected")
    if parts.username is not None or port == 0:
        raise ValueError("it has a user or the port 0 in it; http://HOST:PORT/PATH with a port from 1 to 65535 is expected")
    return parts


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine: 127.0.0.0/8, [::1] or localhost."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def texts(value: Any) -> Iterable[str]:
    """All texts in a value of dr.toml, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, dict):
        yield from texts([*value.keys(), *value.values()])
