"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actions.scrub import forget


@pytest.fixture(autouse=True)
def _nothing_is_learned() -> Iterator[None]:
    """No secret of one test is hidden in the texts of another."""
    yield
    forget()
