"""The bytes of AWS's query and json protocols, read and written from botocore's service models.

Nothing here knows an operation by name: the shapes of botocore's models say how a request is taken apart and how an
answer or an error is put together, so a real boto3 or AWS CLI meets exactly the wire it expects.
(https://smithy.io/2.0/aws/protocols/aws-query-protocol.html, .../aws-json-1_1-protocol.html)
"""

from __future__ import annotations

import base64
import calendar
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.utils import parse_timestamp

from rehearsal.aws.models import declared_errors, misfits, model_of, operation_model

MOST_FIELDS = 10_000


class AwsError(Exception):
    """An answer that AWS gives instead of a result: its code, its sentence, and its HTTP status.

    Without a status the one that the operation's model declares for the code is used, else 400.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back over HTTP: a status, a body and its content type."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def read_request(service: str, headers: Mapping[str, str], body: bytes) -> tuple[str, dict[str, Any], bool]:
    """(operation, raw parameters, whether it is json) of a request; parameters are not yet shaped by the model."""
    target = headers.get("X-Amz-Target", "")
    if not target:
        try:
            flat = dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
        except ValueError as error:
            raise AwsError("MalformedQueryString", f"The query string contains a syntax error: {error}.", 404) from error
        return flat.get("Action", ""), flat, False
    prefix, _, operation = target.rpartition(".")
    if prefix != model_of(service).metadata.get("targetPrefix"):
        raise AwsError("UnknownOperationException", f"{service} knows no operation {target}.")
    try:
        raw = json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError("SerializationException", f"The body is not JSON: {error}.") from error
    if not isinstance(raw, dict):
        raise AwsError("SerializationException", "The body is not a JSON object.")
    return operation, raw, True


def named_operation(headers: Mapping[str, str], body: bytes) -> str:
    """The operation that a request names, of whatever service; "" if it names none that can be read."""
    if target := headers.get("X-Amz-Target", ""):
        return target.rpartition(".")[2]
    found = re.search(rb"(?:^|&)Action=([A-Za-z0-9]+)", body)
    return found[1].decode() if found else ""


def shape_parameters(service: str, operation: str, raw: dict[str, Any], is_json: bool) -> dict[str, Any]:
    """The parameters as boto3 was given them, validated against the input shape; refuses what AWS would refuse."""
    model = operation_model(service, operation)
    shape = model.input_shape if model is not None else None
    if shape is None:
        return {}
    params = from_json(raw, shape) if is_json else from_query(raw, shape)
    if report := misfits(params, shape):
        raise AwsError(_validation_code(service, is_json), report)
    return dict(params)


def _validation_code(service: str, is_json: bool) -> str:
    if not is_json or _is_query_compatible(service):
        return "ValidationError"
    return "InvalidParameterException" if service in {"ecs", "logs", "ecr"} else "ValidationException"


def _is_query_compatible(service: str) -> bool:
    """Whether the service keeps the error codes of its query protocol in json, as CloudWatch does."""
    return "awsQueryCompatible" in model_of(service).metadata


# --- requests ---------------------------------------------------------------------------------------------------


def from_json(value: Any, shape: Any) -> Any:
    """A json value with its timestamps and blobs made Python's; keys the shape does not know are kept for refusal."""
    if value is None:
        return None
    if shape.type_name == "structure" and isinstance(value, dict):
        return {
            key: from_json(inner, shape.members[key]) if key in shape.members else inner
            for key, inner in value.items()
            if inner is not None
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [from_json(inner, shape.member) for inner in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: from_json(inner, shape.value) for key, inner in value.items()}
    try:
        if shape.type_name == "timestamp":
            return parse_timestamp(value)
        return base64.b64decode(value) if shape.type_name == "blob" else value
    except (ValueError, TypeError, RuntimeError):
        return value  # the validator refuses it, with the parameter's name


def from_query(flat: Mapping[str, str], shape: Any, prefix: str = "") -> Any:
    """The value of a shape out of flat `A.b.member.1=x` pairs; None if the request says nothing about it."""
    if shape.type_name == "structure":
        return _structure_from_query(flat, shape, prefix)
    if shape.type_name == "list":
        return _list_from_query(flat, shape, prefix)
    if shape.type_name == "map":
        return _map_from_query(flat, shape, prefix)
    return scalar(flat[prefix], shape) if prefix in flat else None


def _structure_from_query(flat: Mapping[str, str], shape: Any, prefix: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        value = from_query(flat, member, f"{prefix}.{wire_name}" if prefix else wire_name)
        if value is not None:
            found[name] = value
    return found if found or not prefix else None


def _list_from_query(flat: Mapping[str, str], shape: Any, prefix: str) -> list[Any] | None:
    if flat.get(prefix) == "":
        return []
    member_name = shape.member.serialization.get("name")
    if shape.serialization.get("flattened"):
        base = ".".join([*prefix.split(".")[:-1], member_name]) if member_name else prefix
    else:
        base = f"{prefix}.{member_name or 'member'}"
    values: list[Any] = []
    while (value := from_query(flat, shape.member, f"{base}.{len(values) + 1}")) is not None:
        values.append(value)
    return values or None


def _map_from_query(flat: Mapping[str, str], shape: Any, prefix: str) -> dict[str, Any] | None:
    base = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found: dict[str, Any] = {}
    while (key := flat.get(f"{base}.{len(found) + 1}.{key_name}")) is not None:
        found[key] = from_query(flat, shape.value, f"{base}.{len(found) + 1}.{value_name}")
    return found or None


def scalar(text: str, shape: Any) -> Any:
    """The Python value of a text; one that does not fit stays a text."""
    try:
        match shape.type_name:
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "timestamp":
                return parse_timestamp(text)
            case "blob":
                return base64.b64decode(text)
    except (ValueError, KeyError):
        return text  # the validator refuses it, with the parameter's name
    return text


# --- answers ----------------------------------------------------------------------------------------------------


def write_answer(service: str, operation: str, output: dict[str, Any], request_id: str, is_json: bool) -> Answer:
    """The HTTP answer that carries an output dict of botocore's shape."""
    model = operation_model(service, operation)
    shape = model.output_shape if model is not None else None
    if is_json:
        value = to_json(output, shape) if shape is not None else {}
        return Answer(status=200, body=json.dumps(value).encode(), content_type=_json_type(service))
    inner = to_xml(output, shape) if shape is not None else ""
    wrapper = shape.serialization.get("resultWrapper") if shape is not None else None
    result = f"<{wrapper}>{inner}</{wrapper}>" if wrapper else inner
    meta = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    space = model_of(service).metadata.get("xmlNamespace", "")
    xml = f'<{operation}Response xmlns="{space}">{result}{meta}</{operation}Response>'
    return Answer(status=200, body=xml.encode(), content_type="text/xml")


def write_error(service: str, operation: str, error: AwsError, request_id: str, is_json: bool) -> Answer:
    """The HTTP answer that carries an AWS error in the protocol of the request."""
    status = error.status or declared_errors(service, operation).get(error.code, 400)
    if is_json:
        body = json.dumps({"__type": error.code, "message": error.message}).encode()
        side = "Receiver" if status >= 500 else "Sender"
        headers = {"x-amzn-query-error": f"{error.code};{side}"} if _is_query_compatible(service) else {}
        return Answer(status=status, body=body, content_type=_json_type(service), headers=headers)
    side = "Receiver" if status >= 500 else "Sender"
    xml = (
        f"<ErrorResponse><Error><Type>{side}</Type><Code>{escape(error.code)}</Code>"
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(status=status, body=xml.encode(), content_type="text/xml")


def _json_type(service: str) -> str:
    return f"application/x-amz-json-{model_of(service).metadata.get('jsonVersion', '1.1')}"


def to_json(value: Any, shape: Any) -> Any:
    """A value as json carries it: timestamps are epoch seconds, blobs base64, None left out."""
    match shape.type_name:
        case "structure":
            return {key: to_json(inner, shape.members[key]) for key, inner in value.items() if inner is not None}
        case "list":
            return [to_json(inner, shape.member) for inner in value]
        case "map":
            return {key: to_json(inner, shape.value) for key, inner in value.items()}
        case "timestamp":
            return _epoch(value)
        case "blob":
            return base64.b64encode(value).decode()
    return value


def _epoch(moment: datetime) -> float:
    return calendar.timegm(moment.utctimetuple()) + moment.microsecond // 1000 / 1000


def to_xml(value: dict[str, Any], shape: Any) -> str:
    """The members of a structure as elements; None is left out, as AWS leaves out what is not set."""
    parts = []
    for name, inner in value.items():
        if inner is not None:
            member = shape.members[name]
            parts.append(_element(member.serialization.get("name", name), inner, member))
    return "".join(parts)


def _element(name: str, value: Any, shape: Any) -> str:
    if shape.type_name == "list":
        return _list_element(name, value, shape)
    if shape.type_name == "structure":
        inner = to_xml(value, shape)
    elif shape.type_name == "map":
        entries = (_element("key", key, shape.key) + _element("value", one, shape.value) for key, one in value.items())
        inner = "".join(f"<entry>{entry}</entry>" for entry in entries)
    else:
        inner = escape(_text(value, shape))
    return f"<{name}>{inner}</{name}>"


def _list_element(name: str, values: list[Any], shape: Any) -> str:
    member_name = shape.member.serialization.get("name")
    if shape.serialization.get("flattened"):
        return "".join(_element(member_name or name, one, shape.member) for one in values)
    return f"<{name}>{''.join(_element(member_name or 'member', one, shape.member) for one in values)}</{name}>"


def _text(value: Any, shape: Any) -> str:
    match shape.type_name:
        case "boolean":
            return "true" if value else "false"
        case "timestamp":
            return f"{value.strftime('%Y-%m-%dT%H:%M:%S')}.{value.microsecond // 1000:03d}Z"
        case "blob":
            return base64.b64encode(value).decode()
    return str(value)
