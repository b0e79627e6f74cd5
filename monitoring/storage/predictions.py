"""Predicted rows, and labels that wait for their prediction; part of the consumer's step.

What a step needs of them is read at once before it (`bring`), and what it does to them is written
at once after it (`flush`), because a statement for each event would cost more than all the rest.
In between, the step works on what is here.
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
ANYWHERE = -1  # partition of labels whose id names no shard, once the partitions have changed
_Place = tuple[str, int]  # prediction id, row


class Predictions:
    """Not for use outside a transaction, and good for one: `reset` at its end."""

    def __init__(self, database: Database, partition: int = 0) -> None:
        """Read and write rows and labels in `database`; waiting labels are of `partition`."""
        self._database = database
        self._partition = partition
        self._added: dict[_Place, StoredRow] = {}  # not written yet
        self._sampled: dict[int, StoredRow] = {}  # those among them with values, by hash
        self._evicted: list[tuple[object, ...]] = []
        self._labelled: dict[_Place, bytes] = {}
        self._known: dict[
            _Place, StoredPrediction
        ] = {}  # as they lie in the database, and their new labels
        self._searched: set[str] = set()  # ids whose rows in the database are all known
        self._early: dict[str, dict[int, EarlyLabel]] = {}  # labels that wait, of the ids looked up
        self._stored_early: bool | None = None  # whether the database has labels that wait
        self._regrouped: set[str] = set()  # ids that must be rewritten
        self._waiting: list[_Place] = []  # labels that began to wait, not written yet
        row = database.one(queries.EARLY_UNTIL, partition=partition)
        # Labels that were received before it wait no more.
        self.early_until = 0 if row is None else as_int(row[0])

    def prefetch(self, events: Iterable[Event | UnreadableEvent]) -> None:
        """Read the stored rows and labels that these events refer to."""
        labels: set[str] = set()
        others: set[str] = set()
        awaited = self._has_stored_early()
        for event in events:
            if isinstance(event, FeedbackEvent):
                labels.add(event.joined_by)
            elif awaited and isinstance(event, PredictionEvent):
                others.add(event.joined_by)
        self._search(labels)
        self._look_for_early(labels | others)

    def add_row(self, row: StoredRow) -> None:
        """Add a row, unless its place has one."""
        self._added.setdefault((row.prediction_id, row.row), row)
        if row.body is not None and row.number is not None:
            self._sampled[row.number] = row

    def evict(self, key: Key, start: int, number: int) -> None:
        """Delete the values of the row with this hash; its label may still come."""
        fresh = self._sampled.get(number)
        if fresh is not None and (fresh.model, fresh.version, fresh.start) == (*key, start):
            fresh.body = None
        else:
            self._evicted.append((*key, start, number))

    def evict_above(self, key: Key, window: Window, largest: int) -> None:
        """Delete the values of a window's rows with a larger hash; their labels may still come."""
        self.flush()
        self._database.write(queries.EVICT_ABOVE, *key, window.start, window.end, largest)

    def find(self, prediction_id: str, row: int) -> StoredPrediction | None:
        """Find the row that a label refers to."""
        if prediction_id not in self._searched:
            self._search({prediction_id})
        place = prediction_id, row
        prediction = self._known.get(place)
        if prediction is None and (added := self._added.get(place)) is not None:
            prediction = _as_stored(added)
        return prediction

    def add_label(self, prediction_id: str, row: int, label: Label) -> None:
        """Join a label to its row."""
        self._search({prediction_id})
        place, encoded = (prediction_id, row), encode(label)
        prediction = self._known.get(place)
        if prediction is not None:
            prediction.label = label
            self._labelled[place] = encoded
        elif (added := self._added.get(place)) is not None:
            added.label = encoded

    def add_early_label(self, prediction_id: str, row: int, early: EarlyLabel) -> bool:
        """Store a label until its prediction comes; False if an earlier one waits."""
        self._look_for_early({prediction_id})
        waiting = self._early.setdefault(prediction_id, {})
        if row not in waiting:
            self._waiting.append((prediction_id, row))
        elif waiting[row].received >= self.early_until:
            return False
        else:
            self._regrouped.add(prediction_id)
        waiting[row] = early
        return True

    def pop_early_labels(self, prediction_id: str) -> dict[int, EarlyLabel]:
        """Return the labels that waited for this prediction, by row, and delete them."""
        waiting = self._early.get(prediction_id)
        if waiting is None:
            self._look_for_early({prediction_id})
            waiting = self._early.get(prediction_id)
        if not waiting:  # so it is for most predictions
            return {}
        self._early[prediction_id] = {}
        self._regrouped.add(prediction_id)
        return {row: label for row, label in waiting.items() if label.received >= self.early_until}

    def expire_early_labels(self, until: int) -> int:
        """Expire waiting labels that were received before `until`; returns how many."""
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
        """Read the values of the `limit` rows with the smallest hashes, in the order of time."""
        self.flush()
        rows = self._database.all(queries.SMALLEST, **_of_window(key, window), limit=limit)
        return [as_bytes(body) for (body,) in rows]

    def delete_early_labels(self, limit: int) -> int:
        """Delete at most `limit` expired labels; returns how many."""
        which = {"partition": self._partition, "until": self.early_until}
        return self._database.do(queries.SWEEP_EARLY, **which, limit=limit)

    def delete_rows(self, key: Key, until: int, limit: int) -> int:
        """Delete rows outside the samples of windows that begin before; returns how many."""
        return self._sweep(queries.SWEEP_ROWS, key, until, limit)

    def delete_samples(self, key: Key, until: int, limit: int) -> int:
        """Delete the samples of windows that begin before; returns how many rows."""
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
        if self._regrouped or self._waiting:
            self._write_early()

    def reset(self) -> None:
        """Write, and empty the caches."""
        self.flush()
        self._known.clear()
        self._searched.clear()
        self._early.clear()
        self._stored_early = None

    def _add(self) -> None:
        self._database.many(
            queries.ADD, [msgspec.structs.astuple(row) for row in self._added.values()]
        )
        for place, row in self._added.items():
            # Labels that follow in this step find it here: one query for each would cost more.
            if row.prediction_id in self._searched:
                self._known.setdefault(place, _as_stored(row))
        self._added.clear()
        self._sampled.clear()

    def _write_early(self) -> None:
        """Add the labels that began to wait; rewrite those of ids of which some wait no more."""
        names = sorted(self._regrouped)
        self._database.many(queries.DELETE_EARLY, [(name, self._partition) for name in names])
        places = [(name, row) for name in names for row in self._early[name]]
        places += [place for place in self._waiting if place[0] not in self._regrouped]
        self._database.many(
            queries.ADD_EARLY,
            [
                (name, row, early.label, early.time, early.received, self._owner(early))
                for name, row in places
                if (early := self._early[name][row]).received >= self.early_until
            ],
        )
        self._regrouped.clear()
        self._waiting.clear()

    def _owner(self, label: EarlyLabel) -> int:
        return ANYWHERE if label.anywhere else self._partition

    def _sweep(self, statement: Query, key: Key, until: int, limit: int) -> int:
        model, version = key
        return self._database.do(statement, model=model, version=version, until=until, limit=limit)

    def _search(self, prediction_ids: set[str]) -> None:
        """Cache the stored rows of these predictions."""
        missing = prediction_ids - self._searched
        if not missing:
            return
        rows = self._database.look_up(queries.KNOWN, missing)
        for prediction_id, row, model, version, start, number, label, time, predicted in rows:
            self._known[str(prediction_id), as_int(row)] = StoredPrediction(
                str(model),
                str(version),
                as_int(start),
                number is None,
                None if label is None else decode(as_bytes(label)),
                as_int_or_none(time),
                as_bytes_or_none(predicted),
            )
        self._searched |= missing

    def _has_stored_early(self) -> bool:
        """Return whether any labels waited in the database when this transaction first asked."""
        if self._stored_early is None:
            row = self._database.one(queries.ANY_EARLY, partition=self._partition)
            self._stored_early = row is not None
        return self._stored_early

    def _look_for_early(self, prediction_ids: set[str]) -> None:
        """Cache the labels that wait for one of these."""
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
            waiting = EarlyLabel(
                as_bytes(label),
                as_int_or_none(time),
                as_int(received),
                partition == ANYWHERE,
            )
            self._early[str(prediction_id)][as_int(row)] = waiting


def _as_stored(row: StoredRow) -> StoredPrediction:
    """Return the stored form of a row."""
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
