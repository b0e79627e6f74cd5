"""Ends a child process when the process that started it has died, however that died.

The parent passes its pid in a variable. On Linux the kernel sends the child a signal at the moment
the parent dies; elsewhere a thread of the child looks every second. A child that has not ended by
then within its grace is killed. The signal follows the thread that started the child: start
children from a thread that lives as long as they do.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "DRIFTLINE_PARENT_PID"  # set by our processes for their children, by nobody else
_POLL_S = 1.0
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


def child_environment() -> dict[str, str]:
    """Variables that make a child end with this process."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent(
    number: signal.Signals = signal.SIGTERM, grace: float = 30.0, *, platform: str = sys.platform
) -> None:
    """Send this process signal `number` when its parent dies, and SIGKILL `grace` seconds later.

    Does nothing where the variable does not say that the parent asks for it. Call it before
    anything is started; raises SystemExit where the parent has died already.
    """
    stated = os.environ.pop(PARENT, "")  # children of this process have another parent
    if not stated:
        return
    parent = int(stated)
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
    """Whether the kernel will send the signal; some sandboxes forbid the call."""
    libc = ctypes.CDLL(None)
    return int(libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number), 0, 0, 0)) == 0


def _follow(parent: int, number: signal.Signals | None, grace: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    if number is not None:
        os.kill(os.getpid(), number)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
