"""Ingest the records of the log: count events, store rows, join labels to predictions."""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from eventlog import wire
from eventlog.answer_counts import LATEST, MINUTE
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent, HeartbeatEvent, PredictionEvent, RequestEvent
from eventlog.log import Gap, Record
from eventlog.shards import shard_of
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.expiry import MOST_ROWS, Expiry
from monitoring.ingest.joins import join
from monitoring.ingest.logged_tensor import LoggedTensor
from monitoring.ingest.review_queue import ReviewQueue
from monitoring.ingest.version_state import VersionState
from monitoring.results import DeadLetter, SourceLedger
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.row_layout import PredictedRow
from monitoring.storage.rows import EarlyLabel, StoredPrediction, StoredRow
from monitoring.windows.grid import SECOND
from monitoring.windows.row_sample import row_hash
from monitoring.windows.window_state import WindowState
from registry.errors import RegistryError
from registry.labels import invalid_reason, read_label
from telemetry.steady_clock import SteadyClock

_logger = logging.getLogger(__name__)

_FUTURE = 86_400 * SECOND  # maximum lead of an event time over its reception
_EXPECTED = "is before 1970, after 9999 or more than a day ahead of its reception"
_AHEAD = "is more than a day ahead of the monitor's clock"
_LAST_ROW = 2**31 - 1


class Ingestion:
    """Ingests records in the consumer's step; it writes in the step's transaction."""

    def __init__(
        self,
        journal: Journal,
        state: ConsumerState,
        expiry: Expiry,
        reviews: ReviewQueue,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """Change `state`; write rows to `journal`; offer rows to `reviews`.

        `clock` returns microseconds since the epoch. An event whose reception is more than a day
        ahead of the clock is dead-lettered.
        """
        self._clock = clock or SteadyClock()
        self._plausible_until = 0  # receptions up to this time need no reading of the clock
        self._journal = journal
        self._state = state
        self._expiry = expiry
        self._reviews = reviews

    def ingest(self, record: Record) -> VersionState | None:
        """Ingest a record; return the version that may have a window to close or revise."""
        event = record.event
        divided = self._state.division is not None
        target = self._other_partition(event.shard) if divided else None
        if record.source and target is None:
            return self._ingest_record(record)
        self._state.advance(record.stream, record.after)
        if target is None:
            self._dead_letter(record, str(event))
        else:
            self._transfer(record, target, "events_of_other_partitions")
        return None

    def _ingest_record(self, record: Record) -> VersionState | None:
        event = record.event
        readable = not isinstance(event, UnreadableEvent)
        received = 0 if event.received is None else _bounded(event.received)
        ahead = self._is_ahead(received)
        entry = self._state.enter(record, readable=readable, received=0 if ahead else received)
        if entry is None:
            return None
        kind = "heartbeats" if isinstance(event, HeartbeatEvent) else "monitored_events"
        self._state.count(kind)
        before = entry.before
        if before is not None and (before.departed or entry.after.received < before.received):
            self._report_clock(before, entry.after)
        if isinstance(event, UnreadableEvent):
            if event.received is not None:  # the forwarder has read the reception and sent it along
                self._state.count_ingested(record.source, received // MINUTE)
            self._dead_letter(record, str(event))
            return None
        if isinstance(event, HeartbeatEvent):
            if not ahead:
                self._expiry.expire_hourly(self._state.latest)
            return None
        self._state.count_ingested(record.source, received // MINUTE)
        if ahead:  # the wrong clock of one worker must not expire events of other workers
            self._dead_letter(record, f"its reception {event.received} {_AHEAD}")
            return None
        self._expiry.expire_hourly(self._state.latest)
        return self._ingest_event(event, record)

    def _ingest_event(self, event: RequestEvent, record: Record) -> VersionState | None:
        if event.load_test:
            self._state.count("load_test_events")
            return None
        if isinstance(event, FeedbackEvent):
            return self._ingest_label(event, record)
        if not event.online:  # in no window: a nightly job must not appear as drift of requests
            self._state.count(f"{event.protocol}_events")
            self._state.count(f"{event.protocol}_rows", event.rows)
            if event.protocol == "batch" and event.version:
                self._state.count_batch(event)
            return None
        return self._ingest_prediction(event, record)

    def _is_ahead(self, received: int) -> bool:
        """Return whether a reception is more than a day ahead of the clock.

        To save time, the clock is read only if the last reading does not cover the reception.
        """
        if received <= self._plausible_until:
            return False
        self._plausible_until = self._clock() + _FUTURE
        return received > self._plausible_until

    def _report_clock(self, before: SourceLedger, after: SourceLedger) -> None:
        """Warn that a source's clock was wrong and is right again."""
        if after.received < before.received:
            self._state.count("clocks_set_back")
            _logger.warning(
                "%s: its clock was ahead by %d seconds for a minute or longer; windows may have "
                "closed early, and later events may be late for them",
                after.source,
                (before.received - after.received) // SECOND,
            )
        elif not after.departed and before.departed > after.received:
            self._state.count("clocks_returned")
            _logger.warning(
                "%s: its clock was ahead by %d seconds for under a minute; no window was affected",
                after.source,
                (before.departed - before.received) // SECOND,
            )

    def retry(self, letter: DeadLetter) -> VersionState | None:
        """Ingest a dead letter like a new record; the ledger has already counted it."""
        origin, epoch, sequence = letter.origin.rsplit(":", 2)
        place = (origin, int(epoch), int(sequence))
        try:
            event = wire.decode(letter.body)
        except UnreadableEvent as error:
            self._dead_letter(Record(*place, error, letter.body), str(error))
            return None
        if isinstance(event, HeartbeatEvent):
            return None
        record = Record(*place, event, letter.body)
        self._journal.predictions.prefetch([event])
        return self._ingest_event(event, record)

    def skip(self, gap: Gap) -> None:
        """Continue behind a part of a stream that can no longer be read, and record the gap."""
        message = str(gap)
        _logger.error("%s", message)
        self._state.skip_to(gap.stream, gap.after)
        self._state.count(f"gap_{gap.reason}")
        if gap.reason == "overrun":
            self._state.count("passed_over", gap.records)
        self._journal.add_dead_letter(gap.stream, message, b"")
        self._expiry.dead_letter_added()

    # Predictions

    def _ingest_prediction(self, event: PredictionEvent, record: Record) -> VersionState | None:
        if event.version and (target := self._other_partition_of(event.model)) is not None:
            # Events of format version 1 are keyed by prediction id, not by shard.
            self._redirect(record, target, "events_of_version_1")
            return None
        self._state.count(f"predictions_{event.outcome}")
        if not event.version:  # refused before a version was resolved: the event is in no window
            self._state.count("unresolved_events")
            return None
        if reason := _implausible(event):
            self._dead_letter(record, reason)
            return None
        try:
            version = self._state.version(event.model, event.version)
            predicted = self._predicted_rows(version, event)
        except RegistryError as error:
            self._dead_letter(record, str(error))
            return None
        except (KeyError, ValueError, TypeError) as error:
            self._dead_letter(record, f"its rows do not fit the manifest: {error!r}")
            return None
        clock = self._state.clock(record.source)
        version.advance(event.source, event.time, event.received, clock)
        self._state.traffic.count(*version.key, event.time)
        state = self._add_prediction(version, event, predicted)
        if state is not None and event.outcome == "ok":
            self._sample_inputs(version, state, event)
            if version.is_reviewed:
                self._reviews.offer(version, event, predicted)
        return version

    def _predicted_rows(
        self, version: VersionState, event: PredictionEvent
    ) -> Sequence[PredictedRow | None]:
        """Return the predicted rows; a row is None if its payload was not logged."""
        if event.outcome != "ok":
            return []
        layout = version.layout
        if event.payload != "kept":
            return layout.rows_without_payload(event)
        predicted = [
            PredictedRow(values, layout.prediction(values)) for values in layout.rows(event)
        ]
        if layout.has_extra_inputs(event):
            self._state.count("unexpected_inputs")
        return predicted

    def _add_prediction(
        self,
        version: VersionState,
        event: PredictionEvent,
        predicted: Sequence[PredictedRow | None],
    ) -> WindowState | None:
        """Store rows and count the event in its pane; return the pane, or None for a late event."""
        pane = version.pane(event.time)
        state = None
        if version.is_closed(pane):
            self._state.count_late(version, pane.start, len(predicted))
            if pane.start < version.rows_until:
                return None  # the pane's other rows have expired, so these rows are not stored
        else:
            latency = _bounded(event.total_us) if event.outcome == "ok" else None
            state = version.add_event(pane, event.outcome, latency)
        joined_by, event_id = event.joined_by, event.event_id
        early = self._journal.predictions.pop_early_labels(joined_by) if predicted else {}
        if early and not version.expects_labels:
            self._state.count("unexpected_labels", len(early))
            early = {}
        for number, row in enumerate(predicted):
            label = early.get(number) if early else None
            valid = None
            if label is not None:
                valid = read_label(rows.decode(label.label), version.classes)
                if valid is None:
                    self._state.count("unfit_labels")
            stored = StoredRow(
                joined_by, number, *version.key, pane.start, None, None, None, event.time
            )
            if valid is not None:
                stored.label = rows.encode(valid)
            if state is not None:
                self._add_row(version, state, stored, row, row_hash(event_id, number))
                if label is not None and valid is not None:
                    version.add_label(state, stored, valid, label.time)
            self._journal.predictions.add_row(stored)
        return state

    def _sample_inputs(
        self, version: VersionState, state: WindowState, event: PredictionEvent
    ) -> None:
        """Store the rows of logged tensors that the window samples."""
        for sampled_tensor in version.sampled_tensors(state.start):
            name = sampled_tensor.name
            tensor = event.inputs.get(name) or event.outputs.get(name)
            if tensor is None:
                continue
            logged = LoggedTensor(sampled_tensor, tensor, event.rows)
            for row in range(event.rows):
                hash_ = row_hash(event.event_id, row)
                sampled, evicted = version.sample_tensor(name, state, hash_)
                if evicted is not None:
                    self._journal.samples.evict(version.key, state.window, name, evicted)
                if sampled:
                    sample = logged.sample(row, hash_, state.start)
                    self._journal.samples.add(version.key, sample)

    def _add_row(
        self,
        version: VersionState,
        state: WindowState,
        stored: StoredRow,
        row: PredictedRow | None,
        hash_: int,
    ) -> None:
        """Count a row in its window; its values are stored only if the window samples it."""
        stored.number = hash_
        version.add_row(state, row)
        if row is not None:
            stored.predicted = row.predicted
            stored.body = self._sample(version, state, hash_, row)

    def _sample(
        self, version: VersionState, state: WindowState, hash_: int, row: PredictedRow
    ) -> bytes | None:
        """Return the encoded values of a row if its window samples it."""
        sampled, evicted = version.sample(state, hash_)
        if evicted is not None:
            self._journal.predictions.evict(version.key, state.start, evicted)
        return version.layout.encode(row) if sampled else None

    # Labels

    def _ingest_label(self, event: FeedbackEvent, record: Record) -> VersionState | None:
        """Join a label to its row; return the version if a closed window has changed."""
        if not 0 <= event.row <= _LAST_ROW:
            self._dead_letter(record, f"its row {event.row} is not between 0 and {_LAST_ROW}")
            return None
        stored = self._journal.predictions.find(event.joined_by, event.row)
        target = None if stored is None else self._other_partition_of(stored.model)
        if target is not None:  # the prediction id has no shard: a caller chose it, or it is old
            self._redirect(record, target, "labels_of_other_partitions")
            return None
        self._state.count("labels")
        if stored is None or stored.start < self._state.rows_until(stored.model, stored.version):
            # The row may still be in a sample, but the other rows of its window have expired.
            self._add_early_label(event)
            return None
        return self._label_row(stored, event, record)

    def _label_row(
        self, stored: StoredPrediction, event: FeedbackEvent, record: Record
    ) -> VersionState | None:
        try:
            version = self._state.version(stored.model, stored.version)
        except RegistryError as error:
            self._dead_letter(record, str(error))
            return None
        if not version.expects_labels:
            self._state.count("unexpected_labels")
            return None
        label = read_label(event.label, version.classes)
        if label is None:
            self._state.count("unfit_labels")
            self._dead_letter(record, invalid_reason(event.label, version.classes))
            return None
        apply = self._apply_review if event.review else self._join
        return apply(version, stored, replace(event, label=label))

    def _join(
        self, version: VersionState, stored: StoredPrediction, event: FeedbackEvent
    ) -> VersionState | None:
        """Join a valid label; return the version if the row's window is closed."""
        state = None if stored.late else version.window_at(stored.start)
        if state is None:
            self._state.count("late_labels")
            return None
        outcome = join(stored.label, event.label)
        if outcome == "joined":
            self._journal.predictions.add_label(event.joined_by, event.row, event.label)
            version.add_label(state, stored, event.label, _bounded(event.time))
        else:
            self._state.count(f"{outcome}_labels")
            if outcome == "conflicting":
                version.add_conflict(state)
        return None if state.accepts_events else version

    def _apply_review(
        self, version: VersionState, stored: StoredPrediction, event: FeedbackEvent
    ) -> VersionState | None:
        """Apply a person's review decision; return the version if the row's window is closed."""
        state = None if stored.late else version.window_at(stored.start)
        if state is None:
            self._state.count("late_labels")
            return None
        if not self._reviews.decide((event.joined_by, event.row), event):
            self._state.count("unknown_reviews")
            return None
        self._state.count("review_decisions")
        version.add_review(state)
        return None if state.accepts_events else version

    def _add_early_label(self, event: FeedbackEvent) -> None:
        """Store a label until its prediction arrives, but only if this deployment issued its id."""
        if not event.may_precede:
            self._state.count("unverified_labels")
            return
        received = _bounded(event.received)
        any_partition = self._state.division is not None and not event.shard
        label = EarlyLabel(rows.encode(event.label), _bounded(event.time), received, any_partition)
        if not self._journal.predictions.add_early_label(event.joined_by, event.row, label):
            self._state.count("duplicate_labels")

    def _other_partition(self, shard: str) -> int | None:
        """Return the partition of a shard, or None if it is this monitor's partition."""
        division = self._state.division
        if division is None or not shard or division.owns(shard):
            return None
        return division.owner(shard)

    def _other_partition_of(self, model: str) -> int | None:
        """Return the partition of a model's shard, or None if it is this monitor's partition."""
        if self._state.division is None:  # the whole log is ingested here
            return None
        return self._other_partition(shard_of(model))

    def _redirect(self, record: Record, target: int, count: str) -> None:
        """Send a record to the partition of its model, to be ingested there."""
        self._journal.retry_dead_letter(self._transfer(record, target, count))

    def _transfer(self, record: Record, target: int, count: str) -> str:
        """Dead-letter a record for the partition of its model; return the record's origin."""
        self._state.count(count)
        return self._dead_letter(record, f"it belongs to partition {target}", target)

    def _dead_letter(self, record: Record, reason: str, partition: int | None = None) -> str:
        origin = f"{record.source or record.stream}:{record.epoch}:{record.sequence}"
        self._journal.add_dead_letter(origin, reason, record.whole, partition)
        self._expiry.dead_letter_added()
        return origin


def _bounded(time: int) -> int:
    """Limit an unchecked time to the years 1970 to 9999."""
    return time if 0 <= time <= LATEST else 0 if time < 0 else LATEST


def _implausible(event: PredictionEvent) -> str:
    """Return why an event's times or rows are invalid; empty if they are valid."""
    if not 0 <= event.received <= LATEST:
        return f"its reception {event.received} is before 1970 or after 9999"
    if not 0 <= event.time <= LATEST or event.time > event.received + _FUTURE:
        return f"its event time {event.time} {_EXPECTED}"
    if not 0 <= event.rows <= MOST_ROWS:
        return f"its {event.rows} rows are not between 0 and {MOST_ROWS}"
    return ""
