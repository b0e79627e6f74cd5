"""Whether workers start: a service none of whose workers can start ends with the reason.

A worker states that it has started, or why it cannot; the supervisor reads it when it has ended.

<home>/exits/<process id>.started   empty, as long as the worker runs
<home>/exits/<process id>.failed    why it could not start
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

from eventlog.errors import DriftlineError

MOST_FAILURES = 5  # starts in a row that fail before the service ends
_LONGEST_REASON = 2_000  # characters


def report_start(folder: Path) -> None:
    """State that this worker has started."""
    with suppress(OSError):  # on a full disk; then its end counts as a failed start
        (folder / f"{os.getpid()}.started").touch()


def report_failed_start(folder: Path, error: BaseException) -> None:
    """State why this worker could not start."""
    kind = "" if isinstance(error, DriftlineError) else f"{type(error).__name__}: "
    with suppress(OSError):
        (folder / f"{os.getpid()}.failed").write_text(f"{kind}{error}"[:_LONGEST_REASON])


class WorkerStarts:
    """Decide when a supervisor restarts workers, by their ends."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds what workers state."""
        self._folder = folder
        self._failures = 0  # consecutive failures

    def ended(self, pid: int, status: int) -> str:
        """Take note of a worker's end; return why the service must end, "" if it continues.

        `status` is as subprocess states it: -9 for SIGKILL. As long as another worker runs, the
        service continues: it answers, and the next start may succeed.
        """
        started, failed = (self._folder / f"{pid}.{what}" for what in ("started", "failed"))
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
        return f"exit status {status}; see the lines above"
    return f"{signal.strsignal(-status) or f'signal {-status}'}; see the lines above"
