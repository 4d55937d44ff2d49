"""What ECS checks in every request alike: how many things are asked for, and pages."""

from __future__ import annotations

from typing import Any

from rehearsal.aws.wire import AwsError

Params = dict[str, Any]


def between(params: Params, name: str, most: int, *, least: int = 1) -> list[str]:
    """The names that the request asks for; InvalidParameterException if they are too few or too many."""
    asked = list(params.get(name) or [])
    if len(asked) < least:
        raise AwsError("InvalidParameterException", f"{name[0].upper()}{name[1:]} cannot be empty.")
    if len(asked) > most:
        raise AwsError("InvalidParameterException", f"{name} can have at most {most} items.")
    return asked


def page(key: str, things: list[Any], params: Params, *, default: int = 100) -> Params:
    """One page of a listing, with the nextToken of the next if there is one."""
    most, token = params.get("maxResults", default), params.get("nextToken", "0")
    if not 1 <= most <= 100:
        raise AwsError("InvalidParameterException", "maxResults must be between 1 and 100.")
    if not token.isdigit() or int(token) > len(things):
        raise AwsError("InvalidParameterException", "Invalid token.")
    first = int(token)
    answer: Params = {key: things[first : first + most]}
    return answer | ({"nextToken": str(first + most)} if first + most < len(things) else {})
