"""Takes in one record of the log after the other: counts it, keeps its rows, joins its labels."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from eventlog import wire
from eventlog.answer_counts import MINUTE
from eventlog.errors import UnreadableEvent
from eventlog.events import FeedbackEvent, Label, PredictionEvent
from eventlog.log import Gap, Loss, Record
from monitoring.counters.duration_buckets import count
from monitoring.ingest.labels import invalid_reason, join
from monitoring.ingest.ledger import enter
from monitoring.results import DeadLetter, SourceLedger
from monitoring.sharing.entries import PreparedRecord
from monitoring.storage import rows
from monitoring.storage.journal import Journal
from monitoring.storage.rows import EarlyLabel, PredictedRow, StoredPrediction, StoredRow
from monitoring.windows.expiry import MOST_ROWS, Expiry
from monitoring.windows.grid import SECOND
from monitoring.windows.row_sample import row_hash
from monitoring.windows.version_state import ConsumerState, VersionState
from monitoring.windows.window_state import WindowState, advance
from registry.errors import RegistryError

_logger = logging.getLogger(__name__)

LOSSES: dict[Loss, str] = {
    "overrun": "records were deleted before they were read",
    "truncated": "it ends before what was already read",
    "recreated": "it was deleted and created anew",
}
_FUTURE = 86_400 * SECOND  # an event time further ahead of its reception is a wrong clock
_LATEST = 253_402_300_799 * SECOND  # the end of the year 9999
_EXPECTED = "lies before 1970, after 9999 or more than a day ahead of its reception"
_AHEAD = "lies more than a day ahead of the monitor's clock"
_LAST_ROW = 2**31 - 1


class Ingestion:
    """Part of the consumer's step; everything it does is in that step's transaction."""

    def __init__(
        self,
        journal: Journal,
        memory: ConsumerState,
        keeping: Expiry,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Work on `memory`, keep rows in `journal`; nothing is later than `clock` by a day."""
        self._clock = clock
        self._journal = journal
        self._memory = memory
        self._keeping = keeping

    def take(self, record: Record) -> VersionState | None:
        """Take in one record; the model version that may now have a window to close or revise."""
        event = record.event
        if not record.source:
            self._memory.move(record.stream, record.after)
            self._set_aside(record, str(event))
            return None
        readable = not isinstance(event, UnreadableEvent)
        before = self._memory.ledgers.get(record.source)
        ledger = before or SourceLedger(source=record.source, epoch=0, next_sequence=0)
        received = 0 if event.received is None else _within(event.received)
        ahead = received > self._clock() + _FUTURE
        after, fresh = enter(ledger, record, readable=readable, heard=0 if ahead else received)
        self._memory.ledgers[record.source] = after
        self._memory.move(record.stream, record.after)
        if not fresh:
            return None
        self._memory.totals["monitored_events"] += 1
        if isinstance(event, UnreadableEvent):
            if event.received is not None and not ahead:  # the forwarder could read it
                self._memory.monitored[record.source, received // MINUTE] += 1
            self._set_aside(record, str(event))
            return None
        if ahead:  # a service's wrong clock must not let go of what others said
            self._set_aside(record, f"its reception {event.received} {_AHEAD}")
            return None
        self._memory.latest = max(self._memory.latest, received)
        self._keeping.received(received)
        self._memory.monitored[record.source, received // MINUTE] += 1
        if isinstance(event, FeedbackEvent):
            return self._label(event, record)
        return self._prediction(event, record)

    def again(self, letter: DeadLetter) -> VersionState | None:
        """Take in what was set aside, as if it came now; it was counted when it came first."""
        origin, epoch, sequence = letter.origin.rsplit(":", 2)
        place = (origin, int(epoch), int(sequence))
        try:
            event = wire.decode(letter.body)
        except UnreadableEvent as error:
            self._set_aside(Record(*place, error, letter.body), str(error))
            return None
        record = Record(*place, event, letter.body)
        self._journal.predictions.prefetch([event])
        if isinstance(event, FeedbackEvent):
            return self._label(event, record)
        return self._prediction(event, record)

    def pass_over(self, gap: Gap) -> None:
        """Go on behind a part of the log that is gone; which events it held, the ledger knows."""
        said = f"{gap.stream}: {LOSSES[gap.reason]}; reading goes on at {gap.after.sequence}"
        if gap.records:
            said += f", at most {gap.records} records were passed over"
        _logger.error("%s", said)
        self._memory.positions[gap.stream] = gap.after
        self._memory.totals[f"gap_{gap.reason}"] += 1
        self._memory.totals["passed_over"] += gap.records
        self._journal.add_dead_letter(gap.stream, said, b"")
        self._keeping.set_aside()

    def _prediction(self, event: PredictionEvent, record: Record) -> VersionState | None:
        self._memory.totals[f"predictions_{event.outcome}"] += 1
        if not event.version:  # refused before a version was found: nobody's window
            self._memory.totals["unresolved_events"] += 1
            return None
        if reason := _impossible(event):
            self._set_aside(record, reason)
            return None
        try:
            watching = self._memory.watching(event.model, event.version)
            answered = self._answered(watching, event, record)
        except RegistryError as error:
            self._set_aside(record, str(error))
            return None
        except (KeyError, ValueError, TypeError) as error:
            self._set_aside(record, f"its rows do not fit the manifest: {error!r}")
            return None
        advance(watching.watch, event.source, event.time, event.received)
        self._place(watching, event, answered)
        return watching

    def _place(
        self,
        watching: VersionState,
        event: PredictionEvent,
        answered: Sequence[PredictedRow | None],
    ) -> None:
        """Count the event in its pane and keep its rows, or count it as late."""
        pane = watching.pane(event.time)
        state = None
        if pane.end <= watching.watch.closed_until:
            self._memory.late(watching, pane.start, len(answered))
            if pane.start < watching.watch.rows_until:
                return  # other rows of its time are forgotten as well
        else:
            state = watching.state(pane)
            state.events[event.outcome] = state.events.get(event.outcome, 0) + 1
            if event.outcome == "ok":
                count(state.latency, _within(event.total_us))
        early = self._journal.predictions.pop_early_labels(event.prediction_id) if answered else {}
        for row, answer in enumerate(answered):
            told = early.get(row)
            if told is not None and invalid_reason(rows.decode(told.label), watching.classes):
                self._memory.totals["unfit_labels"] += 1
                told = None
            self._row(watching, state, (event, row), answer, told)

    def _row(
        self,
        watching: VersionState,
        state: WindowState | None,
        place: tuple[PredictionEvent, int],
        answer: PredictedRow | None,
        early: EarlyLabel | None,
    ) -> None:
        """Keep one answered row so that its label finds it; its values only if it is sampled."""
        event, row = place
        start = watching.pane(event.time).start if state is None else state.start
        stored = StoredRow(
            event.prediction_id, row, *watching.key, start, None, None, None, event.time
        )
        if early is not None:
            stored.label = early.label
        if state is not None:
            state.rows += 1
            stored.number = number = row_hash(event.event_id, row)
            if answer is None:
                state.inputs.withheld += 1
            else:
                _count(watching, state, answer)
                stored.told = answer.told
                stored.body = self._sample(watching, state, number, answer.values)
            if early is not None:
                _joined(watching, state, stored, rows.decode(early.label), early.time)
        self._journal.predictions.add_row(stored)

    def _sample(
        self, watching: VersionState, state: WindowState, number: int, values: Sequence[Any] | bytes
    ) -> bytes | None:
        kept, pushed_out = self._memory.sample(watching, state.window).offer(number)
        if pushed_out is not None:
            self._journal.predictions.evict(watching.key, state.start, pushed_out)
        if not kept:
            return None
        return values if isinstance(values, bytes) else rows.encode(values)

    def _label(self, event: FeedbackEvent, record: Record) -> VersionState | None:
        """Join a label to its row; the model version, if one of its closed windows changed."""
        if not 0 <= event.row <= _LAST_ROW:
            self._set_aside(record, f"its row {event.row} is not between 0 and {_LAST_ROW}")
            return None
        self._memory.totals["labels"] += 1
        known = self._journal.predictions.find(event.prediction_id, event.row)
        if known is None or known.start < self._memory.rows_until(known.model, known.version):
            self._wait(event)  # also where a sample still has the row: others of its time are gone
            return None
        try:
            watching = self._memory.watching(known.model, known.version)
        except RegistryError as error:
            self._set_aside(record, str(error))
            return None
        if reason := invalid_reason(event.label, watching.classes):
            self._memory.totals["unfit_labels"] += 1
            self._set_aside(record, reason)
            return None
        return self._join(watching, known, event)

    def _join(
        self, watching: VersionState, known: StoredPrediction, event: FeedbackEvent
    ) -> VersionState | None:
        """Join a label that can be true; the model version, if a closed window changed."""
        state = None if known.late else watching.holding(known.start)
        if state is None or state.expired:
            self._memory.totals["late_labels"] += 1
            return None
        fate = join(known.label, event.label)
        if fate == "joined":
            self._journal.predictions.add_label(event.prediction_id, event.row, event.label)
            _joined(watching, state, known, event.label, _within(event.time))
        else:
            self._memory.totals[f"{fate}_labels"] += 1
            state.conflicting += fate == "conflicting"
        watching.touched.add(state.start)
        if not state.closed:
            return None
        watching.relabelled.add(state.start)
        return watching

    def _answered(
        self, watching: VersionState, event: PredictionEvent, record: Record
    ) -> Sequence[PredictedRow | None]:
        """Every answered row; None where the payload was not kept."""
        if event.outcome != "ok":
            return []
        if event.payload != "kept":
            return [None] * event.rows
        if isinstance(record, PreparedRecord):
            return record.answers
        layout = watching.layout
        answered = [PredictedRow(values, layout.told(values)) for values in layout.rows(event)]
        if layout.has_more(event):
            self._memory.totals["unexpected_inputs"] += 1
        return answered

    def _wait(self, event: FeedbackEvent) -> None:
        """Let a label wait for its prediction."""
        received = _within(event.received)
        early = EarlyLabel(rows.encode(event.label), _within(event.time), received)
        if not self._journal.predictions.add_early_label(event.prediction_id, event.row, early):
            self._memory.totals["duplicate_labels"] += 1

    def _set_aside(self, record: Record, reason: str) -> None:
        origin = f"{record.source or record.stream}:{record.epoch}:{record.sequence}"
        self._journal.add_dead_letter(origin, reason, record.value)
        self._keeping.set_aside()


def _within(time: int) -> int:
    """A label's time, which nobody has checked, as one that there is."""
    return time if 0 <= time <= _LATEST else 0 if time < 0 else _LATEST


def _joined(
    watching: VersionState,
    state: WindowState,
    row: StoredRow | StoredPrediction,
    label: Label,
    time: int | None,
) -> None:
    """Count a label, how long after its prediction the truth was known, and how they compare."""
    state.labelled += 1
    if row.time is not None and time is not None:
        count(state.label_delay, time - row.time)
    if row.told is not None:
        watching.counting.compare(state, label, rows.decode(row.told))


def _count(watching: VersionState, state: WindowState, answer: PredictedRow) -> None:
    if not isinstance(answer.values, bytes):
        watching.counting.add(state, answer.values)
    elif answer.odd is not None:
        watching.counting.add_known(state, answer.odd)


def _impossible(event: PredictionEvent) -> str:
    """Which of its numbers no request can have had; empty where there is none."""
    if not 0 <= event.received <= _LATEST:
        return f"its reception {event.received} lies before 1970 or after 9999"
    if not 0 <= event.time <= min(event.received + _FUTURE, _LATEST):
        return f"its event time {event.time} {_EXPECTED}"
    if not 0 <= event.rows <= MOST_ROWS:
        return f"its {event.rows} rows are not between 0 and {MOST_ROWS}"
    return ""
