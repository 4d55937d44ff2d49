"""Logs: JSON lines by structlog, with run and step bound, and no secret in any of them."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from actions.scrub import learn_environment, scrub


def set_up(*, level: str = "INFO", stream: Any = None) -> None:
    """Send every log of this process, the libraries' as well, as JSON lines to `stream` (standard error)."""
    learn_environment()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub_all,
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
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught  # Python prints an uncaught error with its text, past every processor
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("uncaught", exc_info=(kind, error or kind(), trace))


def _scrub_all(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) or key == "event":
            event[key] = scrub(str(value))
        elif isinstance(value, (dict, list, tuple, BaseException)):
            event[key] = scrub(repr(value))
    return event
