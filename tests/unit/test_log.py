"""The log is JSON, a line per event, and shows no secret in any of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.log import hide

PROGRAM = """
import logging, structlog
from bot import log
log.set_up()
said = structlog.get_logger("bot.test")
said.info("plain", answer=42, nested={"token": "xoxb-geheim-1"}, items=["postgresql://dr:geheim@db/x"])
said.warning("token xapp-1-geheim and GeheimeSchluessel")
structlog.contextvars.bind_contextvars(run="abcdefgh", step="1.1")
try:
    raise ValueError("cannot reach postgresql://dr:geheim@db/x")
except ValueError:
    said.exception("broke")
logging.getLogger("some.library").error("said %s with\\na line break", "xoxb-geheim-2")
said.info("a dsn", dsn="host=db user=dr password=geheim dbname=x")
"""
words = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", min_size=6, max_size=40)
around = st.text(alphabet=" ,;:()[]{}'\"\n\tabc", max_size=20)


@given(around, words, around)
def test_no_slack_token_is_shown_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    for kind in ("xoxb-", "xoxp-", "xapp-"):
        assert secret not in hide(f"{before}{kind}{secret}{after}").replace(before, "").replace(after, "") or secret in before


@given(words, words)
def test_no_password_of_an_address_is_shown(user: str, password: str) -> None:
    assert hide(f"at postgresql://{user}:{password}@db.example:5432/x") == f"at postgresql://{user}:***@db.example:5432/x"


@pytest.mark.parametrize("dsn", ["host=db password=geheim user=dr", "password = 'ge heim' host=db", "PASSWORD=geheim"])
def test_no_password_of_a_keyword_dsn_is_shown(dsn: str) -> None:
    assert "heim" not in hide(dsn)
    assert "***" in hide(dsn)


@given(st.text(alphabet="abc xyz.,/=", max_size=60))
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert hide(text) == text


def test_the_secrets_of_the_environment_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "GeheimeSchluessel")
    assert hide("signed with GeheimeSchluessel.") == "signed with ***."


def test_every_line_is_json_with_what_is_bound_and_without_secrets() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"AWS_SECRET_ACCESS_KEY": "GeheimeSchluessel"},
    )
    assert done.stdout == ""
    assert "geheim" not in done.stderr.lower()
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["level"] for e in events] == ["info", "warning", "error", "error", "info"]
    assert all({"event", "level", "logger", "timestamp"} <= e.keys() for e in events)
    assert (events[2]["run"], events[2]["step"]) == ("abcdefgh", "1.1")
    assert "Traceback" in events[2]["exception"]
