"""One end of the connection between a worker and the process of an isolated model.

Small messages are sent by a socket. Tensors are in sealed shared memory; its file descriptor is
sent with the first message that uses it.
"""

import os
import socket
import struct
from array import array
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from service.sessions.sealed_memory import ReadMemory, UnsealedMemory, WrittenMemory
from service.sessions.tensor_frame import MalformedFrame, lay_out, read, write

Array = np.ndarray[Any, Any]
_HEAD = struct.Struct("<BxxxxxxxQQQ")  # kind, number of the run, size of header, size of frame
_LONGEST = 64 << 10  # maximum size of a message without its tensors, in bytes
_RETAINED = 16 << 20  # size of shared memory up to which it is reused, in bytes

START, READY, RUN, RESULT, ERROR = range(1, 6)


class ConnectionLost(Exception):
    """The other process has ended or sent an invalid message."""


class ChildMessage(msgspec.Struct, frozen=True):
    """A received message."""

    kind: int
    run: int = 0
    tensors: dict[str, Array] = {}
    content: bytes = b""  # content of a message without tensors


class Channel:
    """One end of the connection; only one thread may use it at a time."""

    def __init__(self, connection: socket.socket, *, copies: bool, most: int = 0) -> None:
        """`copies`: whether received tensors are copied, so that they outlive the next message.

        `most`: maximum size of a received frame of tensors in bytes; 0 means no limit.
        """
        self._connection = connection
        self._copies = copies
        self._most = most
        self._written: WrittenMemory | None = None
        self._read: ReadMemory | None = None

    def send(self, kind: int, run: int = 0, content: bytes = b"") -> None:
        """Send a message without tensors; raises ConnectionLost."""
        self._send([_HEAD.pack(kind, run, 0, 0), content])

    def send_tensors(self, kind: int, run: int, tensors: Mapping[str, Array]) -> None:
        """Send tensors; raises ConnectionLost, or OSError if the system has too little memory."""
        frame = lay_out(tensors)
        passed = None
        if self._written is None or not frame.size <= self._written.size <= _RETAINED:
            if self._written is not None:
                self._written.close()
                self._written = None
            self._written = WrittenMemory(frame.size)
            passed = self._written.descriptor
        write(frame, self._written.buffer)
        self._send([_HEAD.pack(kind, run, len(frame.header), frame.size)], passed)

    def receive(self) -> ChildMessage:
        """Wait for the next message; raises ConnectionLost."""
        try:
            data, ancillary, flags, _ = self._connection.recvmsg(
                _LONGEST, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise ConnectionLost(str(error)) from None
        descriptors = array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) // 4 * 4])
        try:
            if descriptors:
                self._read = ReadMemory(descriptors.pop())
            return self._decode(data, flags)
        except (MalformedFrame, UnsealedMemory) as error:
            raise ConnectionLost(f"malformed message: {error}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._written is not None:
            self._written.close()
            self._written = None

    def _send(self, parts: list[bytes], descriptor: int | None = None) -> None:
        rights = [] if descriptor is None else [_rights(descriptor)]
        try:
            self._connection.sendmsg(parts, rights, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise ConnectionLost(str(error)) from None

    def _decode(self, data: bytes, flags: int) -> ChildMessage:
        if not data:
            raise ConnectionLost("the other process has ended")
        if len(data) < _HEAD.size or flags & socket.MSG_TRUNC:
            raise MalformedFrame(f"{len(data)} bytes")
        kind, run, header, size = _HEAD.unpack_from(data)
        if not size:
            return ChildMessage(kind, run, content=data[_HEAD.size :])
        if self._read is None or size > self._read.size:
            raise MalformedFrame(f"a frame of {size} bytes without memory")
        if size > (self._most or size):
            raise MalformedFrame(f"a frame of {size} bytes; expected at most {self._most}")
        frame = self._read.buffer[:size]
        return ChildMessage(kind, run, read(frame, header, copy=self._copies))


def _rights(descriptor: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]).tobytes()


def connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new connection that preserves message boundaries."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
