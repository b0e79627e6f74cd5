"""Group commit: share one fsync between many appends, off the event loop.

Appends that arrive while an fsync runs share the next fsync. No timer is needed: on a slow disk the
groups become larger, and a fast disk adds only the latency of its fsync.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from eventlog.errors import LogUnavailable

OnSynced = Callable[[LogUnavailable | None], None]


class GroupCommit:
    """Call back when appends are durable. Use from one event loop; only `sync` runs in a thread."""

    def __init__(self, sync: Callable[[], None]) -> None:
        """`sync` flushes all bytes written before the call, or raises OSError."""
        self._sync = sync
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsync")
        self._waiting: list[OnSynced] = []
        self._scheduled = False

    def notify(self, on_synced: OnSynced) -> None:
        """Call `on_synced(None)` once all written bytes are on disk, or `on_synced(error)`."""
        self._waiting.append(on_synced)
        if not self._scheduled:
            self._scheduled = True
            # Start in the loop's next iteration, so that all replies of this batch share the fsync.
            asyncio.get_running_loop().call_soon(self._start)

    def close(self) -> None:
        """Wait for the running fsync."""
        self._thread.shutdown()

    def _start(self) -> None:
        served, self._waiting = self._waiting, []
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
        done.add_done_callback(partial(self._finish, served))

    def _finish(self, served: list[OnSynced], done: "asyncio.Future[None]") -> None:
        failure = done.exception()
        error = LogUnavailable(f"event log: fsync failed: {failure}") if failure else None
        for on_synced in served:
            on_synced(error)
        if self._waiting:
            self._start()
        else:
            self._scheduled = False
