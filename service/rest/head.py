"""Parse the head (request line and headers) of an inference request over HTTP. Pure."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from access.authorization_header import join_headers
from access.errors import AccessError
from service.protocol import binary
from service.protocol.routing_key import ROUTING_KEY, read_key
from service.rest.content import Encoding, preferred_encoding

Header = tuple[bytes, bytes]
_TEXT: dict[bytes, tuple[str, Callable[[bytes], str]]] = {
    b"traceparent": ("traceparent", lambda value: value.decode("latin-1")),
    ROUTING_KEY: ("routing_key", read_key),
}
_JSON_LENGTH = binary.HEADER.encode()


class Head(msgspec.Struct, frozen=True):
    """The parts of the request line and headers that inference uses."""

    model: str
    selector: str  # version number, alias or "" for the champion
    keep_alive: bool = True  # whether the connection stays open after the reply
    length: int | None = None  # length of the body, in bytes; None if it is chunked
    json_length: bytes | None = None  # header Inference-Header-Content-Length
    traceparent: str = ""
    routing_key: str = ""
    expects_continue: bool = False
    authorization: bytes | None = None
    foreign: AccessError | None = None  # error of Host or Origin, for callers without a key
    kind: bytes = b""  # content-type of the body; empty for application/json
    encoding: bytes = b""  # content-encoding of the body
    reply_encoding: Encoding | None = None  # client's preferred encoding, for large replies


def target(path: str) -> tuple[str, str] | None:
    """Return model and selector in the path of inference; None for other paths."""
    if not path.endswith("/infer"):
        return None
    match path.split("/"):
        case ["", "v2", "models", model, "infer"]:
            return model, ""
        case ["", "v2", "models", model, "versions", version, "infer"]:
            return model, version
    return None


def read_head(
    model: str,
    selector: str,
    headers: Iterable[Header],
    *,
    keep_alive: bool,
    foreign: AccessError | None = None,
) -> Head:
    """Return the head for these headers; their names must be in lower case."""
    fields: dict[str, Any] = {"foreign": foreign}
    for name, value in headers:
        if name == b"content-length":
            fields["length"] = int(value)  # the parser accepts only digits
        elif name == _JSON_LENGTH:
            fields["json_length"] = value
        elif (text := _TEXT.get(name)) is not None:
            field, read = text
            fields[field] = read(value)
        elif name == b"authorization":
            earlier = fields.get("authorization")
            fields["authorization"] = join_headers([value] if earlier is None else [earlier, value])
        elif name == b"expect":
            fields["expects_continue"] = value.lower() == b"100-continue"
        elif name == b"content-type" and value != b"application/json":
            fields["kind"] = value
        elif name == b"content-encoding":
            fields["encoding"] = value
        elif name == b"accept-encoding":
            fields["reply_encoding"] = preferred_encoding(value)
    return Head(model, selector, keep_alive, **fields)
