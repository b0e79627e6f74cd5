"""Lets go of what has been kept for long enough, a part of it with every step.

What is let go is decided at once, where the log says so (core/retention.py); what that leaves in
the database is deleted little by little, because nobody asks for it any more.
"""

from collections.abc import Iterable

from eventlog.answer_counts import MINUTE
from eventlog.errors import UnreadableEvent
from eventlog.events import PredictionEvent
from eventlog.log import Record
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key
from monitoring.windows import retention
from monitoring.windows.version_state import ConsumerState, VersionState

_PIECE = 4_000  # rows deleted in one step, and twice as many as it brought
MOST_ROWS = 1_000_000  # of one event, which may say what it wants


class Expiry:
    """Part of the consumer's step; what it does is in that step's transaction."""

    def __init__(self, journal: Journal, memory: ConsumerState) -> None:
        """Look through everything once: the last monitor may not have got so far."""
        self._journal = journal
        self._memory = memory
        self._kept = memory.retention
        self._hour = 0
        self._untidy: dict[Key, VersionState] = {one.key: one for one in memory.everything()}
        self._early = True  # whether labels may be left that wait no more

    @property
    def behind(self) -> bool:
        """Whether there may be something to delete."""
        return self._early or bool(self._untidy)

    def expired(self, watching: VersionState, until: int, mark: int) -> None:
        """A window of a version that ends at `until` awaits no labels any more, at this watermark.

        One before it may still: after a change of policy not all wait for the same time.
        """
        wait = watching.timeline.longest_wait(watching.watch.rows_until, until)
        retention.advance(
            watching.watch, self._kept, min(until, watching.awaited_from()), mark - wait
        )
        kept = int(self._kept.results_days * retention.DAY)  # as the results of their windows
        self._journal.compact_late(watching.key, until - kept)
        self._untidy[watching.key] = watching

    def received(self, received: int) -> None:
        """The log received something now: what waited since too long ago waits no more."""
        if received < self._hour + retention.HOUR:
            return
        self._hour = retention.hour(received, 0)
        predictions = self._journal.predictions
        until = retention.hour(received, self._kept.early_labels_days)
        if until > predictions.early_until:
            self._count("expired_early_labels", predictions.expire_early_labels(until))
            self._journal.save_horizon("early_labels", until)
            self._early = True
        self._let_minutes_go(retention.hour(received, self._kept.minutes_days) // MINUTE)

    def set_aside(self) -> None:
        """There is one more dead letter."""
        gone = self._journal.delete_dead_letters(self._kept.dead_letters)
        self._count("dead_letters_let_go", gone)

    def tidy(self, records: Iterable[Record]) -> None:
        """Delete a piece of what was let go, larger than what these records bring."""
        left = _PIECE + 2 * sum(_rows(record) for record in records)
        for watching in list(self._untidy.values()):
            left -= self._rows(watching, left)
            if left <= 0:
                return
            del self._untidy[watching.key]
        if self._early:
            self._early = self._journal.predictions.delete_early_labels(left) == left

    def _let_minutes_go(self, until: int) -> None:
        for source, minute in list(self._memory.monitored):  # of this step
            if minute < until:
                del self._memory.monitored[source, minute]
        self._journal.delete_minutes(self._memory.ledgers, until)

    def _rows(self, watching: VersionState, limit: int) -> int:
        """Delete at most so many rows of a version; how many there were."""
        key, watch, predictions = watching.key, watching.watch, self._journal.predictions
        rows = predictions.delete_rows(key, watch.rows_until, limit)
        samples = 0
        if rows < limit:
            samples = predictions.delete_samples(key, watch.samples_until, limit - rows)
        self._count("rows_let_go", rows)
        self._count("sampled_rows_let_go", samples)
        return rows + samples

    def _count(self, name: str, more: int) -> None:
        if more:
            self._memory.totals[name] += more


def _rows(record: Record) -> int:
    event = record.event
    if isinstance(event, UnreadableEvent):
        return 0
    return max(0, min(event.rows, MOST_ROWS)) if isinstance(event, PredictionEvent) else 1
