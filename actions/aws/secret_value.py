"""The text of a secret that leads to a database, pointed to another address: nothing but host and port is replaced.

It is a DSN, or a JSON object whose values have DSNs among them or a host and a port, as RDS itself writes it.
Nothing in here quotes the text: its errors are shown to people.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from actions.errors import ActionError
from actions.values import Json

SCHEMES = ("postgresql://", "postgres://")
ADDRESS = re.compile(
    r"(?P<start>postgres(?:ql)?://(?:[^@/?#]*@)?)(?P<host>\[[^\]]+\]|[^@:/?#,\[\]]+)(?::(?P<port>\d+))?(?P<rest>[/?].*)?"
)
PORT = 5432  # of a DSN that names none


class UnknownForm(ActionError):
    """The secret has a form in which its address can't be replaced. The message says which, and quotes nothing."""


def address_of(text: str) -> tuple[str, int]:
    """Host and port that the secret leads to. Raises `UnknownForm`."""
    found = {_address(part) for part in _parts(text)} - {None}
    if len(found) != 1:
        raise UnknownForm(f"The secret's value leads to {len(found)} addresses, and one is expected.")
    (address,) = found
    assert address
    return address


def dsn_of(text: str) -> str:
    """The DSN that the secret holds, or that its JSON object spells out, as RDS itself writes it. Raises `UnknownForm`."""
    parts = _parts(text)
    for part in parts:
        if _is_dsn(part):
            return str(part)
    try:
        value = next(part for part in parts if isinstance(part, dict))
        who = f"{quote(value['username'], safe='')}:{quote(value['password'], safe='')}"
        return f"postgresql://{who}@{value['host']}:{value.get('port', PORT)}/{quote(value['dbname'], safe='')}"
    except (StopIteration, KeyError, TypeError) as error:
        raise UnknownForm("The secret has neither a DSN nor username, password, host and dbname.") from error


def pointed_to(text: str, host: str, port: int) -> str:
    """The same text with this address. Raises `UnknownForm`."""
    before = address_of(text)
    value = _load(text)
    new = json.dumps(_in_json(value, host, port)) if isinstance(value, dict) else _in_dsn(text, host, port)
    if address_of(new) != (host, port) or pointed_back(new, before) != pointed_back(text, before):
        raise UnknownForm("The secret's value would change in more than its address.")
    return new


def pointed_back(text: str, address: tuple[str, int]) -> Json:
    """The value with this address, in a form in which two texts can be compared."""
    value = _load(text)
    return _in_json(value, *address) if isinstance(value, dict) else _in_dsn(text, *address)


def _load(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _parts(text: str) -> list[Json]:
    """The parts of the text that may have an address: the DSN, or the JSON object and the DSNs in it."""
    value = _load(text)
    if isinstance(value, dict):
        dsns = [inner for inner in value.values() if _is_dsn(inner)]
        return [*dsns, value] if "host" in value else dsns
    if not _is_dsn(text):
        raise UnknownForm("The secret's value is neither a DSN (postgresql://...) nor a JSON object.")
    return [text]


def _is_dsn(value: Json) -> bool:
    return isinstance(value, str) and value.startswith(SCHEMES)


def _address(part: Json) -> tuple[str, int]:
    if isinstance(part, dict):
        try:
            return str(part["host"]), int(part.get("port", PORT))
        except (TypeError, ValueError) as error:
            raise UnknownForm("The secret's port is not a number.") from error
    found = _match(part)
    return found["host"].strip("[]"), int(found["port"] or PORT)


def _match(dsn: str) -> re.Match[str]:
    found = ADDRESS.fullmatch(dsn)
    if found is None:
        raise UnknownForm(
            "The DSN in the secret can't be read: one host is expected, and a password with special characters encoded."
        )
    if re.search(r"[?&](host|hostaddr|port|service)=", found["rest"] or ""):
        raise UnknownForm("The DSN in the secret has its host or port among the parameters after the question mark.")
    return found


def _in_dsn(dsn: str, host: str, port: int) -> str:
    found = _match(dsn)
    place = f"[{host}]" if ":" in host else host
    return f"{found['start']}{place}:{port}{found['rest'] or ''}"


def _in_json(value: dict[str, Json], host: str, port: int) -> dict[str, Json]:
    new = {name: _in_dsn(inner, host, port) if _is_dsn(inner) else inner for name, inner in value.items()}
    if "host" in value:
        new["host"] = host
        new["port"] = str(port) if isinstance(value.get("port"), str) else port
    return new
