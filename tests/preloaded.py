"""Start `driftline` commands as forks of a process that has imported their libraries already.

BentoML and SQLAlchemy take seconds of CPU time to import, and tests start hundreds of commands. A
fork is a process of its own as any other: with its own environment, folder, streams and exit
status, and it ends as an interpreter ends. What differs: it shares the hash seed of the other
forks of its test process, and `ps` shows the command line of the process that forked it. A command
that needs an interpreter of its own (options of Python, a tracer, a clock) gets one, and so does
every command of `make nightly`.
"""

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import select
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from eventlog.parent_death import PARENT
from tests.depth import NIGHTLY

_MODULE = "driftline"
# They are imported without the settings of a command. Nothing of the service's own application is
# here: it opens metric files when it is imported.
_LIBRARIES = (
    "_bentoml_impl.server", "bentoml._internal.utils.circus", "bentoml._internal.log",
    "sqlalchemy.orm", "sqlalchemy.dialects.sqlite", "alembic.command", "alembic.config",
    "pyarrow.parquet", "onnx", "onnxruntime", "grpc.aio", "uvicorn", "rich.table", "httpx",
    "registry.store", "registry.settings", "service.supervisor", "driftline.cli",
)  # fmt: skip
_OF_AN_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "BENTOML_CONFIG")
_NUMBER = 4  # bytes of a number in a message


class Command(subprocess.Popen[Any]):
    """A `Popen` that forks `driftline` commands if a fork is as good as an interpreter."""

    _end: socket.socket | None = None  # tells the end of a fork

    def _execute_child(self, args: Any, *options: Any) -> None:
        """Start the program; `Popen` calls this when the pipes are open."""
        (executable, preexec, _close, pass_fds, cwd, env, _info, _flags, shell,
         p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite) = options[:15]  # fmt: skip
        environment = dict(os.environ if env is None else env)
        if executable or preexec or pass_fds or shell or not _may_fork(args, environment):
            super()._execute_child(args, *options)  # type: ignore[misc]
            return
        request = {
            "arguments": [os.fspath(word) for word in args[3:]],
            "environment": environment,
            "folder": os.fspath(Path.cwd() if cwd is None else cwd),
            "new_session": bool(options[-2]),
        }
        streams = [own if own >= 0 else n for n, own in enumerate((p2cread, c2pwrite, errwrite))]
        self._end = _fork_server().start(request, streams)
        self.pid = int.from_bytes(_receive(self._end, _NUMBER), "big")
        self._child_created = True
        pipes = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Return pid and status of the ended program, or zeros; as `Popen` expects it."""
        if self._end is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        if wait_flags & os.WNOHANG and not select.select([self._end], [], [], 0)[0]:
            return 0, 0
        status = int.from_bytes(_receive(self._end, _NUMBER), "big")
        self._end.close()
        return self.pid, status

    def _internal_poll(self, *arguments: Any, **named: Any) -> int | None:
        """Return the exit status if the program has ended; `poll` calls this."""
        if self._end is None:
            return super()._internal_poll(*arguments, **named)  # type: ignore[misc, no-any-return]
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    command: Sequence[str], *, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` with captured text does."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Command(command, **(piped | options)) as process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, out, errors)


class _ForkServer:
    """The process that forks, as its test process sees it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        shell = {name: value for name, value in os.environ.items() if not _of_a_command(name)}
        command = [sys.executable, "-m", __spec__.name, str(theirs.fileno())]
        root = Path(__file__).parents[1]
        with theirs:
            self.process = subprocess.Popen(
                command, env=shell, cwd=root, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        atexit.register(self.process.wait)
        atexit.register(self._control.close)  # runs first, and the process ends

    def start(self, request: dict[str, Any], streams: list[int]) -> socket.socket:
        """Fork a command; return the socket that tells its pid and, when it ends, its status."""
        environment = request["environment"]
        if environment.get(PARENT) == str(os.getpid()):
            environment[PARENT] = str(self.process.pid)  # which ends with this process
        ours, theirs = socket.socketpair()
        message = json.dumps(request).encode()
        with theirs, self._lock:
            head = len(message).to_bytes(_NUMBER, "big")
            socket.send_fds(self._control, [head], [theirs.fileno(), *streams])
            self._control.sendall(message)
        return ours


@cache
def _fork_server() -> _ForkServer:
    return _ForkServer()


def _of_a_command(name: str) -> bool:
    return name.startswith(("DRIFTLINE_", "BENTOML_HOME", "PROMETHEUS_"))


def _may_fork(args: Any, environment: dict[str, str]) -> bool:
    def of_interpreter(variables: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(_OF_AN_INTERPRETER)}

    return (
        not NIGHTLY
        and sys.platform == "linux"
        and isinstance(args, (list, tuple))
        and list(args[:3]) == [sys.executable, "-m", _MODULE]
        and of_interpreter(environment) == of_interpreter(os.environ)
    )


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the process that forks has ended")
        data += part
    return bytes(data)


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork for each request. Return only in a fork, with what it shall run."""
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> pid, and who waits for it
    while True:
        for key, _ in selector.select():
            if key.fd in running:
                selector.unregister(key.fd)
                _report(key.fd, *running.pop(key.fd))
                continue
            head, descriptors, _, _ = socket.recv_fds(control, _NUMBER, 4)
            if not head:
                os._exit(0)
            head += _receive(control, _NUMBER - len(head))
            message = _receive(control, int.from_bytes(head, "big"))
            pid = os.fork()
            if not pid:
                _adopt(descriptors)
                selector.close()
                control.close()
                for pidfd, (_, connection) in running.items():
                    os.close(pidfd)
                    connection.close()
                return json.loads(message)  # type: ignore[no-any-return]
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            connection = socket.socket(fileno=descriptors[0])
            connection.sendall(pid.to_bytes(_NUMBER, "big"))
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, connection
            selector.register(pidfd, selectors.EVENT_READ)


def _report(pidfd: int, pid: int, connection: socket.socket) -> None:
    """Send the status of an ended command."""
    _, status = os.waitpid(pid, 0)
    os.close(pidfd)
    with connection, suppress(OSError):  # nobody waits for it any more
        connection.sendall(status.to_bytes(_NUMBER, "big"))


def _adopt(descriptors: list[int]) -> None:
    """Use the received descriptors as the standard streams."""
    os.close(descriptors[0])
    for number, descriptor in enumerate(descriptors[1:]):
        os.dup2(descriptor, number)
    for descriptor in descriptors[1:]:
        os.close(descriptor)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))


def _run(request: dict[str, Any], imported: dict[str, str]) -> NoReturn:
    """Become the command."""
    if request["new_session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"] | imported)
    sys.argv[1:] = request["arguments"]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
    sys.exit()


def _main(descriptor: int) -> None:
    before = dict(os.environ)
    for library in _LIBRARIES:
        importlib.import_module(library)
    assert "prometheus_client" not in sys.modules  # it reads a command's variable at import
    imported = {k: v for k, v in os.environ.items() if before.get(k) != v}
    sys.path[:] = [path for path in sys.path if path]
    gc.collect()
    gc.freeze()  # so that a fork's collections write to no shared page
    _run(_serve(socket.socket(fileno=descriptor)), imported)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
