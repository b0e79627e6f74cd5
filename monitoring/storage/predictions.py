"""Predicted rows, and early labels (labels that came before their prediction).

Before a step of the consumer, `prefetch` caches the rows and labels that the step's events refer
to. The step works on the cache, and at the end of the step, `flush` writes all changes. One
statement per event would cost more than the rest of the step.
"""

from collections.abc import Iterable

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, Label, PredictionEvent
from monitoring.results import Window
from monitoring.storage.database import Database, as_bytes, as_bytes_or_none, as_int, as_int_or_none
from monitoring.storage.query import Query
from monitoring.storage.rows import (
    EarlyLabel,
    SampledRow,
    StoredPrediction,
    StoredRow,
    decode,
    encode,
)
from monitoring.storage.sql import predictions as queries

Key = tuple[str, str]  # model, version
# Partition of early labels whose id names no shard, after the number of partitions has changed.
ANYWHERE = -1
_Place = tuple[str, int]  # prediction id, row


class Predictions:
    """Rows and early labels, for use inside one transaction; call `reset` at its end."""

    def __init__(self, database: Database, partition: int = 0) -> None:
        """Read and write rows, and the early labels of `partition`, in `database`."""
        self._database = database
        self._partition = partition
        self._added: dict[_Place, StoredRow] = {}  # new rows, not written yet
        self._sampled: dict[int, StoredRow] = {}  # the new rows that have values, by hash
        self._evicted: list[tuple[object, ...]] = []  # stored rows whose values are to be deleted
        self._labelled: dict[_Place, bytes] = {}  # new labels of stored rows, not written yet
        self._stored: dict[_Place, StoredPrediction] = {}  # cached rows, with their new labels
        self._fetched: set[str] = set()  # prediction ids whose stored rows are all cached
        self._early: dict[str, dict[int, EarlyLabel]] = {}  # cached early labels, by id and row
        self._has_early: bool | None = None  # whether early labels are stored; None if not checked
        self._rewritten: set[str] = set()  # ids whose early labels must be rewritten
        self._new_early: list[_Place] = []  # places of new early labels, not written yet
        row = database.one(queries.EARLY_UNTIL, partition=partition)
        # Early labels that were received before this time have expired.
        self.early_until = 0 if row is None else as_int(row[0])

    def prefetch(self, events: Iterable[Event | UnreadableEvent]) -> None:
        """Read the stored rows and labels that these events refer to."""
        labelled: set[str] = set()
        predicted: set[str] = set()
        has_early = self._has_stored_early()
        for event in events:
            if isinstance(event, FeedbackEvent):
                labelled.add(event.joined_by)
            elif has_early and isinstance(event, PredictionEvent):
                predicted.add(event.joined_by)
        self._fetch(labelled)
        self._fetch_early(labelled | predicted)

    def add_row(self, row: StoredRow) -> None:
        """Add a row, unless the step has already added this row."""
        self._added.setdefault((row.prediction_id, row.row), row)
        if row.body is not None and row.number is not None:
            self._sampled[row.number] = row

    def evict(self, key: Key, start: int, number: int) -> None:
        """Delete the values of the row with this hash; its label can still arrive."""
        row = self._sampled.get(number)
        if row is not None and (row.model, row.version, row.start) == (*key, start):
            row.body = None
        else:
            self._evicted.append((*key, start, number))

    def evict_above(self, key: Key, window: Window, largest: int) -> None:
        """Delete the values of a window's rows with a hash above `largest`."""
        self.flush()
        self._database.write(queries.EVICT_ABOVE, *key, window.start, window.end, largest)

    def find(self, prediction_id: str, row: int) -> StoredPrediction | None:
        """Find the row that a label refers to."""
        if prediction_id not in self._fetched:
            self._fetch({prediction_id})
        place = prediction_id, row
        prediction = self._stored.get(place)
        if prediction is None and (added := self._added.get(place)) is not None:
            prediction = _as_stored(added)
        return prediction

    def add_label(self, prediction_id: str, row: int, label: Label) -> None:
        """Join a label to its row."""
        self._fetch({prediction_id})
        place, encoded = (prediction_id, row), encode(label)
        prediction = self._stored.get(place)
        if prediction is not None:
            prediction.label = label
            self._labelled[place] = encoded
        elif (added := self._added.get(place)) is not None:
            added.label = encoded

    def add_early_label(self, prediction_id: str, row: int, early: EarlyLabel) -> bool:
        """Store a label until its prediction comes; False if the row already has an early label."""
        self._fetch_early({prediction_id})
        waiting = self._early.setdefault(prediction_id, {})
        if row not in waiting:
            self._new_early.append((prediction_id, row))
        elif waiting[row].received >= self.early_until:
            return False
        else:
            self._rewritten.add(prediction_id)
        waiting[row] = early
        return True

    def pop_early_labels(self, prediction_id: str) -> dict[int, EarlyLabel]:
        """Return and delete the early labels of this prediction, by row."""
        waiting = self._early.get(prediction_id)
        if waiting is None:
            self._fetch_early({prediction_id})
            waiting = self._early.get(prediction_id)
        if not waiting:
            return {}
        self._early[prediction_id] = {}
        self._rewritten.add(prediction_id)
        return {row: label for row, label in waiting.items() if label.received >= self.early_until}

    def expire_early_labels(self, until: int) -> int:
        """Expire early labels that were received before `until`; return the number expired."""
        self.flush()
        before, self.early_until = self.early_until, until
        span = {"since": before, "until": until}
        row = self._database.one(queries.COUNT_EARLY, partition=self._partition, **span)
        assert row is not None
        return as_int(row[0])

    def sampled_hashes(self, key: Key, window: Window) -> list[int]:
        """Read the hashes of a window's sampled rows."""
        self.flush()
        rows = self._database.all(queries.SAMPLED_HASHES, **_of_window(key, window))
        return [as_int(number) for (number,) in rows]

    def sampled_rows(self, key: Key, window: Window) -> list[SampledRow]:
        """Read a window's sampled rows, in the order of their hashes."""
        self.flush()
        rows = self._database.all(queries.SAMPLE, **_of_window(key, window))
        return [
            SampledRow(
                as_bytes(body),
                as_bytes_or_none(label),
                (as_int_or_none(time) or 0, str(prediction_id), as_int(row)),
            )
            for body, label, time, prediction_id, row in rows
        ]

    def smallest_rows(self, key: Key, window: Window, limit: int) -> list[bytes]:
        """Read the values of the `limit` rows with the smallest hashes, in event-time order."""
        self.flush()
        rows = self._database.all(queries.SMALLEST, **_of_window(key, window), limit=limit)
        return [as_bytes(body) for (body,) in rows]

    def delete_early_labels(self, limit: int) -> int:
        """Delete at most `limit` expired early labels; return the number deleted."""
        which = {"partition": self._partition, "until": self.early_until}
        return self._database.do(queries.SWEEP_EARLY, **which, limit=limit)

    def delete_rows(self, key: Key, until: int, limit: int) -> int:
        """Delete at most `limit` unsampled rows of windows that begin before `until`.

        Return the number deleted.
        """
        return self._sweep(queries.SWEEP_ROWS, key, until, limit)

    def delete_samples(self, key: Key, until: int, limit: int) -> int:
        """Delete at most `limit` sampled rows of windows that begin before `until`.

        Return the number deleted.
        """
        return self._sweep(queries.SWEEP_SAMPLES, key, until, limit)

    def flush(self) -> None:
        """Write unsaved changes to the database."""
        if self._added:
            self._add()
        self._database.many(queries.EVICT, self._evicted)
        self._database.many(
            queries.LABEL, [(label, *place) for place, label in self._labelled.items()]
        )
        self._evicted.clear()
        self._labelled.clear()
        if self._rewritten or self._new_early:
            self._write_early()

    def reset(self) -> None:
        """Write unsaved changes and empty the caches."""
        self.flush()
        self._stored.clear()
        self._fetched.clear()
        self._early.clear()
        self._has_early = None

    def _add(self) -> None:
        self._database.many(
            queries.ADD, [msgspec.structs.astuple(row) for row in self._added.values()]
        )
        for place, row in self._added.items():
            # Cache the row for labels that follow in this step: its id is not fetched again.
            if row.prediction_id in self._fetched:
                self._stored.setdefault(place, _as_stored(row))
        self._added.clear()
        self._sampled.clear()

    def _write_early(self) -> None:
        """Add new early labels; rewrite all early labels of ids with joined or replaced labels."""
        names = sorted(self._rewritten)
        self._database.many(queries.DELETE_EARLY, [(name, self._partition) for name in names])
        places = [(name, row) for name in names for row in self._early[name]]
        places += [place for place in self._new_early if place[0] not in self._rewritten]
        self._database.many(
            queries.ADD_EARLY,
            [
                (name, row, early.label, early.time, early.received, self._owner(early))
                for name, row in places
                if (early := self._early[name][row]).received >= self.early_until
            ],
        )
        self._rewritten.clear()
        self._new_early.clear()

    def _owner(self, label: EarlyLabel) -> int:
        return ANYWHERE if label.anywhere else self._partition

    def _sweep(self, statement: Query, key: Key, until: int, limit: int) -> int:
        model, version = key
        return self._database.do(statement, model=model, version=version, until=until, limit=limit)

    def _fetch(self, prediction_ids: set[str]) -> None:
        """Cache the stored rows of these predictions."""
        missing = prediction_ids - self._fetched
        if not missing:
            return
        rows = self._database.look_up(queries.OF_ID, missing)
        for prediction_id, row, model, version, start, number, label, time, predicted in rows:
            self._stored[str(prediction_id), as_int(row)] = StoredPrediction(
                str(model),
                str(version),
                as_int(start),
                number is None,
                None if label is None else decode(as_bytes(label)),
                as_int_or_none(time),
                as_bytes_or_none(predicted),
            )
        self._fetched |= missing

    def _has_stored_early(self) -> bool:
        """Return whether the database has early labels, as of the transaction's first check."""
        if self._has_early is None:
            row = self._database.one(queries.ANY_EARLY, partition=self._partition)
            self._has_early = row is not None
        return self._has_early

    def _fetch_early(self, prediction_ids: set[str]) -> None:
        """Cache the stored early labels of these predictions."""
        if not self._has_stored_early():
            return
        missing = {name for name in prediction_ids if name not in self._early}
        if not missing:
            return
        self._early.update((name, {}) for name in missing)
        rows = self._database.look_up(queries.EARLY, missing)
        for prediction_id, row, label, time, received, partition in rows:
            if partition not in (self._partition, ANYWHERE):
                continue
            early = EarlyLabel(
                as_bytes(label),
                as_int_or_none(time),
                as_int(received),
                partition == ANYWHERE,
            )
            self._early[str(prediction_id)][as_int(row)] = early


def _as_stored(row: StoredRow) -> StoredPrediction:
    """Return the row as it would be read from the database."""
    return StoredPrediction(
        row.model,
        row.version,
        row.start,
        row.number is None,
        None if row.label is None else decode(row.label),
        row.time,
        row.predicted,
    )


def _of_window(key: Key, window: Window) -> dict[str, object]:
    model, version = key
    return {"model": model, "version": version, "start": window.start, "end": window.end}
