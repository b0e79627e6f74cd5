"""Successful and failed starts of workers; if no worker can start, the service ends.

Each worker writes one of these files; the supervisor reads it once the worker has ended.
<home>/exits/<process id>.started   an empty file
<home>/exits/<process id>.failed    the reason why the worker could not start
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from eventlog.errors import DriftlineError

MOST_FAILURES = 5  # consecutive failed starts after which the service ends
_LONGEST_REASON = 2_000  # maximum length of a stored reason


def report_start(folder: Path) -> None:
    """Record that this worker has started."""
    with suppress(OSError):  # on a full disk; without the file, the exit counts as a failed start
        (folder / f"{os.getpid()}.started").touch()


def report_failed_start(folder: Path, error: BaseException) -> None:
    """Record why this worker could not start."""
    kind = "" if isinstance(error, DriftlineError) else f"{type(error).__name__}: "
    with suppress(OSError):
        (folder / f"{os.getpid()}.failed").write_text(f"{kind}{error}"[:_LONGEST_REASON])


class WorkerStarts:
    """The supervisor's decision whether to restart workers, by their exits."""

    def __init__(self, folder: Path) -> None:
        """`folder` contains the workers' files."""
        self._folder = folder
        self._failures = 0  # consecutive failures

    def record_exit(self, pid: int, status: int) -> str:
        """Record a worker's exit; return why the service must end, "" if it continues.

        `status` has subprocess's format: -9 for SIGKILL. While another worker runs, the service
        continues, because it can answer and the next start may succeed.
        """
        started, failed = self._folder / f"{pid}.started", self._folder / f"{pid}.failed"
        if started.exists():
            _remove(started)
            self._failures = 0
            return ""
        reason = _read(failed) or _describe(status)
        _remove(failed)
        self._failures += 1
        if self._failures < MOST_FAILURES or any(self._folder.glob("*.started")):
            return ""
        return reason


def _read(path: Path) -> str:
    try:
        return " ".join(path.read_text().split())
    except (OSError, ValueError):
        return ""


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}; see the log lines above"
    return f"{signal.strsignal(-status) or f'signal {-status}'}; see the log lines above"
