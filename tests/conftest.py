"""Options of the test program."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--every-point`: the crash matrix kills the bot at every point, not at a sample of them."""
    parser.addoption("--every-point", action="store_true", help="kill the bot at every record and effect (takes long)")
