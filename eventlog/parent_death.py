"""Stop a child process when its parent process ends, even if the parent is killed.

The parent passes its pid in an environment variable. On Linux, the kernel signals the child as soon
as the parent ends. On other systems, a thread of the child checks every second. A child that does
not stop within its grace period is killed. The kernel signals the child when the thread that
started it ends, so children must be started from a thread that runs longer than they do.
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
    """Return environment variables that make a child stop when this process ends."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent(
    number: signal.Signals = signal.SIGTERM, grace: float = 30.0, *, platform: str = sys.platform
) -> None:
    """Send signal `number` to this process when its parent ends, and SIGKILL after `grace` seconds.

    Do nothing if the parent has not set the variable. The process must call this function first.
    Raises SystemExit if the parent has already ended.
    """
    # This process's children must not inherit the variable, because they have another parent.
    parent_text = os.environ.pop(PARENT, "")
    if not parent_text:
        return
    parent = int(parent_text)
    signalled = platform == "linux" and _request_signal(number)
    if os.getppid() != parent:
        raise SystemExit(f"driftline: the process {parent} that started this one has ended")
    threading.Thread(
        target=_wait_for_parent,
        args=(parent, None if signalled else number, grace),
        name="parent-death",
        daemon=True,
    ).start()


def _request_signal(number: signal.Signals) -> bool:
    """Return whether the kernel will send the signal; some sandboxes forbid the call."""
    libc = ctypes.CDLL(None)
    return int(libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number), 0, 0, 0)) == 0


def _wait_for_parent(parent: int, number: signal.Signals | None, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    if number is not None:
        os.kill(os.getpid(), number)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
