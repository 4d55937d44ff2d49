"""The example dr.toml as a mapping, with changes."""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bot.settings import BadSettings, from_mapping

EXAMPLE = Path(__file__).parents[2] / "dr.toml"
BASE: dict[str, Any] = tomllib.loads(EXAMPLE.read_text())
LINE = re.compile(r"^dr\.toml: \[[^\n]*\][^\n]* .*\.$|^dr\.toml: \[[^\n]*\][^\n]*\?$")


def with_(section: str, **keys: Any) -> dict[str, Any]:
    """The example with other keys in one section."""
    raw = copy.deepcopy(BASE)
    inner = raw
    for name in section.split("."):
        inner = inner.setdefault(name, {})
    inner.update(keys)
    return raw


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(BadSettings) as raised:
        from_mapping(raw)
    return str(raised.value)
