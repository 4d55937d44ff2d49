"""What Slack's errors mean: asked too often, not done, in doubt, or no answer at all."""

from __future__ import annotations

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError, SlackClientError

UNSURE = ("fatal_error", "internal_error", "request_timeout", "service_unavailable")  # "part of it may have succeeded"
LOST = (ClientError, OSError, TimeoutError, SlackClientError)  # SlackApiError is caught before these: it is an answer
LONGEST_PAUSE = 300  # seconds: no Retry-After silences the bot for longer


def code(error: SlackApiError) -> str:
    """Slack's own word for what is wrong; "" if what came back isn't Slack's answer but, say, a proxy's page."""
    data = getattr(error.response, "data", None)
    return str(data.get("error") or "") if isinstance(data, dict) else ""


def status(error: SlackApiError) -> int:
    """The HTTP status; the client hands over another kind of response if the body is broken."""
    return int(getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0))


def is_limited(error: SlackApiError) -> bool:
    """Whether Slack was asked too often."""
    return code(error) == "ratelimited" or status(error) == 429


def retry_after(error: SlackApiError) -> int:
    """The seconds that Slack asks us to wait; 1 if it does not say."""
    seconds = str(error.response.headers.get("Retry-After", ""))
    return min(int(seconds), LONGEST_PAUSE) if seconds.isdecimal() else 1


def is_unsure(error: SlackApiError) -> bool:
    """Whether Slack may have done what it was asked to, although no good answer came."""
    return code(error) in UNSURE or status(error) >= 500 or not (code(error) or is_limited(error))
