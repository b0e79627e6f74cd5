"""The exits of worker processes; the supervisor writes them, the source's next worker reads them.

<home>/exits/<process id>    the exit status in subprocess's format: -9 for SIGKILL
"""

import signal
from contextlib import suppress
from pathlib import Path

from eventlog.durable_files import make_folder

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


def clear_exits(folder: Path) -> None:
    """Remove the files of an earlier supervisor, because process ids are reused."""
    with suppress(OSError):
        make_folder(folder)
        for path in folder.iterdir():
            path.unlink()


def write_exit(folder: Path, pid: int, status: int) -> None:
    """Store a worker's exit status."""
    with suppress(OSError):  # without the file, the reason of the exit is unknown
        (folder / str(pid)).write_text(str(status))


def take_exit(folder: Path, pid: int) -> str:
    """Return why a worker ended, and delete the file.

    Returns "" if the reason is unknown or a signal that no model causes, such as SIGKILL.
    """
    path = folder / str(pid)
    try:
        status = int(path.read_text())
        path.unlink()
    except (OSError, ValueError):
        return ""
    if status >= 0:
        return f"exit status {status}"
    if -status in _FROM_OUTSIDE:
        return ""
    return signal.strsignal(-status) or f"signal {-status}"
