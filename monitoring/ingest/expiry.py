"""Delete expired data from the database, a limited number of rows in each step.

Only the log determines which data has expired (windows/retention.py). The time of its deletion does
not affect any result.
"""

from collections.abc import Iterable

from eventlog.answer_counts import MINUTE
from eventlog.errors import UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.log import Record
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.version_state import VersionState
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.windows import retention
from telemetry.clock import DAY, HOUR

_PIECE = 4_000  # rows to delete in a step, plus twice the number of rows that it ingested
MOST_ROWS = 1_000_000  # maximum rows of one event; an event that states more is invalid


class Expiry:
    """Expires rows, labels, minute counts and dead letters, in the step's transaction."""

    def __init__(self, journal: Journal, state: ConsumerState) -> None:
        """Begin with all versions: the last process may have left expired rows of any version."""
        self._journal = journal
        self._state = state
        self._retention = state.retention
        self._hour = 0  # hour of reception time in which `expire_hourly` last expired data
        self._undeleted: dict[Key, VersionState] = {  # versions with expired rows to delete
            version.key: version for version in state.versions()
        }
        self._early_labels = True  # whether expired early labels may be left to delete

    @property
    def has_backlog(self) -> bool:
        """Whether expired rows may be left to delete."""
        return self._early_labels or bool(self._undeleted)

    def window_expired(self, version: VersionState, until: int, mark: int) -> None:
        """Expire a version's rows after a window up to `until` has expired at watermark `mark`."""
        version.expire_rows(self._retention, until, mark)
        span = int(self._retention.results_days * DAY)  # late counts expire like results
        self._journal.compact_late(version.key, until - span)
        self._undeleted[version.key] = version

    def expire_hourly(self, received: int) -> None:
        """Expire early labels and minute counts, if an hour of reception time has passed."""
        if received < self._hour + HOUR:
            return
        self._hour = retention.hour(received, 0)
        predictions = self._journal.predictions
        until = retention.hour(received, self._retention.early_labels_days)
        if until > predictions.early_until:
            self._count("expired_early_labels", predictions.expire_early_labels(until))
            self._journal.save_horizon("early_labels", until)
            self._early_labels = True
        minute = retention.hour(received, self._retention.minutes_days) // MINUTE
        self._state.drop_minutes(minute)
        self._journal.delete_minutes(self._state.sources(), minute)

    def dead_letter_added(self) -> None:
        """Delete the oldest dead letters beyond the number that the retention allows."""
        deleted = self._journal.delete_dead_letters(self._retention.dead_letters)
        self._count("dead_letters_let_go", deleted)

    def delete_some(self, records: Iterable[Record]) -> None:
        """Delete some expired rows, more than `records` add, so that the backlog shrinks."""
        if not self.has_backlog:  # saves time in most steps
            return
        room = _PIECE + 2 * sum(_rows(record) for record in records)
        for version in list(self._undeleted.values()):
            room -= self._delete_rows(version, room)
            if room <= 0:
                return
            del self._undeleted[version.key]
        if self._early_labels:
            self._early_labels = self._journal.predictions.delete_early_labels(room) == room

    def _delete_rows(self, version: VersionState, limit: int) -> int:
        """Delete at most `limit` expired rows of a version; return the number of deleted rows."""
        predictions = self._journal.predictions
        rows = predictions.delete_rows(version.key, version.rows_until, limit)
        samples = 0
        if rows < limit:
            room = limit - rows
            samples = predictions.delete_samples(version.key, version.samples_until, room)
            room -= samples
            samples += self._journal.samples.delete(version.key, version.samples_until, room)
            room = limit - rows - samples
            samples += self._journal.reviews.delete(version.key, version.samples_until, room)
        self._count("rows_let_go", rows)
        self._count("sampled_rows_let_go", samples)
        return rows + samples

    def _count(self, name: str, more: int) -> None:
        if more:
            self._state.count(name, more)


def _rows(record: Record) -> int:
    event = record.event
    if isinstance(event, UnreadableEvent):
        return 0
    return max(0, min(event.rows, MOST_ROWS)) if isinstance(event, PredictionEvent) else 1
