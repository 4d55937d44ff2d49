"""What RDS checks in every request alike: identifiers, tags, filters, pages, and parameters that are not offered here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rehearsal.aws.wire import AwsError

IDENTIFIER = re.compile(r"[a-z](-?[a-z0-9])*", re.IGNORECASE)
Params = dict[str, Any]


def identifier(params: Params, name: str, *, longest: int = 63) -> str:
    """The identifier that a new thing is to have, in lower case as RDS stores it."""
    wanted = str(params[name])
    if not IDENTIFIER.fullmatch(wanted) or len(wanted) > longest:
        message = (
            f"The parameter {name} is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII "
            "letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        )
        raise AwsError("InvalidParameterValue", message)
    return wanted.lower()


def offered(params: Params, *names: str) -> None:
    """Refuses parameters that AWS has and the rehearsal doesn't: nothing is ignored in silence."""
    if missing := sorted(set(params) - set(names)):
        raise AwsError("InvalidParameterValue", f"The rehearsal does not offer the parameter {', '.join(missing)}.")


def exclusive(params: Params, *names: str) -> str:
    """The one of these parameters that the request has; refuses none and several."""
    given = [name for name in names if params.get(name)]
    if len(given) != 1:
        how = (
            f"Only one of {' and '.join(names)} can be specified." if given else f"Either {' or '.join(names)} must be specified."
        )
        raise AwsError("InvalidParameterCombination", how)
    return given[0]


def tags(wanted: Iterable[Mapping[str, str]] | None) -> list[dict[str, str]]:
    """Tags as they are kept: no reserved key, no key twice."""
    found: dict[str, str] = {}
    for tag in wanted or ():
        key = tag.get("Key", "")
        if not key or key.lower().startswith(("aws:", "rds:")):
            raise AwsError("InvalidParameterValue", f"Invalid tag key {key!r}: it is empty or has a reserved prefix.")
        if key in found:
            raise AwsError("InvalidParameterValue", f"Duplicate tag keys found: {key}.")
        found[key] = tag.get("Value", "")
    return listed(found)


def merged(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Both, with the new value if a key is in both."""
    return listed({tag["Key"]: tag["Value"] for tag in [*old, *new]})


def listed(found: Mapping[str, str]) -> list[dict[str, str]]:
    """A TagList."""
    return [{"Key": key, "Value": value} for key, value in found.items()]


def passes(params: Params, facts: Mapping[str, Iterable[str]]) -> bool:
    """Whether something with these facts fits the request's filters; an unknown filter is refused."""
    found = True
    for one in params.get("Filters") or ():
        if one["Name"] not in facts:
            raise AwsError("InvalidParameterValue", f"Unrecognized filter name: {one['Name']}")
        found = found and bool(set(facts[one["Name"]]) & set(one["Values"]))
    return found


def page(key: str, things: list[Any], params: Params, view: Callable[[Any], Params]) -> Params:
    """One page of an answer, with the Marker of the next if there is one."""
    most = params.get("MaxRecords", 100)
    if not 20 <= most <= 100:
        raise AwsError("InvalidParameterValue", f"Invalid value {most} for MaxRecords. Must be between 20 and 100")
    marker = params.get("Marker") or "0"
    if not marker.isdigit() or int(marker) > len(things):
        raise AwsError("InvalidParameterValue", f"The provided marker is not valid: {marker}.")
    first = int(marker)
    answer: Params = {key: [view(thing) for thing in things[first : first + most]]}
    return {**answer, "Marker": str(first + most)} if first + most < len(things) else answer
