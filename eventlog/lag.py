"""Track a reader's lag."""

from collections.abc import Callable, Mapping, Sequence

from eventlog.errors import UnreadableEvent
from eventlog.log import Gap, Reader, Record


class ReaderLag:
    """The lag of one reader. Only the reader's thread changes it; any thread can read it."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` returns seconds since the Unix epoch."""
        self._now = now
        self.polled = now()  # time of the last poll
        self._oldest: float | None = None  # reception time of the oldest record in progress
        # Stream -> offset of a batch that cannot be read; the reader updates this dictionary.
        self.damaged: Mapping[str, int] = {}

    @property
    def lag(self) -> float:
        """Return the age of the oldest event in progress in seconds, or 0 if there is none."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def note(self, records: Sequence[Record]) -> None:
        """Record the result of a poll: earlier records are finished, `records` are in progress."""
        self.polled = self._now()
        if not records:
            self._oldest = None
            return
        received = (r.event.received for r in records if not isinstance(r.event, UnreadableEvent))
        first = next(received, None)
        if first is not None:
            self._oldest = first / 1e6


class TrackedReader:
    """Wrap a `Reader` and update its `ReaderLag` on each poll."""

    def __init__(self, reader: Reader, progress: ReaderLag) -> None:
        self._reader = reader
        self._progress = progress

    @property
    def drained(self) -> bool:
        """Delegate to the reader."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """Delegate to the reader."""
        return self._reader.patience

    def poll(self, limit: int) -> Sequence[Record]:
        """Poll the reader and update its lag."""
        records = self._reader.poll(limit)
        self._progress.note(records)
        return records

    def gaps(self) -> Sequence[Gap]:
        """Delegate to the reader."""
        return self._reader.gaps()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
