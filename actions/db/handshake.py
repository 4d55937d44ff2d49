"""A raw handshake with PostgreSQL: what the server says before anybody has signed in, by SQLSTATE and not by text.

libpq gives no SQLSTATE for a failed connection and its texts are localised, so the start of the protocol is spoken here:
https://www.postgresql.org/docs/current/protocol-flow.html. It needs no password and keeps no slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass

from actions.scrub import scrub

PROTOCOL = 196608  # version 3.0
SSL_REQUEST = 80877103
LONGEST = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """How far it went: "dns", "refused", "timeout", "closed", "tls", "error" (with `sqlstate`), "alive", "other"."""

    reached: str
    sqlstate: str = ""
    says: str = ""


async def shake_hands(host: str, port: int, user: str, database: str, *, tls: bool = False, timeout: float = 3.0) -> Handshake:
    """Begin a session and leave before it starts. Never raises for an expected failure."""
    try:
        async with asyncio.timeout(timeout):
            return await _shake(host, port, user, database, tls)
    except TimeoutError:
        return Handshake(reached="timeout", says=f"{host}:{port} did not answer within {timeout:g} s")
    except socket.gaierror as error:
        return Handshake(reached="dns", says=f"the name {host} does not resolve: {error.strerror}")
    except ConnectionRefusedError:
        return Handshake(reached="refused", says=f"{host}:{port} refuses connections")
    except (ConnectionError, asyncio.IncompleteReadError):
        return Handshake(reached="closed", says=f"{host}:{port} takes the connection and closes it at once")
    except ssl.SSLError as error:
        return Handshake(reached="tls", says=f"TLS with {host}:{port} fails: {error.reason or error}")
    except OSError as error:
        return Handshake(reached="other", says=f"{host}:{port} cannot be reached: {error.strerror or error}")
    except (ValueError, struct.error) as error:
        return Handshake(reached="other", says=f"{host}:{port} does not speak PostgreSQL's protocol: {error}")


async def _shake(host: str, port: int, user: str, database: str, tls: bool) -> Handshake:
    reader, writer = await _open(host, port)
    try:
        if tls and not await _start_tls(reader, writer, host):
            return Handshake(reached="tls", says=f"{host}:{port} offers no TLS, and the DSN requires it")
        words = b"".join(text.encode() + b"\0" for text in ("user", user, "database", database, "application_name", "dr-bot"))
        writer.write(_message(struct.pack("!i", PROTOCOL) + words + b"\0"))
        return await _answer(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


async def _start_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bool:
    writer.write(_message(struct.pack("!i", SSL_REQUEST)))
    if await reader.readexactly(1) != b"S":
        return False
    context = ssl.create_default_context()
    context.check_hostname = False  # no secret is sent; whether the certificate is right is libpq's to say
    context.verify_mode = ssl.CERT_NONE
    await writer.start_tls(context, server_hostname=host)
    return True


async def _answer(reader: asyncio.StreamReader) -> Handshake:
    while True:
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        if not 4 <= length <= LONGEST:
            raise ValueError(f"a message of {length} bytes")
        body = await reader.readexactly(length - 4)
        if kind == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
            return Handshake(reached="error", sqlstate=fields.get(b"C", ""), says=scrub(fields.get(b"M", "")))
        wants_password = kind == b"R" and struct.unpack("!i", body[:4])[0] != 0
        if wants_password or kind in (b"K", b"Z"):  # a reserved-slot error comes only after signing in, so read on until then
            return Handshake(reached="alive")
        if kind not in (b"R", b"S", b"N", b"v"):
            raise ValueError(f"a message of type {kind!r}")


def _message(body: bytes) -> bytes:
    return struct.pack("!i", len(body) + 4) + body
