"""Which answers are AWS's own. botocore takes a proxy's page for an error without a code, and cut-off JSON for an empty answer.

`check` sees every response before botocore decides what to do with it, on every protocol that botocore speaks: query, EC2,
JSON, REST-XML, REST-JSON and CBOR (https://smithy.io/2.0/aws/protocols/index.html). Called by gateway.py only.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

CODE = re.compile(r"[A-Z][A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*")  # all 2,669 codes in botocore's models; a bare HTTP status is none
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9+/=_-]{7,}")
HEADERS = ("x-amzn-requestid", "x-amz-request-id")
TYPES = {"query": "xml", "ec2": "xml", "rest-xml": "xml", "json": "json", "rest-json": "json", "smithy-rpc-v2-cbor": "cbor"}
MAYBE = re.compile(r"Time(d)?Out|Internal|ServerE|Unavailable", re.IGNORECASE)  # AWS's own trouble, whatever the HTTP status
THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "EC2ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "PriorRequestNotComplete",
    }
)


class NotAws(Exception):
    """What came back isn't an answer of AWS. The message is a noun phrase, `why` is for the log."""

    def __init__(self, says: str, why: str = "") -> None:
        super().__init__(says)
        self.why = why


def check(service: Any, *, response_dict: dict[str, Any] | None, parsed_response: dict[str, Any] | None, **_: Any) -> None:
    """Raise `NotAws` unless a response is AWS's own; a handler of botocore's event "response-received"."""
    if response_dict is None or parsed_response is None:
        return
    operation = service.operation_model(response_dict["context"]["operation_name"])
    if why := _fault(operation, response_dict, parsed_response):
        raise NotAws(foreign(response_dict["status_code"], response_dict["body"]), why)


def foreign(status: int, body: Any) -> str:
    """What a person reads of a response that isn't AWS's: "a page with HTTP 403 that isn't AWS's"."""
    return f"a page with HTTP {status} that isn't AWS's" if body else f"an empty answer with HTTP {status}"


def refuses(response: Mapping[str, Any]) -> bool:
    """Whether an error that botocore has parsed is AWS's own word that it did not do what was asked."""
    code, status = own_code(response), _status(response)
    return throttles(response) or bool(code and 400 <= status < 500 and status != 408 and not MAYBE.search(code))


def throttles(response: Mapping[str, Any]) -> bool:
    """Whether AWS itself says that it did nothing because too much was asked of it; EC2 says so with HTTP 503."""
    return own_code(response) in THROTTLED and (400 <= _status(response) < 500 or _status(response) == 503)


def own_code(response: Mapping[str, Any]) -> str:
    """The error code of an answer of AWS's own; "" if it has none, or if it carries no request id of AWS's."""
    code = response.get("Error", {}).get("Code", "")
    return code if isinstance(code, str) and CODE.fullmatch(code) and request_id(response) else ""


def request_id(parsed: Mapping[str, Any]) -> str:
    """AWS's request id of an answer, "" if it has none. botocore drops it if an operation answers with nothing in CBOR."""
    metadata = parsed.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    given = metadata.get("RequestId") or next((headers[name] for name in HEADERS if name in headers), "")
    return given if isinstance(given, str) and REQUEST_ID.fullmatch(given) else ""


def _status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _fault(operation: Any, response: Mapping[str, Any], parsed: Mapping[str, Any]) -> str:
    """Why a response isn't AWS's own; "" if it is."""
    failed = response["status_code"] >= 300
    if not request_id(parsed):
        return "no request id of AWS's"
    if failed and not own_code(parsed):
        return "no error code of AWS's"
    if not failed and _is_raw(operation):
        return ""
    length = response["headers"].get("content-length", "") if operation.http.get("method") != "HEAD" else ""
    if length.isdecimal() and int(length) != len(response["body"]):  # botocore switches urllib3's own check off
        return f"{len(response['body'])} of {length} bytes"
    protocol, given = operation.service_model.resolved_protocol, response["headers"].get("content-type", "")
    if given and response["body"] and TYPES[protocol] not in given.lower():
        return f"content type {given}"
    return "" if failed or _fits(protocol, operation, response["body"], parsed) else "not in the form of this operation"


def _is_raw(operation: Any) -> bool:
    """Whether the answer's body isn't in the protocol's form but bytes or text of any kind, as of S3's GetObject."""
    shape = operation.output_shape
    return operation.has_streaming_output or operation.has_event_stream_output or (shape and "payload" in shape.serialization)


def _fits(protocol: str, operation: Any, body: bytes, parsed: Mapping[str, Any]) -> bool:
    """Whether the body of a success has the form that the protocol gives to this operation's answers."""
    shape = operation.output_shape
    wanted = {name: member for name, member in (shape.members if shape else {}).items() if "location" not in member.serialization}
    found = wanted.keys() & parsed.keys()
    if not body:
        return not wanted
    if protocol in ("query", "ec2"):
        return _root(body) == f"{operation.name}Response"
    if protocol == "rest-xml":
        return bool(found) or _root(body) in (shape.name if shape else "", f"{operation.name}Response")
    if protocol == "smithy-rpc-v2-cbor":
        return bool(found) or body in (b"\xa0", b"\xbf\xff")  # an empty map, of either length
    return _is_json(body, {member.serialization.get("name", name) for name, member in wanted.items()})


def _root(body: bytes) -> str:
    _, element = next(iter(ElementTree.iterparse(io.BytesIO(body), events=("start",))))
    return str(element.tag).rpartition("}")[2]


def _is_json(body: bytes, wanted: set[str]) -> bool:
    """Whether it is a JSON object: empty, or with one of the wanted members; without any that are wanted, no error at least."""
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and (not value or bool(value.keys() & wanted) or not (wanted or "__type" in value))
