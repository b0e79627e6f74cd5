"""fsync for many at once, off the event loop.

While one fsync runs, everybody who comes waits for the next, so a slow disk gathers larger groups
and a fast one adds nothing but its own time: there is no timer.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from eventlog.errors import LogUnavailable

Told = Callable[[LogUnavailable | None], None]


class GroupCommit:
    """Belongs to one event loop; `sync` alone runs in a thread."""

    def __init__(self, sync: Callable[[], None]) -> None:
        """`sync` brings everything written before it was called onto the disk or raises OSError."""
        self._sync = sync
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsync")
        self._waiting: list[Told] = []
        self._scheduled = False

    def tell(self, told: Told) -> None:
        """Call `told` once everything written so far is on disk, with an error if that fails."""
        self._waiting.append(told)
        if not self._scheduled:
            self._scheduled = True
            # Not at once: the other replies of this batch share the fsync.
            asyncio.get_running_loop().call_soon(self._start)

    def close(self) -> None:
        """Wait for the fsync that is running."""
        self._thread.shutdown()

    def _start(self) -> None:
        served, self._waiting = self._waiting, []
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
        done.add_done_callback(partial(self._finish, served))

    def _finish(self, served: list[Told], done: "asyncio.Future[None]") -> None:
        failure = done.exception()
        error = LogUnavailable(f"event log: fsync failed: {failure}") if failure else None
        for told in served:
            told(error)
        if self._waiting:
            self._start()
        else:
            self._scheduled = False
