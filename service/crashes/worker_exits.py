"""The exits of worker processes: the supervisor writes them, the source's next worker reads.

<home>/exits/<process id>    the exit status, as subprocess states it: -9 for SIGKILL
"""

import signal
from contextlib import suppress
from pathlib import Path

from eventlog.durable_files import make_folder

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


def clear_exits(folder: Path) -> None:
    """Remove what an earlier supervisor left; process ids are used again."""
    with suppress(OSError):
        make_folder(folder)
        for path in folder.iterdir():
            path.unlink()


def write_exit(folder: Path, pid: int, status: int) -> None:
    """Store how a worker ended."""
    with suppress(OSError):  # then its reason stays unknown
        (folder / str(pid)).write_text(str(status))


def take_exit(folder: Path, pid: int) -> str:
    """Return why a worker ended, and forget it.

    Empty if it is unknown, and for signals from outside, which no model causes.
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
