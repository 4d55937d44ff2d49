"""Logs: JSON lines by structlog, with run and step bound, and no secret in any of them."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TOKEN = re.compile(r"xox[a-z]-[\w-]+|xapp-[\w-]+")
_PASSWORD = re.compile(r"(\w+://[^:/@\s]+:)[^@\s]+@")
_KEYWORD = re.compile(r"(password\s*=\s*)('[^']*'|[^\s'\"]+)", re.IGNORECASE)


def set_up(*, level: str = "INFO", stream: Any = None) -> None:
    """Send every log of this process, the libraries' as well, as JSON lines to `stream` (standard error)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(), foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("slack_bolt", "slack_sdk", "botocore", "httpx", "httpcore", "dbos", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("dbos").addHandler(logging.NullHandler())  # its own handler would print beside ours
    logging.getLogger("dbos").propagate = True


def hide(text: str) -> str:
    """The text without Slack tokens, without passwords in addresses and without the secrets of the environment."""
    for name in SECRET_NAMES:
        if len(value := os.environ.get(name, "")) > 5:
            text = text.replace(value, "***")
    return _KEYWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", _TOKEN.sub("***", text)))


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) or key == "event":
            event[key] = hide(str(value))
        elif isinstance(value, (dict, list, tuple, BaseException)):
            event[key] = hide(repr(value))
    return event
