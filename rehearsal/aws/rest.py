"""The bytes of AWS's rest-xml protocol, which Route 53 speaks, read and written from botocore's service models.

https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from rehearsal.aws.models import misfits, model_of, operation_model
from rehearsal.aws.wire import Answer, AwsError, scalar, to_xml


def speaks_rest(service: str) -> bool:
    """Whether the operation of a request is told by its path."""
    return bool(service) and model_of(service).metadata.get("protocol") == "rest-xml"


def read_request(service: str, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """The operation, and its parameters as far as they can be read; `shaped` says whether AWS would take them."""
    for operation, (wanted, pattern) in _routes(service).items():
        if wanted == method and (found := pattern.fullmatch(path)):
            model = operation_model(service, operation)
            shape = model.input_shape if model is not None else None
            uri = {name: unquote(value) for name, value in found.groupdict().items()}
            return operation, _parameters(shape, uri, query, body) if shape is not None else {}
    raise AwsError("UnknownOperationException", f"{service} knows no operation {method} {path}.", 404)


def shaped(service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters, unless they don't fit the input shape."""
    model = operation_model(service, operation)
    if model is not None and model.input_shape is not None and (report := misfits(params, model.input_shape)):
        raise AwsError("InvalidInput", report)
    return params


def write_answer(service: str, operation: str, output: dict[str, Any]) -> Answer:
    """The HTTP answer that carries an output dict of botocore's shape."""
    model = operation_model(service, operation)
    shape = model.output_shape if model is not None else None
    inner = to_xml(output, shape) if shape is not None else ""
    root = shape.name if shape is not None else f"{operation}Response"
    space = model_of(service).metadata.get("xmlNamespace") or f"https://{service}.amazonaws.com/doc/2013-04-01/"
    xml = f'<?xml version="1.0"?>\n<{root} xmlns="{space}">{inner}</{root}>'
    return Answer(status=200, body=xml.encode(), content_type="text/xml")


@cache
def _routes(service: str) -> dict[str, tuple[str, re.Pattern[str]]]:
    """Operation -> its method and the pattern of its path."""
    found = {}
    for operation in model_of(service).operation_names:
        http = model_of(service).operation_model(operation).http
        path = re.escape(http["requestUri"].partition("?")[0]).replace(r"\{", "{").replace(r"\}", "}").replace(r"\+}", "+}")
        pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", path)
        found[operation] = (http["method"], re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)))
    return found


def _parameters(shape: Any, uri: Mapping[str, str], query: Mapping[str, str], body: bytes) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire_name, where = member.serialization.get("name", name), member.serialization.get("location")
        source = {"uri": uri, "querystring": query}.get(where or "", {})
        if wire_name in source:
            params[name] = scalar(source[wire_name], member)
    if body.strip():
        try:
            root = ElementTree.fromstring(body.decode())
        except (ElementTree.ParseError, UnicodeDecodeError) as error:
            raise AwsError("InvalidInput", f"The body is not XML: {error}.") from error
        params |= _structure(root, shape)
    return params


def _structure(element: ElementTree.Element, shape: Any) -> dict[str, Any]:
    by_name = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    found: dict[str, Any] = {}
    for child in element:
        tag = child.tag.rpartition("}")[2]
        name, member = by_name.get(tag, (tag, None))
        found[name] = _value(child, member) if member is not None else child.text  # for refusal, if there is no such member
    return found


def _value(element: ElementTree.Element, shape: Any) -> Any:
    if shape.type_name == "structure":
        return _structure(element, shape)
    if shape.type_name == "list":
        return [_value(child, shape.member) for child in element]
    return scalar(element.text or "", shape)
