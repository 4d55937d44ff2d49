"""The log is JSON, a line per event, and shows no secret in any of them."""

from __future__ import annotations

import json
import subprocess
import sys

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


UNCAUGHT = """
import threading, warnings
from bot import log
log.set_up()
warnings.warn("password=geheim is deprecated")
def broken():
    raise ValueError("token=geheim in a thread")
thread = threading.Thread(target=broken)
thread.start()
thread.join()
raise ValueError("postgresql://dr:geheim@db/x is gone")
"""


def test_what_nobody_caught_is_a_line_without_secrets_too() -> None:
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False, timeout=60, env={})
    assert done.returncode == 1
    assert "geheim" not in done.stdout + done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["level"] for e in events] == ["warning", "critical", "critical"]
    assert "postgresql://dr:***@db/x is gone" in events[2]["exception"]
