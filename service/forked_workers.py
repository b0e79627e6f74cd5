"""Let BentoML's supervisor start its workers by the fork server."""

import logging
from typing import Any

import circus.watcher
import psutil
from circus.process import Process

from service.fork_server import ForkServer, Order

_LISTENER = "--fd"  # the option of BentoML's worker that names the listening socket

_logger = logging.getLogger(__name__)


class ForkedWorker(psutil.Process):  # type: ignore[misc]  # psutil ships no types
    """A worker that this process adopted, with what circus uses of a `Popen`."""

    stdout = None
    stderr = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while the worker runs."""
        if self.returncode is None:
            try:
                # None: another call has already collected the status.
                self.returncode = self.wait(0) or 0
            except psutil.TimeoutExpired:
                return None
        return self.returncode


def install(server: ForkServer) -> None:
    """Fork the workers that circus starts from now on; if that fails, they are started as usual."""

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
    at = arguments.index(_LISTENER) + 1
    order = Order(module, arguments, process.env, process.working_dir, at)
    try:
        return ForkedWorker(server.spawn(order, int(arguments[at])))
    except (OSError, psutil.NoSuchProcess) as error:
        _logger.warning(
            "the fork server does not answer (%s); the worker imports all itself", error
        )
        return None
