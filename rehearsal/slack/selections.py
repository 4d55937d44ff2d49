"""What each person has chosen or typed in messages: Slack sends it with every click there. A view keeps its own."""

from __future__ import annotations

from typing import Any

from rehearsal.slack import forms

Json = dict[str, Any]


class Selections:
    """The state values by person and by the message's ts."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Json]] = {}

    def of(self, person_id: str) -> dict[str, Json]:
        """The state values of this person, by message."""
        return self._kept.get(person_id, {})

    def change(self, person_id: str, message: Json, action: Json, given: Json) -> Json:
        """Take in what stands in the message's inputs and what was chosen just now; returns the state values."""
        mine = self._kept.setdefault(person_id, {})
        mine[message["ts"]] = forms.with_choice(message, given, mine.get(message["ts"]), action)
        return mine[message["ts"]]
