"""What comes back in place of AWS's answer: a proxy's or a portal's page, an empty answer, or the answer cut off.

Each is named here and put in by the faults "garbled" (nothing was done) and "after_garbled" (the effect is done). None of
them tells whether the call took effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from rehearsal.aws.wire import Answer

Page = Callable[[Answer, Answer, str], bytes]  # (AWS's real answer, a refusal of AWS's, request id) -> bytes on the wire
HTML = b"<!doctype html>\n<html><head><title>Notice</title></head>\n<body><h1>Request blocked</h1><br>\n</body></html>\n"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>Request blocked</p></body></html>'
GATEWAY_JSON = json.dumps({"code": "Forbidden", "message": "Blocked by policy 17", "requestId": "6f1d-77"}).encode()
OTHER_XML = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def http(status: int, body: bytes, kind: str = "text/html", *, request_id: str = "", length: int | None = None) -> bytes:
    """A whole HTTP answer; `length` is what it claims of its body, which may be more than there is."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"Content-Type: {kind}", *([f"x-amzn-RequestId: {request_id}"] if request_id else []), "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _page(status: int, body: bytes = HTML, kind: str = "text/html") -> Page:
    return lambda answer, refusal, request_id: http(status, body, kind)


def _cut(answer: Answer, refusal: Answer, request_id: str) -> bytes:
    """AWS's own answer, with its headers, until the connection breaks off in the middle."""
    half = answer.body[: len(answer.body) // 2]
    return http(answer.status, half, answer.content_type, request_id=request_id, length=len(answer.body))


def _cut_by_proxy(answer: Answer, refusal: Answer, request_id: str) -> bytes:
    """AWS's own answer cut by a proxy that states the shorter length."""
    return http(answer.status, answer.body[: len(answer.body) // 2], answer.content_type, request_id=request_id)


def _no_request_id(answer: Answer, refusal: Answer, request_id: str) -> bytes:
    """A refusal in AWS's own form without AWS's request id."""
    body = refusal.body.replace(f"<RequestId>{request_id}</RequestId>".encode(), b"")
    return http(refusal.status, body, refusal.content_type)


def _wrong_type(answer: Answer, refusal: Answer, request_id: str) -> bytes:
    """A refusal with everything of AWS's but its content type."""
    return http(refusal.status, refusal.body, "text/html; charset=utf-8", request_id=request_id)


def _emptied(answer: Answer, refusal: Answer, request_id: str) -> bytes:
    """AWS's own headers with nothing behind them."""
    return http(200, b"", answer.content_type, request_id=request_id)


PAGES: dict[str, Page] = {
    **{f"html_{status}": _page(status) for status in (200, 400, 403, 404, 407, 413, 429, 451, 502, 503)},
    "redirect_302": _page(302),
    "xhtml_403": _page(403, XHTML, "application/xhtml+xml"),
    "xml_403": _page(403, OTHER_XML, "application/xml"),
    "json_200": _page(200, GATEWAY_JSON, "application/json"),
    "json_403": _page(403, GATEWAY_JSON, "application/json"),
    "empty_200": _page(200, b""),
    "empty_403": _page(403, b""),
    "emptied": _emptied,
    "no_request_id": _no_request_id,
    "wrong_type": _wrong_type,
    "cut": _cut,
    "cut_by_proxy": _cut_by_proxy,
}
