"""What the rehearsal's Slack refuses.

SlackError
|- RefusedError    the Web API's answer: an error code and what Slack says beside it
'- UnknownError    the caller named a person, channel, message or view that doesn't exist
"""

from __future__ import annotations

from typing import Any


class SlackError(Exception):
    """The base of everything the rehearsal's Slack refuses."""


class RefusedError(SlackError):
    """A Web API call was refused with `error`; `more` goes into the answer beside it."""

    def __init__(self, error: str, *, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.headers = headers or {}
        self.more = more

    def answer(self) -> dict[str, Any]:
        """The JSON body of the refusal."""
        return {"ok": False, "error": self.error, **self.more}


class UnknownError(SlackError):
    """The caller named something that doesn't exist in this workspace; the text is a sentence for people."""
