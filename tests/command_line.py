"""An AWS command line read back: which request the AWS CLI would send for it.

The rules are the CLI's own (https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters.html), as far as we use
them: `--no-x` for false, lists of words one after the other, and JSON for what has an inner structure.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

import botocore.session
from botocore import xform_name

from actions.aws.call import Call

SESSION = botocore.session.Session()


def request_of(command: str) -> Call:
    """The call that this line makes. Raises ValueError if the AWS CLI would not take it."""
    program, service, name, *words = shlex.split(command)
    model = SESSION.get_service_model(service)
    operation = next((one for one in model.operation_names if xform_name(one, "-") == name), "")
    if program != "aws" or not operation:
        raise ValueError(f"there is no {program} {service} {name}")
    members = {xform_name(one, "-"): (one, shape) for one, shape in model.operation_model(operation).input_shape.members.items()}
    parameters: dict[str, Any] = {}
    region = ""
    while words:
        option = words.pop(0).removeprefix("--")
        values = [words.pop(0) for _ in range(_length(words))]
        if option == "region":
            (region,) = values
        elif option in members:
            parameter, shape = members[option]
            parameters[parameter] = _value(shape, values)
        elif option.startswith("no-") and option[3:] in members and not values:
            parameters[members[option[3:]][0]] = False
        else:
            raise ValueError(f"aws {service} {name} has no option --{option}")
    return Call(service=service, operation=operation, region=region, parameters=parameters)


def _length(words: list[str]) -> int:
    """How many words belong to the option before them."""
    return next((n for n, word in enumerate(words) if word.startswith("--")), len(words))


def _value(shape: Any, values: list[str]) -> Any:
    if shape.type_name == "boolean":
        if values:
            raise ValueError(f"{shape.name} is a switch and takes no value")
        return True
    if shape.type_name == "list" and shape.member.type_name == "string":
        return values
    (value,) = values
    if shape.type_name in ("list", "structure", "map"):
        return json.loads(value)
    return int(value) if shape.type_name in ("integer", "long") else value
