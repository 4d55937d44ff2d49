"""docs/settings.toml has every key there is, with a value that is taken, and shows the defaults as they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from bot.settings import Settings, from_mapping

TEXT = (Path(__file__).parents[2] / "docs" / "settings.toml").read_text()
KEY = re.compile(r"^# (\[|[\w-]+ = )", re.MULTILINE)  # a key or a section that is commented out
MANY = {"services": "control-plane", "databases": "primary"}  # sections by name, and the name in the file
NAMED = {"control-plane", "us-west-2"}


def whole() -> dict[str, Any]:
    """The file with every key in force."""
    return tomllib.loads(KEY.sub(r"\1", TEXT))


def sections(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Each section of the settings with where it stands in the file."""
    yield path, model
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, BaseModel):
                inside = (MANY[name],) if name in MANY else ("region failover",) if name == "scenario" else ()
                yield from sections(kind, (*path, name, *inside))


@pytest.mark.parametrize(
    ("path", "model"), [*sections(Settings)], ids=lambda one: ".".join(one) if isinstance(one, tuple) else ""
)
def test_every_key_stands_in_the_reference(path: tuple[str, ...], model: type[BaseModel]) -> None:
    given = whole()
    for part in path:
        given = given[part]
    if path[-2:-1] == ("scenario",):
        return  # the keys of an override are those of [authority]
    assert model.model_fields.keys() - given.keys() == set()


def test_the_reference_is_taken_as_it_is_and_with_the_examples_in_force() -> None:
    from_mapping(tomllib.loads(TEXT))
    given = whole()
    given["aws"]["endpoints"] |= {"us-east-1": "http://127.0.0.1:4566"}
    given["databases"]["replica"] = {"instance": "shielda-replica", "region": "us-east-1", "dsn_env": "DR_DATABASE_URL"}
    from_mapping(given)
