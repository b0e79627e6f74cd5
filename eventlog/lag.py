"""How far behind somebody who follows a log is: noted as he polls, read by whoever asks."""

from collections.abc import Callable, Sequence

from eventlog.errors import UnreadableEvent
from eventlog.log import Gap, Reader, Record


class ReaderLag:
    """One follower's; written by his thread alone, so that any other may read it."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` gives seconds since the epoch."""
        self._now = now
        self.polled = now()  # when he looked last
        self._oldest: float | None = None  # reception of what he has in hand; None: nothing

    @property
    def lag(self) -> float:
        """Seconds since the reception of the oldest event that he has not done with; 0: none."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def note(self, records: Sequence[Record]) -> None:
        """He polled and was given these, so he is done with those before."""
        self.polled = self._now()
        if not records:
            self._oldest = None
            return
        received = (r.event.received for r in records if not isinstance(r.event, UnreadableEvent))
        first = next(received, None)
        if first is not None:
            self._oldest = first / 1e6


class TrackedReader:
    """An `eventlog.log.Reader` whose polls are noted."""

    def __init__(self, reader: Reader, progress: ReaderLag) -> None:
        self._reader = reader
        self._progress = progress

    @property
    def drained(self) -> bool:
        """As the reader says."""
        return self._reader.drained

    @property
    def patience(self) -> float:
        """As the reader says."""
        return self._reader.patience

    def poll(self, limit: int) -> Sequence[Record]:
        """As the reader does."""
        records = self._reader.poll(limit)
        self._progress.note(records)
        return records

    def gaps(self) -> Sequence[Gap]:
        """As the reader says."""
        return self._reader.gaps()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
