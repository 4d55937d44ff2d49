"""What is wrong with a DSN, said without quoting it: libpq's own errors quote the part that they cannot read.

A password with a raw @, / or space is read by libpq as a host, a port or a database, and would be told to everybody as one.
The rules are libpq's: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

from __future__ import annotations

import ipaddress
import re

SHAPE = (
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE is expected, with special characters of the password percent-encoded "
    "(@ as %40, / as %2F, a space as %20)"
)
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*):(?P<slashes>/*)(?P<rest>.*)", re.DOTALL)
_WORD = re.compile(r"\s*(?P<name>[^\s=]+)\s*(?P<equals>=?)\s*(?P<value>'(?:[^'\\]|\\.)*(?P<end>'?)|(?:[^\s\\]|\\.)*)", re.DOTALL)
_LABEL = re.compile(r"[\w-]{1,63}")


def mistake(dsn: str) -> str:
    """What is wrong with a DSN, as the end of a sentence ("its port is not a number"); "" if nothing is to be seen."""
    if dsn != dsn.strip():
        return "it has a blank or a line break around it"
    if not dsn.isprintable():
        return "it has a line break or a control character in it"
    if dsn[:1] in "\"'":
        return "it has quotation marks around it"
    address = _ADDRESS.fullmatch(dsn)
    if re.match(r"\w+\s*=", dsn):
        return _mistake_in_words(dsn)
    if address is None or address["scheme"] not in ("postgresql", "postgres") or address["slashes"][:2] != "//":
        return "it does not begin with postgresql://"
    return _mistake_in_address(dsn.partition("://")[2])


def _mistake_in_address(rest: str) -> str:
    if " " in rest:
        return "it has a space in it"
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", rest):
        return "it has a % that is not followed by two hexadecimal digits"
    credentials = re.match(r"[^@/]*@", rest)
    hosts = rest[credentials.end() if credentials else 0 :]
    place = re.split(r"[/?]", hosts, maxsplit=1)[0]
    if "@" in place:
        return "it has a raw @ in its password or user"
    if "@" in hosts.partition("?")[0]:
        return "it has a raw / in its password or user, or a raw @ in its database's name"
    return next((said for host in place.split(",") if (said := _mistake_in_host(host))), "")


def _mistake_in_host(place: str) -> str:
    found = re.fullmatch(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?", place, re.DOTALL)
    if found is None:
        return "its host is neither a name nor an address"
    return _mistake_in_name(found["host"].strip("[]")) or _mistake_in_port(found["port"] or "")


def _mistake_in_name(host: str) -> str:
    if not host or host.startswith(("/", "@")) or host.upper().startswith("%2F"):
        return ""  # libpq's default, or the folder of a socket
    name = host.removesuffix(".")
    if all(_LABEL.fullmatch(label) for label in name.split(".")) or _is_address(host):
        return ""
    return "its host is neither a name nor an address"


def _mistake_in_port(port: str) -> str:
    if not port or (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        return ""
    return "its port is not a number from 1 to 65535"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.replace("%25", "%"))
    except ValueError:
        return False
    return True


def _mistake_in_words(dsn: str) -> str:
    """What is wrong with the other form of a DSN, as in `host=db user=dr dbname=x`."""
    at = 0
    while at < len(dsn):
        word = _WORD.match(dsn, at)
        if word is None:
            break
        if not word["equals"]:
            return "it has a word without a = (a value with a space in it must stand in single quotes)"
        if word["value"].startswith("'") and not word["end"]:
            return "it has a quotation mark that is not closed"
        at = word.end()
        if said := _mistake_in_word(word["name"], word["value"].strip("'")):
            return said
    return ""


def _mistake_in_word(name: str, value: str) -> str:
    check = {"host": _mistake_in_name, "port": _mistake_in_port}.get(name)
    if check:
        return next((said for part in value.split(",") if (said := check(part.strip()))), "")
    if name == "hostaddr" and not all(_is_address(part.strip()) for part in value.split(",")):
        return "its hostaddr is not an address"
    return ""
