"""Start `driftline` commands as forks of a process that has already imported their libraries.

BentoML and SQLAlchemy take seconds of CPU time to import, and tests start hundreds of commands. So
do Evidently and what it needs, in the scoring process that each monitor starts: two processes fork,
one for the monitor's commands and scoring, one for all others. A fork is a process of its own as
any other: with its own environment, folder, streams and exit status, and it ends as an interpreter
ends. What differs: it shares the hash seed of the other forks of its test process, it has their
parent, and `ps` shows the command line of the process that forked it. A command that needs an
interpreter of its own (options of Python, a tracer, a clock) gets one, and so does every command of
`make nightly`.
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
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from eventlog.parent_death import PARENT
from tests.depth import NIGHTLY

_COMMAND, _SCORING = "driftline", "monitoring.scoring"  # the modules that a fork may run
_MONITORING = frozenset({"monitor", "replay", "backtest"})  # commands that start scoring processes
# They are imported without the settings of a command. Nothing of the service's own application is
# here: it opens metric files when it is imported.
_OF_COMMANDS = (
    "_bentoml_impl.server", "bentoml._internal.utils.circus", "bentoml._internal.log",
    "sqlalchemy.orm", "sqlalchemy.dialects.sqlite", "alembic.command", "alembic.config",
    "pyarrow.parquet", "onnx", "onnxruntime", "grpc.aio", "uvicorn", "rich.table", "httpx", "kafka",
    "registry.store", "registry.settings", "service.supervisor", "driftline.cli",
)  # fmt: skip
_OF_MONITORING = (
    "driftline.monitor_process", "driftline.log_replay", "driftline.cli", "kafka", "psycopg",
    "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "alembic.command",
    "alembic.config", "pyarrow.parquet", "onnxruntime", "monitoring.scoring.loop",
    "evidently.metrics", "plotly.io", "plotly.graph_objs",
)  # fmt: skip
_OF_AN_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "BENTOML_CONFIG")
_NUMBER = 4  # bytes of a number in a message
_LONGEST = 1 << 20  # bytes of a request


class _Program(NamedTuple):
    """What a fork runs."""

    module: str
    arguments: list[str]
    safe_path: bool  # option -P of the interpreter: the folder is not on the path


class Command(subprocess.Popen[Any]):
    """A `Popen` that forks a command or scoring process if a fork is as good as an interpreter."""

    _end: socket.socket | None = None  # tells the end of a fork

    def _execute_child(self, args: Any, *options: Any) -> None:
        """Start the program; `Popen` calls this when the pipes are open."""
        (executable, preexec, _close, pass_fds, cwd, env, _info, _flags, shell,
         p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite) = options[:15]  # fmt: skip
        environment = dict(os.environ if env is None else env)
        program = _program(args, environment)
        if executable or preexec or pass_fds or shell or program is None:
            super()._execute_child(args, *options)  # type: ignore[misc]
            return
        request = {
            "program": program,
            "environment": environment,
            "folder": os.fspath(Path.cwd() if cwd is None else cwd),
            "new_session": bool(options[-2]),
        }
        streams = [own if own >= 0 else n for n, own in enumerate((p2cread, c2pwrite, errwrite))]
        self._end = _server_of(program).start(request, streams)
        self.pid = int.from_bytes(_receive(self._end, _NUMBER), "big")
        self._child_created = True
        pipes = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Return pid and status of the ended program, or zeros; as `Popen` expects it."""
        if self._end is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        if self._end.fileno() < 0:  # collected before its end was asked for
            return self.pid, signal.SIGKILL
        if wait_flags & os.WNOHANG and not select.select([self._end], [], [], 0)[0]:
            return 0, 0
        try:
            status = int.from_bytes(_receive(self._end, _NUMBER), "big")
        except EOFError:  # the process that forks was killed, and with it what it forked
            status = signal.SIGKILL
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


class _Server:
    """Where a process asks for forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def start(self, request: dict[str, Any], streams: list[int]) -> socket.socket:
        """Fork a program; return the socket that tells its pid and, when it ends, its status."""
        ours, theirs = socket.socketpair()
        with theirs:
            message = json.dumps(request).encode()
            socket.send_fds(self._control, [message], [theirs.fileno(), *streams])
        return ours


class _ForkServer(_Server):
    """The process that forks, as its test process sees it."""

    def __init__(self, *libraries: str) -> None:
        control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        super().__init__(control)
        shell = {name: value for name, value in os.environ.items() if not _of_a_command(name)}
        command = [sys.executable, "-m", __spec__.name, str(theirs.fileno()), *libraries]
        root = Path(__file__).parents[1]
        with theirs:
            self.process = subprocess.Popen(
                command, env=shell, cwd=root, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        atexit.register(self.process.wait)
        atexit.register(control.close)  # runs first, and the process ends

    def start(self, request: dict[str, Any], streams: list[int]) -> socket.socket:
        environment = request["environment"]
        if environment.get(PARENT) == str(os.getpid()):
            environment[PARENT] = str(self.process.pid)  # which ends with this process
        return super().start(request, streams)


class _OwnServer(_Server):
    """The process that forked this one, asked for another fork that ends with this one."""

    def start(self, request: dict[str, Any], streams: list[int]) -> socket.socket:
        environment = request["environment"]
        if environment.pop(PARENT, "") == str(os.getpid()):
            request["ends_with"] = os.getpid()
        return super().start(request, streams)


_own_server: _OwnServer | None = None  # in a fork that runs a command of the monitor


_fork_servers: dict[tuple[str, ...], _ForkServer] = {}


def _fork_server(*libraries: str) -> _ForkServer:
    """Return the process that forks with these libraries; a new one if a test has killed it."""
    server = _fork_servers.get(libraries)
    if server is None or server.process.poll() is not None:
        server = _fork_servers[libraries] = _ForkServer(*libraries)
    return server


def _server_of(program: _Program) -> _Server:
    if _own_server is not None:
        return _own_server
    monitoring = _MONITORING.intersection(program.arguments[:1])
    return _fork_server(*(_OF_MONITORING if monitoring else _OF_COMMANDS))


def _of_a_command(name: str) -> bool:
    return name.startswith(("DRIFTLINE_", "BENTOML_HOME", "PROMETHEUS_"))


def _program(args: Any, environment: dict[str, str]) -> _Program | None:
    """Return what a fork shall run in place of an interpreter, or None if it needs one."""

    def of_interpreter(variables: Mapping[str, str]) -> dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(_OF_AN_INTERPRETER)}

    if NIGHTLY or sys.platform != "linux" or not isinstance(args, (list, tuple)):
        return None
    if of_interpreter(environment) != of_interpreter(os.environ):
        return None
    words = [os.fspath(word) for word in args]
    safe_path = words[1:2] == ["-P"]
    if safe_path:
        del words[1]
    allowed = _COMMAND if _own_server is None else _SCORING
    if words[:3] != [sys.executable, "-m", allowed]:
        return None
    return _Program(allowed, words[3:], safe_path)


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
    of_forks, for_forks = socket.socketpair(type=socket.SOCK_SEQPACKET)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(of_forks, selectors.EVENT_READ)
    running: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> pid, and who waits for it
    while True:
        for key, _ in selector.select():
            if key.fd in running:
                selector.unregister(key.fd)
                _report(key.fd, *running.pop(key.fd))
                continue
            assert isinstance(key.fileobj, socket.socket)
            message, descriptors, _, _ = socket.recv_fds(key.fileobj, _LONGEST, 4)
            if not message:
                os._exit(0)
            pid = os.fork()
            if not pid:
                request: dict[str, Any] = json.loads(message)
                _adopt(descriptors, new_session=request["new_session"])
                selector.close()
                for ours in (control, of_forks):
                    ours.close()
                for pidfd, (_, connection) in running.items():
                    os.close(pidfd)
                    connection.close()
                return request | {"forks": for_forks}
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            connection = socket.socket(fileno=descriptors[0])
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, connection
            selector.register(pidfd, selectors.EVENT_READ)


def _report(pidfd: int, pid: int, connection: socket.socket) -> None:
    """Send the status of an ended command."""
    _, status = os.waitpid(pid, 0)
    os.close(pidfd)
    with connection, suppress(OSError):  # nobody waits for it any more
        connection.sendall(status.to_bytes(_NUMBER, "big"))


def _adopt(descriptors: list[int], *, new_session: bool) -> None:
    """Lead a session if asked to, send the pid, and use the other descriptors as the streams."""
    if new_session:
        os.setsid()
    with socket.socket(fileno=descriptors[0]) as caller, suppress(OSError):  # it may be killed
        caller.sendall(os.getpid().to_bytes(_NUMBER, "big"))
    for number, descriptor in enumerate(descriptors[1:]):
        os.dup2(descriptor, number)
    for descriptor in descriptors[1:]:
        os.close(descriptor)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))


def _run(request: dict[str, Any], imported: dict[str, str]) -> NoReturn:
    """Become the command."""
    program = _Program(*request["program"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"] | imported)
    if "ends_with" in request:
        _end_with(request["ends_with"])
    if program.module == _COMMAND and _MONITORING.intersection(program.arguments[:1]):
        global _own_server  # noqa: PLW0603 - of this process, from here on
        _own_server = _OwnServer(request["forks"])
        subprocess.Popen = Command  # type: ignore[misc]
    else:
        request["forks"].close()
    sys.argv[1:] = program.arguments
    if not program.safe_path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    runpy.run_module(program.module, run_name="__main__", alter_sys=True)
    sys.exit()


def _end_with(process: int) -> None:
    """Kill this process as soon as the one that asked for it has ended."""

    def follow() -> None:
        with suppress(ProcessLookupError):
            select.select([os.pidfd_open(process)], [], [])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def _main(descriptor: int, libraries: Sequence[str]) -> None:
    before = dict(os.environ)
    for library in libraries:
        importlib.import_module(library)
    if "driftline.monitor_process" not in libraries:
        assert "prometheus_client" not in sys.modules  # it reads a variable of `serve` at import
    imported = {k: v for k, v in os.environ.items() if before.get(k) != v}
    sys.path[:] = [path for path in sys.path if path]
    gc.collect()
    gc.freeze()  # so that a fork's collections write to no shared page
    _run(_serve(socket.socket(fileno=descriptor)), imported)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
