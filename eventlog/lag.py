"""Track a reader's lag."""

from collections.abc import Callable, Mapping, Sequence

from eventlog.errors import UnreadableEvent
from eventlog.log import Gap, Reader, Record


class ReaderLag:
    """Hold the lag of one reader. Only the reader's thread writes; any thread may read."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Use `now`, which returns seconds since the Unix epoch."""
        self._now = now
        self.polled = now()  # time of the last poll
        self._oldest: float | None = None  # reception of the oldest record in progress
        # Offset of the batch that cannot be read, by stream; the reader's own.
        self.damaged: Mapping[str, int] = {}

    @property
    def lag(self) -> float:
        """Return seconds since the reception of the oldest event in progress; 0 if none."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def note(self, records: Sequence[Record]) -> None:
        """Note the result of a poll: earlier records are finished, these are in progress."""
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
        """Poll the reader and note the result."""
        records = self._reader.poll(limit)
        self._progress.note(records)
        return records

    def gaps(self) -> Sequence[Gap]:
        """Delegate to the reader."""
        return self._reader.gaps()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
