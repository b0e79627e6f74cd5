"""Messages between the monitor and its scoring process: a length, then JSON."""

import struct
from typing import IO, TypeVar

import msgspec

Kind = TypeVar("Kind")

_LENGTH = struct.Struct(">I")


def write(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Send one message."""
    body = msgspec.json.encode(message)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read(stream: IO[bytes], kind: type[Kind]) -> Kind | None:
    """Receive one message; None when the other side has closed."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(size := _LENGTH.unpack(head)[0])
    return msgspec.json.decode(body, type=kind) if len(body) == size else None
