"""End a child process when its parent process dies, for whatever reason.

The parent passes its pid in an environment variable. On Linux the kernel signals the child as soon
as the parent dies; elsewhere a thread of the child checks every second. A child that outlives its
grace period is killed. The kernel watches the thread that started the child, not the process: start
children from a thread that lives as long as they do.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "DRIFTLINE_PARENT_PID"  # set by Driftline's processes for their children only
_POLL_S = 1.0
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


def child_environment() -> dict[str, str]:
    """Return environment variables that make a child end with this process."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent(
    number: signal.Signals = signal.SIGTERM, grace: float = 30.0, *, platform: str = sys.platform
) -> None:
    """Send this process signal `number` when its parent dies, and SIGKILL `grace` seconds later.

    Does nothing if the parent has not set the variable. Call it first in the process. Raises
    SystemExit if the parent is already dead.
    """
    # Children must not inherit it: they have another parent.
    parent_text = os.environ.pop(PARENT, "")
    if not parent_text:
        return
    parent = int(parent_text)
    signalled = platform == "linux" and _ask_kernel(number)
    if os.getppid() != parent:
        raise SystemExit(f"driftline: the process {parent} that started this one has ended")
    threading.Thread(
        target=_follow,
        args=(parent, None if signalled else number, grace),
        name="parent-death",
        daemon=True,
    ).start()


def _ask_kernel(number: signal.Signals) -> bool:
    """Return whether the kernel will send the signal; some sandboxes forbid the call."""
    libc = ctypes.CDLL(None)
    return int(libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number), 0, 0, 0)) == 0


def _follow(parent: int, number: signal.Signals | None, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    if number is not None:
        os.kill(os.getpid(), number)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
