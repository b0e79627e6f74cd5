"""Start workers by forking a process that has imported the service, so that they start faster.

The supervisor forks the fork server once, before it has threads or an event loop. The fork server
forks twice for each worker, and the intermediate process exits. The supervisor is a child subreaper
(`man 2const PR_SET_CHILD_SUBREAPER`), so the kernel makes it the parent of the orphaned worker.
Signals, exit statuses and the parent-death signal then work as for any other child. This is
possible only on Linux.

The fork server opens no inference session, because ONNX Runtime's threads do not survive a fork.
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
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Self

import msgspec

_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>
_SET_NAME = 15  # PR_SET_NAME
_REPARENTING_S = 10.0  # timeout until the supervisor is a worker's parent
_LENGTH = struct.Struct("!I")
_PID = struct.Struct("!i")
_STANDARD_STREAMS = frozenset({0, 1, 2})


class WorkerCommand(msgspec.Struct, frozen=True):
    """The command of a worker: `python -m module *arguments`."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    listener_index: int  # index of the argument that the worker replaces by its listener's number


def descriptors() -> dict[int, str]:
    """Return the file or socket of each open descriptor; empty on systems without /proc."""
    folder, links = Path("/proc/self/fd"), {}
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        with suppress(OSError):  # the descriptor of `iterdir` itself is already closed
            links[int(path.name)] = str(path.readlink())
    return links


def _unchanged(before: Mapping[int, str]) -> set[int]:
    """Return the descriptors that still refer to the same file, because numbers are reused."""
    now = descriptors()
    return {number for number, target in before.items() if now.get(number) == target}


class ForkServer:
    """The supervisor's end of the connection to its fork server."""

    def __init__(self, connection: socket.socket) -> None:
        """Use `start` to create one."""
        self._connection = connection

    @classmethod
    def start(cls, private: Mapping[int, str]) -> Self | None:
        """Fork the fork server from this process; return None on systems other than Linux.

        The fork server closes the descriptors `private`, such as locks and ports. It does not close
        the standard streams, nor numbers that now refer to another file.
        """
        if sys.platform != "linux" or not _prctl(_SET_CHILD_SUBREAPER, 1):
            return None
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        gc.collect()
        gc.freeze()  # so that garbage collection in workers writes to no shared page
        if not os.fork():
            ours.close()
            _serve(theirs, supervisor, _unchanged(private) - _STANDARD_STREAMS)
        theirs.close()
        return cls(ours)

    def spawn(self, command: WorkerCommand, listener: int) -> int:
        """Start a worker with a listening socket; return its pid. Raises OSError."""
        message = msgspec.json.encode(command)
        socket.send_fds(self._connection, [_LENGTH.pack(len(message))], [listener])
        self._connection.sendall(message)
        (pid,) = _PID.unpack(_receive(self._connection, _PID.size))
        return int(pid)


def _serve(connection: socket.socket, supervisor: int, private: Set[int]) -> NoReturn:
    """Fork a worker for each received command, until the supervisor has ended."""
    os.setsid()  # so that only the supervisor receives the SIGINT of Ctrl-C
    _prctl(_SET_NAME, b"fork-server")
    for descriptor in private:
        os.close(descriptor)
    while True:
        try:
            length, listeners, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
            if not length:
                os._exit(0)
            length += _receive(connection, _LENGTH.size - len(length))
            message = _receive(connection, _LENGTH.unpack(length)[0])
            command = msgspec.json.decode(message, type=WorkerCommand)
            pid = _fork_twice(command, listeners[0], supervisor, connection)
            connection.sendall(_PID.pack(pid))
            os.close(listeners[0])
        except OSError:  # the supervisor has ended
            os._exit(0)


def _fork_twice(
    command: WorkerCommand, listener: int, supervisor: int, connection: socket.socket
) -> int:
    """Fork a worker through an intermediate process that exits; return the worker's pid."""
    reader, writer = os.pipe()
    intermediate = os.fork()
    if not intermediate:
        worker = os.fork()
        if not worker:
            connection.close()
            os.close(reader)
            os.close(writer)
            _run_worker(command, listener, supervisor)
        os.write(writer, _PID.pack(worker))
        os._exit(0)
    os.close(writer)
    (pid,) = _PID.unpack(os.read(reader, _PID.size))
    os.close(reader)
    os.waitpid(intermediate, 0)
    return int(pid)


def _run_worker(command: WorkerCommand, listener: int, supervisor: int) -> NoReturn:
    """Run the command in this process, then exit with its status."""
    status = 1
    try:
        _await_reparenting(supervisor)
        os.setsid()
        _prctl(_SET_NAME, b"worker")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(os.devnull) as empty:  # noqa: PTH123  # only its descriptor is needed
            os.dup2(empty.fileno(), 0)
        os.environ.clear()
        os.environ.update(command.environment)
        os.chdir(command.folder)
        arguments = list(command.arguments)
        arguments[command.listener_index] = str(listener)
        sys.argv = [command.module, *arguments]
        runpy.run_module(command.module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # print the error like the interpreter
        sys.excepthook(*sys.exc_info())
    finally:
        # Skip the exit handlers of libraries, which join threads that do not exist after a fork.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _await_reparenting(supervisor: int) -> None:
    deadline = time.monotonic() + _REPARENTING_S
    while os.getppid() != supervisor:
        if time.monotonic() > deadline:
            raise SystemExit("driftline: the supervisor has ended, or could not adopt this worker")
        time.sleep(0.001)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the other process has closed the connection")
        data += piece
    return data


def _prctl(option: int, value: int | bytes) -> bool:
    libc = ctypes.CDLL(None)
    return int(libc.prctl(option, value, 0, 0, 0)) == 0
