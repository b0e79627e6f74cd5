"""Encode responses and errors as HTTP/1.1 messages, in pieces for one write.

The first piece is the status line, so that the connection can insert headers after it.
"""

from http import HTTPStatus
from typing import Any

from eventlog.errors import DriftlineError
from service.call import InferenceResponse
from service.protocol import binary, json
from service.rest.content import LARGE, Encoding, compress
from service.rest.errors import body_of, headers_of, status_of

_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = b"content-type: application/json\r\n"
_RAW = b"content-type: application/octet-stream\r\n%b: %d\r\n"
_CACHE_HIT = "driftline-cache-hit: true\r\n"
_ARM = "driftline-rollout: %s\r\ndriftline-arm: %s\r\n"
_JSON_LENGTH = binary.HEADER.encode()


def encode_response(answer: InferenceResponse, encoding: Encoding | None = None) -> list[bytes]:
    """Encode a response as JSON, followed by raw bytes if the client requests them.

    Large JSON is compressed if `encoding` is not None.
    """
    if answer.request.classes:
        answer = answer.with_classes()
    requested = answer.output_names()
    fields: dict[str, Any] = {
        "model": answer.version.model,
        "version": answer.version.number,
        "request_id": answer.request.id,
        "parameters": answer.parameters(),
        "outputs": {name: answer.outputs[name] for name in requested},
    }
    headers = response_headers(answer)
    arrays, request = answer.run.outputs, answer.request
    raw = request.may_want_raw and {n: arrays[n] for n in requested if request.wants_raw(n)}
    if raw:
        body, length = binary.encode_response(**fields, raw=raw)
        return _message(_OK, headers + _RAW % (_JSON_LENGTH, length), body)
    body = json.encode_response(**fields)
    if encoding is not None and len(body) >= LARGE:
        body = compress(body, encoding)
        headers += b"content-encoding: %b\r\n" % encoding.encode()
    return _message(_OK, headers + _JSON, body)


def response_headers(answer: InferenceResponse) -> bytes:
    """Return version, prediction id and durations, for clients that do not parse the body."""
    run = answer.run
    return (
        f"driftline-version: {answer.version.number}\r\n"
        f"driftline-prediction-id: {answer.prediction_id}\r\n"
        f"{_CACHE_HIT if run.cached else ''}"
        f"{'' if answer.arm is None else _ARM % (answer.arm.rollout, answer.arm.name)}"
        f"driftline-queue-us: {run.queue_us}\r\n"
        f"driftline-run-us: {run.run_us}\r\n"
    ).encode()


def encode_error(error: DriftlineError, prediction_id: str = "") -> list[bytes]:
    """Encode an error; `prediction_id` is the prediction id of its event."""
    headers = headers_of(error)
    if prediction_id:
        headers["driftline-prediction-id"] = prediction_id
    lines = b"".join([f"{name}: {value}\r\n".encode() for name, value in headers.items()])
    return _message(_status_line(status_of(error)), _JSON + lines, body_of(error))


def _message(status_line: bytes, headers: bytes, body: bytes) -> list[bytes]:
    return [status_line, headers, b"content-length: %d\r\n\r\n" % len(body), body]


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
