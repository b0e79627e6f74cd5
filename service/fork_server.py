"""Start workers as forks of a process that has imported the service, so that none imports it again.

The supervisor forks the fork server once, before it has threads or an event loop. The fork server
forks each worker twice: the orphaned worker becomes a child of the supervisor, which had asked the
kernel to adopt its orphans. So signals, exit statuses and the parent-death signal work as for any
other child. Only Linux offers this.

The fork server opens no inference session: ONNX Runtime's threads would not survive a fork.
"""

import ctypes
import gc
import logging
import os
import runpy
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import NoReturn, Self

import msgspec

_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>
_SET_NAME = 15  # PR_SET_NAME
_ADOPTION_S = 10.0  # longest time until the kernel has given a worker its new parent
_LENGTH = struct.Struct("!I")
_PID = struct.Struct("!i")
_STANDARD = frozenset({0, 1, 2})


class Order(msgspec.Struct, frozen=True):
    """What to run, as `python -m module *arguments` would."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    listener: int  # index of the argument that names the descriptor of the passed socket


def descriptors() -> set[int]:
    """Return the open descriptors of this process; none where the system does not list them."""
    folder = Path("/proc/self/fd")
    listed = list(folder.iterdir()) if folder.is_dir() else []
    return {int(one.name) for one in listed if one.exists()}  # that of the listing is closed


class ForkServer:
    """The supervisor's end of the connection to its fork server."""

    def __init__(self, connection: socket.socket) -> None:
        """Use `start` to create one."""
        self._connection = connection

    @classmethod
    def start(cls, private: Set[int]) -> Self | None:
        """Fork the fork server from this process; return None where that is not possible.

        It closes the descriptors `private`, such as locks and ports, but no standard stream.
        """
        if sys.platform != "linux" or not _prctl(_ADOPT_ORPHANS, 1):
            return None
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        gc.collect()
        gc.freeze()  # collections in workers write to no shared page
        if not os.fork():
            ours.close()
            _serve(theirs, supervisor, private - _STANDARD)
        theirs.close()
        return cls(ours)

    def spawn(self, order: Order, listener: int) -> int:
        """Start a worker with a listening socket; return its pid. Raises OSError."""
        message = msgspec.json.encode(order)
        socket.send_fds(self._connection, [_LENGTH.pack(len(message))], [listener])
        self._connection.sendall(message)
        (pid,) = _PID.unpack(_receive(self._connection, _PID.size))
        return int(pid)


def _serve(connection: socket.socket, supervisor: int, private: Set[int]) -> NoReturn:
    """Fork a worker for each order until the supervisor has ended."""
    os.setsid()  # Ctrl-C is the supervisor's
    _prctl(_SET_NAME, b"fork-server")
    for descriptor in private:
        os.close(descriptor)
    while True:
        try:
            head, passed, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
            if not head:
                os._exit(0)
            head += _receive(connection, _LENGTH.size - len(head))
            message = _receive(connection, _LENGTH.unpack(head)[0])
            order = msgspec.json.decode(message, type=Order)
            pid = _fork_twice(order, passed[0], supervisor, connection)
            connection.sendall(_PID.pack(pid))
            os.close(passed[0])
        except OSError:  # the supervisor has ended
            os._exit(0)


def _fork_twice(order: Order, listener: int, supervisor: int, connection: socket.socket) -> int:
    """Return the pid of a worker whose parent, a fork of this process, has ended."""
    reader, writer = os.pipe()
    between = os.fork()
    if not between:
        worker = os.fork()
        if not worker:
            connection.close()
            os.close(reader)
            os.close(writer)
            _become(order, listener, supervisor)
        os.write(writer, _PID.pack(worker))
        os._exit(0)
    os.close(writer)
    (pid,) = _PID.unpack(os.read(reader, _PID.size))
    os.close(reader)
    os.waitpid(between, 0)
    return int(pid)


def _become(order: Order, listener: int, supervisor: int) -> NoReturn:
    """Turn this process into the worker; it ends without leaving this function."""
    status = 1
    try:
        _await_adoption(supervisor)
        os.setsid()
        _prctl(_SET_NAME, b"worker")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(os.devnull) as nothing:  # noqa: PTH123  # a descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        os.environ.clear()
        os.environ.update(order.environment)
        os.chdir(order.folder)
        arguments = list(order.arguments)
        arguments[order.listener] = str(listener)
        sys.argv = [order.module, *arguments]
        runpy.run_module(order.module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
    finally:
        # Libraries joined threads at exit that this process, as a fork, never had.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _await_adoption(supervisor: int) -> None:
    deadline = time.monotonic() + _ADOPTION_S
    while os.getppid() != supervisor:
        if time.monotonic() > deadline:
            raise SystemExit("driftline: the supervisor has ended, or could not adopt this worker")
        time.sleep(0.001)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the fork server has ended")
        data += piece
    return data


def _prctl(option: int, value: int | bytes) -> bool:
    libc = ctypes.CDLL(None)
    return int(libc.prctl(option, value, 0, 0, 0)) == 0
