"""What botocore's service models know: operations, shapes and error codes, and what doesn't fit them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

# botocore files a few services under another name than the one requests are signed with.
SERVICE_OF_SIGNING_NAME = {"monitoring": "cloudwatch", "email": "ses"}

# Codes that any operation may answer with, in addition to those in its own model.
COMMON_CODES = frozenset(
    """
    AccessDenied AccessDeniedException AuthFailure ExpiredToken IncompleteSignature InternalFailure InternalError
    InvalidAction InvalidClientTokenId InvalidParameterCombination InvalidParameterException InvalidParameterValue
    MissingAuthenticationToken MissingAuthenticationTokenException MissingParameter OptInRequired RequestExpired
    RequestLimitExceeded SerializationException ServerException ServiceUnavailable Throttling ThrottlingException
    UnknownOperationException UnrecognizedClientException ValidationError ValidationException
    """.split()  # noqa: SIM905 (a list of thirty strings, one a line, would be a page)
)


@cache
def model_of(service: str) -> Any:
    """botocore's ServiceModel of a service by its boto3 name; raises UnknownServiceError if there is none."""
    return ServiceModel(_loader().load_service_model(service, "service-2"), service)


@cache
def _loader() -> Any:
    """What reads the models from their files; a whole session would load the code of clients as well."""
    return Loader()


def service_of(signing_name: str) -> str:
    """The boto3 name of the service that a credential scope names."""
    return SERVICE_OF_SIGNING_NAME.get(signing_name, signing_name)


def operation_model(service: str, operation: str) -> Any | None:
    """The model of an operation, or None if the service has no such operation."""
    model = model_of(service)
    return model.operation_model(operation) if operation in model.operation_names else None


def misfits(value: Any, shape: Any) -> str:
    """What in a value doesn't fit a shape of botocore's: missing, unknown or wrongly typed members, unknown words, too much."""
    problems = ParamValidator().validate(value, shape)
    if problems.has_errors():
        return " ".join(problems.generate_report().split())
    return " ".join([*_unknown_words(value, shape, "input"), *_too_much(value, shape, "input")])


def _too_much(value: Any, shape: Any, name: str) -> Iterator[str]:
    """botocore's own validator knows only the lower bounds."""
    most = shape.metadata.get("max")
    if shape.type_name == "structure":
        for key, inner in value.items():
            yield from _too_much(inner, shape.members[key], f"{name}.{key}")
        return
    if shape.type_name == "list":
        for inner in value:
            yield from _too_much(inner, shape.member, name)
    if most is None:
        return
    if shape.type_name in ("integer", "long") and value > most:
        yield f"Value {value} at {name} failed to satisfy constraint: Member must have value less than or equal to {most}."
    elif shape.type_name in ("string", "list") and len(value) > most:
        yield f"Value at {name} failed to satisfy constraint: Member must have length less than or equal to {most}."


def _unknown_words(value: Any, shape: Any, name: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for key, inner in value.items():
            yield from _unknown_words(inner, shape.members[key], f"{name}.{key}")
    elif shape.type_name == "list":
        for inner in value:
            yield from _unknown_words(inner, shape.member, name)
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"Value {value!r} at {name} is not one of {', '.join(shape.enum)}."


def declared_errors(service: str, operation: str) -> dict[str, int]:
    """Error code -> HTTP status, as the operation's model declares them."""
    model = operation_model(service, operation)
    if model is None:
        return {}
    return {shape.error_code: shape.metadata.get("error", {}).get("httpStatusCode", 400) for shape in model.error_shapes}
