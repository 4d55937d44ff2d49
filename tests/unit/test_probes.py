"""What a probe makes of a server that answers strangely, or not at all."""

from __future__ import annotations

import pytest

from actions.db.handshake import shake_hands
from actions.errors import Unreachable
from actions.http import LONGEST_BODY, Http
from tests.unit.canned_server import http, server


def said(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("answer", "reached", "sqlstate"),
    [
        (said(b"E", b"SFATAL\0C53300\0Msorry, too many clients already\0\0"), "error", "53300"),
        (said(b"R", (10).to_bytes(4, "big")), "alive", ""),
        (said(b"R", bytes(4)) + said(b"E", b"C57P03\0Mstarting\0\0"), "error", "57P03"),
        (said(b"R", bytes(4)) + said(b"S", b"a\0b\0") + said(b"Z", b"I"), "alive", ""),
        (b"", "closed", ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "other", ""),
    ],
)
async def test_a_raw_handshake_tells_what_the_server_says(answer: bytes, reached: str, sqlstate: str) -> None:
    async with server(answer) as (address, requests):
        host, _, port = address.partition(":")
        seen = await shake_hands(host, int(port), "shielda", "shielda", timeout=1)
    assert (seen.reached, seen.sqlstate) == (reached, sqlstate)
    assert b"user\0shielda\0database\0shielda\0" in requests[0]


async def test_a_server_without_tls_is_reported_if_tls_is_required() -> None:
    async with server(b"N") as (address, _):
        host, _, port = address.partition(":")
        assert (await shake_hands(host, int(port), "u", "d", tls=True)).reached == "tls"


async def test_a_probe_reads_no_more_of_the_body_than_it_shows() -> None:
    async with server(http("200 OK", b"x" * 3 * LONGEST_BODY)) as (address, _):
        prober = Http()
        answer = await prober.get(f"http://{address}/")
        await prober.close()
    assert answer.good
    assert len(answer.body_start) == LONGEST_BODY


async def test_a_redirect_is_an_answer_and_a_closed_port_is_unreachable() -> None:
    prober = Http()
    async with server(http("302 Found", b"", "Location: http://127.0.0.1:1/")) as (address, _):
        assert (await prober.get(f"http://{address}/")).status == 302
    with pytest.raises(Unreachable, match="gave no answer"):
        await prober.get(f"http://{address}/")
    await prober.close()
