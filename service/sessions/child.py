"""The process of one isolated model: `python -P -m service.sessions.child DATA CONTROL`.

Both arguments are descriptors of sockets. By DATA, the worker sends the path of the model's file
and its options, then one run at a time. By CONTROL, it sends the number of a run that must stop.
The process ends when the worker closes CONTROL, even during a run.
"""

import ctypes
import hashlib
import os
import resource
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from registry.manifest import SessionOptions
from service.errors import (
    InvalidRequest,
    NotReady,
    OutOfMemory,
    RunFailed,
    ServingError,
    ValuesRefused,
)
from service.sessions.channel import (
    ERROR,
    READY,
    RESULT,
    RUN,
    START,
    Channel,
    ChildMessage,
    ConnectionLost,
)
from service.sessions.session import Session, lacks_memory

STOP = struct.Struct("<Q")  # number of a run
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of <sys/prctl.h>


class ChildConfig(msgspec.Struct, frozen=True):
    """The configuration with which the process loads its model."""

    path: str
    sha256: str  # SHA-256 of the file in hex; "" if unknown
    session: SessionOptions
    memory: int = 0  # limit of the process's data memory in bytes; 0 means no limit


class ChildNode(msgspec.Struct, frozen=True):
    """An input or output of the model in ONNX Runtime's terms."""

    name: str
    type: str
    shape: list[Any]


class ChildSignature(msgspec.Struct, frozen=True):
    """The inputs and outputs of the model."""

    inputs: list[ChildNode]
    outputs: list[ChildNode]


class ChildError(msgspec.Struct, frozen=True):
    """The reason why the start or a run failed."""

    kind: str  # a key of KINDS
    text: str


KINDS: dict[str, type[ServingError]] = {
    "not ready": NotReady,
    "invalid": InvalidRequest,
    "values": ValuesRefused,
    "memory": OutOfMemory,
    "failed": RunFailed,
}


class _ControlThread(threading.Thread):
    """A thread that stops the current run if the worker requests it, and ends with the worker."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(name="control", daemon=True)
        self._control = control
        self._lock = threading.Lock()
        self._run = 0
        self._stopped = 0
        self._options: onnxruntime.RunOptions | None = None

    def begin(self, run: int, options: onnxruntime.RunOptions) -> None:
        """Store the options of a run; stop it if the worker has already requested this."""
        with self._lock:
            self._run, self._options = run, options
            if self._stopped == run:
                options.terminate = True

    def run(self) -> None:
        """Read the control socket; end the process when it is closed."""
        while len(data := self._receive()) == STOP.size:
            (number,) = STOP.unpack(data)
            with self._lock:
                self._stopped = number
                if number == self._run and self._options is not None:
                    self._options.terminate = True
        os._exit(0)

    def _receive(self) -> bytes:
        try:
            return self._control.recv(STOP.size)
        except OSError:
            return b""


def main() -> None:
    """Load the model and run it until the worker closes the connection."""
    data, control = (socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:3])
    control_thread = _ControlThread(control)
    control_thread.start()
    channel = Channel(data, copies=False)
    try:
        first = channel.receive()
        config = msgspec.msgpack.decode(first.content, type=ChildConfig)
        if first.kind == START and (session := _start(channel, config)) is not None:
            while True:
                _answer(channel, channel.receive(), session, control_thread)
    except ConnectionLost:
        pass
    os._exit(0)  # skip the slow destructors of libraries


def _start(channel: Channel, config: ChildConfig) -> Session | None:
    """Confine the process and load the model; send its signature or the error."""
    try:
        confine(config.memory)
        model = Path(config.path).read_bytes()
        digest = hashlib.sha256(model).hexdigest()
        if config.sha256 and digest != config.sha256:
            raise NotReady(
                f"model.onnx was changed: SHA-256 {digest[:12]}..., registered "
                f"{config.sha256[:12]}...; restore it from a backup, or re-register the model"
            )
        session = Session(model, config.session, Path(config.path).parent)
    except (ServingError, OSError, MemoryError) as error:
        _send_error(channel, 0, "not ready", str(error))
        return None
    runnable = session.runnable()
    signature = ChildSignature(_nodes(runnable.inputs), _nodes(runnable.outputs))
    text = msgspec.json.encode(signature).decode()
    channel.send_tensors(READY, 0, {"signature": np.array([text], np.object_)})
    return session


def confine(memory: int) -> None:
    """Limit the data memory of this process; disable core dumps and new privileges."""
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _answer(
    channel: Channel, message: ChildMessage, session: Session, control_thread: _ControlThread
) -> None:
    if message.kind != RUN:
        raise ConnectionLost(f"unexpected message {message.kind}")
    try:
        options = session.new_options()
        control_thread.begin(message.run, options)
        outputs = session.run(message.tensors, options)
        channel.send_tensors(RESULT, message.run, outputs)
    except InvalidRequest as error:
        _send_error(channel, message.run, "invalid", str(error))
    except ValuesRefused as error:
        _send_error(channel, message.run, "values", error.detail)
    except (RunFailed, MemoryError, OSError, TypeError) as error:
        lacking = isinstance(error, OutOfMemory) or lacks_memory(error)
        kind = "memory" if lacking else "failed"
        _send_error(channel, message.run, kind, str(error))


def _send_error(channel: Channel, run: int, kind: str, text: str) -> None:
    channel.send(ERROR, run, msgspec.msgpack.encode(ChildError(kind, text[:4000])))


def _nodes(nodes: Any) -> list[ChildNode]:
    return [
        ChildNode(node.name, node.type, [None if isinstance(s, float) else s for s in node.shape])
        for node in nodes
    ]


if __name__ == "__main__":
    main()
