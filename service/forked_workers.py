"""Make BentoML's supervisor start its workers by the fork server."""

import logging
from typing import Any

import circus.watcher
import psutil
from circus.process import Process

from service.fork_server import ForkServer, WorkerCommand

_LISTENER = "--fd"  # option of BentoML's worker for the listening socket's descriptor

_logger = logging.getLogger(__name__)


class ForkedWorker(psutil.Process):  # type: ignore[misc]  # psutil ships no types
    """A forked worker with the part of `Popen`'s interface that circus uses."""

    stdout = None
    stderr = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while the worker runs."""
        if self.returncode is None:
            try:
                # `wait` returns None if another call has already collected the status.
                self.returncode = self.wait(0) or 0
            except psutil.TimeoutExpired:
                return None
        return self.returncode


def install(server: ForkServer) -> None:
    """Make circus fork its workers by this server; if this fails, circus starts them itself."""

    class ForkingProcess(Process):  # type: ignore[misc]  # circus ships no types
        def spawn(self) -> None:
            worker = _fork(server, self)
            if worker is None:
                super().spawn()
            else:
                self._worker = worker

    circus.watcher.Process = ForkingProcess


def _fork(server: ForkServer, process: Any) -> ForkedWorker | None:
    _, _, module, *arguments = process.format_args(process._get_sockets_fds())  # noqa: SLF001
    index = arguments.index(_LISTENER) + 1
    command = WorkerCommand(module, arguments, process.env, process.working_dir, index)
    try:
        return ForkedWorker(server.spawn(command, int(arguments[index])))
    except (OSError, psutil.NoSuchProcess) as error:
        _logger.warning(
            "the fork server does not respond (%s); this worker is started without it", error
        )
        return None
