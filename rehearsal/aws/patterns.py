"""CloudWatch Logs' filter patterns: plain terms, `%regular expressions%`, and JSON such as `{ $.level = "ERROR" && $.ms > 500 }`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from rehearsal.aws.wire import AwsError

Test = Callable[[str], bool]
TOKEN = re.compile(
    r"""\s*(?:(?P<field>\$(?:\.[\w-]+|\[\d+\]|\["[^"]+"\])+)
    |(?P<sign>&&|\|\||!=|<=|>=|=|<|>|\(|\))
    |(?P<words>IS\s+NULL|IS\s+TRUE|IS\s+FALSE|NOT\s+EXISTS)\b
    |"(?P<quoted>(?:[^"\\]|\\.)*)"
    |(?P<bare>[^\s"()=<>!&|{}]+))""",
    re.VERBOSE,
)
STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]|\[\"([^\"]+)\"\]")
ABSENT = object()
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}


def pattern(text: str) -> Test:
    """A test for one message. InvalidParameterException if the pattern is none; an empty one takes every message."""
    stripped = text.strip()
    if stripped.startswith("{"):
        if not stripped.endswith("}"):
            raise _invalid(text)
        return Json(stripped[1:-1]).test()
    if stripped.startswith("["):
        raise AwsError("InvalidParameterException", "The rehearsal knows terms, %expressions% and JSON, but no [columns].")
    if len(stripped) > 1 and stripped[0] == stripped[-1] == "%":
        try:
            expression = re.compile(stripped[1:-1])
        except re.error as error:
            raise _invalid(text) from error
        return lambda message: bool(expression.search(message))
    return _terms(text)


def _terms(text: str) -> Test:
    """All plain terms, none of the `-` terms, and one of the `?` terms if there are any."""
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise _invalid(text) from error
    any_of = [term[1:] for term in terms if term.startswith("?")]
    none_of = [term[1:] for term in terms if term.startswith("-")]
    all_of = [term for term in terms if not term.startswith(("?", "-"))]
    return lambda message: (
        all(term in message for term in all_of)
        and not any(term in message for term in none_of)
        and (not any_of or any(term in message for term in any_of))
    )


class Json:
    """One JSON pattern, read by descent: `or` of `and` of comparisons and parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)

    def test(self) -> Test:
        """The test for a message; one that is no JSON object passes none."""
        matches = self._either()
        if self._tokens:
            raise _invalid(self._text)
        return lambda message: (found := _object(message)) is not None and matches(found)

    def _either(self) -> Callable[[Any], bool]:
        tests = [self._both()]
        while self._takes("sign", "||"):
            tests.append(self._both())
        return lambda found: any(test(found) for test in tests)

    def _both(self) -> Callable[[Any], bool]:
        tests = [self._one()]
        while self._takes("sign", "&&"):
            tests.append(self._one())
        return lambda found: all(test(found) for test in tests)

    def _one(self) -> Callable[[Any], bool]:
        if self._takes("sign", "("):
            inner = self._either()
            if not self._takes("sign", ")"):
                raise _invalid(self._text)
            return inner
        field = self._next("field")
        if self._tokens and self._tokens[0][0] == "words":
            return _state(field, " ".join(self._next("words").split()))
        sign = self._next("sign")
        kind, value = self._tokens.pop(0) if self._tokens else ("", "")
        if kind not in ("quoted", "bare"):
            raise _invalid(self._text)
        if sign in COMPARE:
            return _order(field, sign, _float(value, self._text))
        if sign not in ("=", "!="):
            raise _invalid(self._text)
        return _equality(field, value, wanted=sign == "=")

    def _takes(self, kind: str, value: str) -> bool:
        if self._tokens and self._tokens[0] == (kind, value):
            self._tokens.pop(0)
            return True
        return False

    def _next(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            raise _invalid(self._text)
        return self._tokens.pop(0)[1]


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _invalid(text)
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _object(message: str) -> Any:
    try:
        found = json.loads(message)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _value(found: Any, field: str) -> Any:
    for name, number, quoted in STEP.findall(field):
        if number:
            found = found[int(number)] if isinstance(found, list) and int(number) < len(found) else ABSENT
        else:
            found = found.get(name or quoted, ABSENT) if isinstance(found, dict) else ABSENT
        if found is ABSENT:
            return ABSENT
    return found


def _state(field: str, words: str) -> Callable[[Any], bool]:
    wanted = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False, "NOT EXISTS": ABSENT}[words]
    return lambda found: _value(found, field) is wanted


def _order(field: str, sign: str, limit: float) -> Callable[[Any], bool]:
    def test(found: Any) -> bool:
        value = _value(found, field)
        return isinstance(value, int | float) and not isinstance(value, bool) and COMPARE[sign](value, limit)

    return test


def _equality(field: str, wanted_value: str, *, wanted: bool) -> Callable[[Any], bool]:
    def test(found: Any) -> bool:
        value = _value(found, field)
        if value is ABSENT or value is None or isinstance(value, dict | list | bool):
            return False
        if isinstance(value, int | float):
            return _same_number(value, wanted_value) == wanted
        return fnmatchcase(value, wanted_value.replace("[", "[[]").replace("?", "[?]")) == wanted

    return test


def _same_number(value: float, text: str) -> bool:
    try:
        return value == float(text)
    except ValueError:
        return False


def _float(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _invalid(text) from None


def _invalid(text: str) -> AwsError:
    return AwsError("InvalidParameterException", f"Invalid filter pattern: {text.strip()}")
