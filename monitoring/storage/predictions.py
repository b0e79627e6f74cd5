"""The rows that were answered, and the labels that wait for theirs; part of the consumer's step.

What a step needs of them is read at once before it (`bring`), and what it does to them is written
at once after it (`flush`), because a statement for each event would cost more than all the rest.
In between, the step works on what is here.
"""

from collections.abc import Iterable

import msgspec

from eventlog.errors import UnreadableEvent
from eventlog.events import Event, FeedbackEvent, Label
from monitoring.results import Window
from monitoring.storage.database import Database, as_bytes, as_bytes_or_none, as_int, as_int_or_none
from monitoring.storage.rows import (
    EarlyLabel,
    SampledRow,
    StoredPrediction,
    StoredRow,
    decode,
    encode,
)

Key = tuple[str, str]  # model, version
_Place = tuple[str, int]  # prediction id, row

_SWEEP = """DELETE FROM predictions WHERE (prediction_id, row) IN (
    SELECT prediction_id, row FROM predictions
    WHERE model = ? AND version = ? AND start < ? AND body {} LIMIT ?)"""
_SWEEP_EARLY = """DELETE FROM early_labels WHERE (prediction_id, row) IN (
    SELECT prediction_id, row FROM early_labels WHERE received < ? LIMIT ?)"""


class Predictions:
    """Not for use outside a transaction, and good for one: `forget` everything at its end."""

    def __init__(self, database: Database) -> None:
        """Rows and labels in `database`."""
        self._database = database
        self._added: dict[_Place, StoredRow] = {}  # not written yet
        self._sampled: dict[int, StoredRow] = {}  # those among them with values, by hash
        self._evicted: list[tuple[object, ...]] = []
        self._labelled: dict[_Place, bytes] = {}
        self._known: dict[
            _Place, StoredPrediction
        ] = {}  # as they lie in the database, and their new labels
        self._searched: set[str] = set()  # ids of which the database has no rows but the known
        self._early: dict[str, dict[int, EarlyLabel]] = {}  # labels that wait, of the ids looked up
        self._regrouped: set[str] = set()  # those of them that are to be written
        found = database.one("SELECT until FROM horizons WHERE name = 'early_labels'")
        # Labels that were received before it wait no more.
        self.early_until = 0 if found is None else as_int(found[0])

    def prefetch(self, events: Iterable[Event | UnreadableEvent]) -> None:
        """Read what these events bear on."""
        labels: set[str] = set()
        others: set[str] = set()
        for event in events:
            if not isinstance(event, UnreadableEvent):
                (labels if isinstance(event, FeedbackEvent) else others).add(event.prediction_id)
        self._search(labels)
        self._look_for_early(labels | others)

    def add_row(self, row: StoredRow) -> None:
        """Keep a row; the first of its place holds."""
        self._added.setdefault((row.prediction_id, row.row), row)
        if row.body is not None and row.number is not None:
            self._sampled[row.number] = row

    def evict(self, key: Key, start: int, number: int) -> None:
        """Drop the values of the row with this hash; its label may still come."""
        fresh = self._sampled.get(number)
        if fresh is not None and (fresh.model, fresh.version, fresh.start) == (*key, start):
            fresh.body = None
        else:
            self._evicted.append((*key, start, number))

    def evict_above(self, key: Key, window: Window, largest: int) -> None:
        """Drop the values of a window's rows whose hash is larger; their labels may still come."""
        self.flush()
        self._database.do(
            "UPDATE predictions SET body = NULL WHERE model = ? AND version = ? "
            "AND start >= ? AND start < ? AND hash > ? AND body IS NOT NULL",
            *key, window.start, window.end, largest,
        )  # fmt: skip

    def find(self, prediction_id: str, row: int) -> StoredPrediction | None:
        """The row that a label speaks of."""
        self._search({prediction_id})
        place = prediction_id, row
        known = self._known.get(place)
        if known is None and (added := self._added.get(place)) is not None:
            label = None if added.label is None else decode(added.label)
            known = StoredPrediction(
                added.model,
                added.version,
                added.start,
                added.number is None,
                label,
                added.time,
                added.predicted,
            )
        return known

    def add_label(self, prediction_id: str, row: int, label: Label) -> None:
        """Join a label to its row."""
        self._search({prediction_id})
        place, encoded = (prediction_id, row), encode(label)
        known = self._known.get(place)
        if known is not None:
            known.label = label
            self._labelled[place] = encoded
        elif (added := self._added.get(place)) is not None:
            added.label = encoded

    def add_early_label(self, prediction_id: str, row: int, early: EarlyLabel) -> bool:
        """Let a label wait for its prediction; False where one waits already, which then holds."""
        self._look_for_early({prediction_id})
        waiting = self._early[prediction_id]
        if row in waiting and waiting[row].received >= self.early_until:
            return False
        waiting[row] = early
        self._regrouped.add(prediction_id)
        return True

    def pop_early_labels(self, prediction_id: str) -> dict[int, EarlyLabel]:
        """The labels that waited for this prediction, by row."""
        self._look_for_early({prediction_id})
        waiting = self._early[prediction_id]
        if waiting:
            self._early[prediction_id] = {}
            self._regrouped.add(prediction_id)
        return {row: one for row, one in waiting.items() if one.received >= self.early_until}

    def expire_early_labels(self, until: int) -> int:
        """Have no label wait any more that was received before; how many no longer do."""
        self.flush()
        before, self.early_until = self.early_until, until
        found = self._database.one(
            "SELECT count(*) FROM early_labels WHERE received >= ? AND received < ?", before, until
        )
        assert found is not None
        return as_int(found[0])

    def sampled_hashes(self, key: Key, window: Window) -> list[int]:
        """The hashes of the rows that a window keeps."""
        self.flush()
        found = self._database.all(
            "SELECT hash FROM predictions "
            "WHERE model = ? AND version = ? AND start >= ? AND start < ? AND body IS NOT NULL",
            *key,
            window.start,
            window.end,
        )
        return [as_int(number) for (number,) in found]

    def sampled_rows(self, key: Key, window: Window) -> list[SampledRow]:
        """The sampled rows, in the order of their hashes."""
        self.flush()
        found = self._database.all(
            "SELECT body, label, time, prediction_id, row FROM predictions "
            "WHERE model = ? AND version = ? AND start >= ? AND start < ? AND body IS NOT NULL "
            "ORDER BY hash",
            *key,
            window.start,
            window.end,
        )
        return [
            SampledRow(
                as_bytes(body),
                as_bytes_or_none(label),
                (as_int_or_none(time) or 0, str(prediction_id), as_int(row)),
            )
            for body, label, time, prediction_id, row in found
        ]

    def smallest_rows(self, key: Key, window: Window, limit: int) -> list[bytes]:
        """The values of at most `limit` sampled rows, by smallest hash, in the order of time."""
        self.flush()
        found = self._database.all(
            "SELECT body FROM (SELECT body, time, prediction_id, row FROM predictions "
            "WHERE model = ? AND version = ? AND start >= ? AND start < ? AND body IS NOT NULL "
            "ORDER BY hash LIMIT ?) AS kept ORDER BY time, prediction_id, row",
            *key, window.start, window.end, limit,
        )  # fmt: skip
        return [as_bytes(body) for (body,) in found]

    def delete_early_labels(self, limit: int) -> int:
        """Delete labels that wait no more, at most `limit`; how many there were."""
        return self._database.do(_SWEEP_EARLY, self.early_until, limit)

    def delete_rows(self, key: Key, until: int, limit: int) -> int:
        """Delete rows outside the samples whose windows begin before; how many there were."""
        return self._database.do(_SWEEP.format("IS NULL"), *key, until, limit)

    def delete_samples(self, key: Key, until: int, limit: int) -> int:
        """Delete the samples of windows that begin before; how many rows there were."""
        return self._database.do(_SWEEP.format("IS NOT NULL"), *key, until, limit)

    def flush(self) -> None:
        """Bring into the database what is not there yet."""
        if self._added:
            self._add()
        self._database.many(
            "UPDATE predictions SET body = NULL WHERE model = ? AND version = ? AND start = ? "
            "AND hash = ? AND body IS NOT NULL",
            self._evicted,
        )
        self._database.many(
            "UPDATE predictions SET label = ? WHERE prediction_id = ? AND row = ?",
            [(label, *place) for place, label in self._labelled.items()],
        )
        self._evicted.clear()
        self._labelled.clear()
        if self._regrouped:
            self._regroup()

    def reset(self) -> None:
        """Write, and know nothing any more."""
        self.flush()
        self._known.clear()
        self._searched.clear()
        self._early.clear()

    def _add(self) -> None:
        self._database.many(
            "INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [msgspec.structs.astuple(row) for row in self._added.values()],
        )
        self._searched.difference_update([prediction_id for prediction_id, _ in self._added])
        self._added.clear()
        self._sampled.clear()

    def _regroup(self) -> None:
        names = sorted(self._regrouped)
        self._database.many(
            "DELETE FROM early_labels WHERE prediction_id = ?", [(name,) for name in names]
        )
        self._database.many(
            "INSERT INTO early_labels (prediction_id, row, label, time, received) "
            "VALUES (?, ?, ?, ?, ?)",
            [
                (name, row, early.label, early.time, early.received)
                for name in names
                for row, early in self._early[name].items()
                if early.received >= self.early_until
            ],
        )
        self._regrouped.clear()

    def _search(self, prediction_ids: set[str]) -> None:
        """Know every row of these that the database has."""
        missing = prediction_ids - self._searched
        if not missing:
            return
        found = self._database.among(
            "SELECT prediction_id, row, model, version, start, hash, label, time, told "
            "FROM predictions WHERE prediction_id IN (...)",
            missing,
        )
        for prediction_id, row, model, version, start, number, label, time, predicted in found:
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

    def _look_for_early(self, prediction_ids: set[str]) -> None:
        """Know every label that waits for one of these."""
        missing = {name for name in prediction_ids if name not in self._early}
        if not missing:
            return
        self._early.update((name, {}) for name in missing)
        if self._database.one("SELECT 1 FROM early_labels LIMIT 1") is None:
            return
        found = self._database.among(
            "SELECT prediction_id, row, label, time, received FROM early_labels "
            "WHERE prediction_id IN (...)",
            missing,
        )
        for prediction_id, row, label, time, received in found:
            waiting = EarlyLabel(as_bytes(label), as_int_or_none(time), as_int(received))
            self._early[str(prediction_id)][as_int(row)] = waiting
