"""The head of an inference request over HTTP. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from service.protocol import binary
from service.rest.content import Encoding, preferred_encoding

Header = tuple[bytes, bytes]
_JSON_LENGTH = binary.HEADER.encode()


class Head(msgspec.Struct, frozen=True):
    """What its request channel and headers say, as far as inference cares."""

    model: str
    selector: str  # version number, alias or "" for the champion
    keep_alive: bool = True  # whether the connection stays open after the reply
    length: int | None = None  # of the body, in bytes; None where it comes in chunks
    json_length: bytes | None = None  # where the binary extension's JSON ends, as it was sent
    traceparent: str = ""
    expects_continue: bool = False
    authorization: bytes | None = None
    kind: bytes = b""  # of the body, by its content-type, where that is not JSON's own
    encoding: bytes = b""  # of the body, as it was sent
    reply_encoding: Encoding | None = None  # that the client would have a large reply in


def target(path: str) -> tuple[str, str] | None:
    """The model and version that an inference path names, None for other paths."""
    if not path.endswith("/infer"):
        return None
    match path.split("/"):
        case ["", "v2", "models", model, "infer"]:
            return model, ""
        case ["", "v2", "models", model, "versions", version, "infer"]:
            return model, version
    return None


def read_head(model: str, selector: str, headers: Iterable[Header], *, keep_alive: bool) -> Head:
    """The head with these headers, whose names are in lower case."""
    told: dict[str, Any] = {}
    for name, value in headers:
        if name == b"content-length":
            told["length"] = int(value)  # the parser lets nothing but digits through
        elif name == _JSON_LENGTH:
            told["json_length"] = value
        elif name == b"traceparent":
            told["traceparent"] = value.decode("latin-1")
        elif name == b"authorization":
            told["authorization"] = value
        elif name == b"expect":
            told["expects_continue"] = value.lower() == b"100-continue"
        elif name == b"content-type" and value != b"application/json":
            told["kind"] = value
        elif name == b"content-encoding":
            told["encoding"] = value
        elif name == b"accept-encoding":
            told["reply_encoding"] = preferred_encoding(value)
    return Head(model, selector, keep_alive, **told)
