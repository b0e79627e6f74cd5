"""The worker's side of an isolated model's process: start, runs, end."""

import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from service.errors import NotReady, ServingError
from service.sessions.channel import (
    ERROR,
    READY,
    RESULT,
    RUN,
    START,
    Channel,
    ChildMessage,
    ConnectionLost,
    connected,
)
from service.sessions.child import KINDS, STOP, ChildConfig, ChildError, ChildSignature

Array = np.ndarray[Any, Any]
# -P, because a service/ in the current folder must not shadow our package.
COMMAND = (sys.executable, "-P", "-m", "service.sessions.child")
_END_S = 5.0  # timeout for the end of a process that has closed its connection
# Environment variables that libraries need; the worker's keys and passwords are not passed on.
_VARIABLES = {"PATH", "HOME", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
_PREFIXES = ("LC_", "LANG", "LD_", "CUDA", "NVIDIA_", "OMP_", "ORT_", "KMP_", "MKL_")


class ProcessEnded(Exception):
    """The process has ended; the message is its signal, exit status or error."""


class ModelProcess:
    """A process with a loaded model; one thread at a time can run it, another can stop the run."""

    def __init__(
        self, config: ChildConfig, start_s: float, command: Sequence[str] = COMMAND
    ) -> None:
        """Start the process and wait until its model is loaded.

        Raises NotReady if this fails or takes more than `start_s` seconds.
        """
        data, child_data = connected()
        control, child_control = connected()
        with child_data, child_control:
            passed = child_data.fileno(), child_control.fileno()
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [*command, *map(str, passed)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(os.environ),
            )
        self._data = data
        self._control = control
        self._channel = Channel(data, copies=True, most=config.memory)
        self.close = weakref.finalize(self, _end, self._process, self._channel, control)
        data.settimeout(start_s)
        try:
            self._channel.send(START, 0, msgspec.msgpack.encode(config))
            self.signature = _signature(self._channel.receive())
        except ConnectionLost as error:
            reason = self._end_reason(str(error))
            self.close()
            raise NotReady(f"the model's process does not start: {reason}") from None
        except ServingError:
            self.close()
            raise
        data.settimeout(None)

    def run(self, run: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs by name; raises a ServingError of the process, or ProcessEnded."""
        try:
            self._channel.send_tensors(RUN, run, inputs)
            return _result(self._channel.receive(), run)
        except ConnectionLost as error:
            reason = self._end_reason(str(error))
            self.close()
            raise ProcessEnded(reason) from None

    def stop(self, run: int) -> None:
        """Ask the process to stop a run before its next operator."""
        with suppress(OSError):  # the process has ended
            self._control.send(STOP.pack(run), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def kill(self) -> None:
        """Kill the process; this raises ProcessEnded in the thread that waits for a run."""
        self._process.kill()

    def _end_reason(self, error: str) -> str:
        """Return the process's signal or exit status, or `error` if it has not ended."""
        try:
            status = self._process.wait(0 if error.startswith("malformed") else _END_S)
        except subprocess.TimeoutExpired:
            return error
        if status < 0:
            return signal.strsignal(-status) or f"signal {-status}"
        return f"exit status {status}"


def _end(process: subprocess.Popen[bytes], channel: Channel, control: socket.socket) -> None:
    control.close()
    channel.close()
    process.kill()
    process.wait()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _VARIABLES or name.startswith(_PREFIXES)
    }


def _signature(message: ChildMessage) -> ChildSignature:
    if message.kind == ERROR:
        raise _error(message)
    text = message.tensors.get("signature")
    if message.kind != READY or text is None or text.size != 1:
        raise ConnectionLost("malformed message: no signature")
    try:
        return msgspec.json.decode(str(text[0]), type=ChildSignature)
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"malformed message: {error}") from None


def _result(message: ChildMessage, run: int) -> dict[str, Array]:
    if message.run != run:
        raise ConnectionLost(f"malformed message: answer to run {message.run}, expected {run}")
    if message.kind != RESULT:
        raise _error(message)
    return message.tensors


def _error(message: ChildMessage) -> ServingError:
    try:
        error_message = msgspec.msgpack.decode(message.content, type=ChildError)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConnectionLost(f"malformed message: {error}") from None
    if message.kind != ERROR or error_message.kind not in KINDS:
        raise ConnectionLost(f"malformed message: kind {message.kind}, {error_message.kind!r}")
    return KINDS[error_message.kind](error_message.text)
