"""Find rows of two versions in the log: run by a shadow, or answered by each for its callers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from driftline.gates.context import NotEnoughData
from driftline.gates.logged_rows import RowId, features_of, labels_of, row_hash
from driftline.gates.paired_rows import PairedRows
from driftline.logged_events import LogPlace, logged_events, predicted_since
from driftline.logged_periods import Period, read_period
from eventlog.events import Event, PredictionEvent
from monitoring.comparisons import VersionTraffic
from monitoring.counters.plain_values import category, number
from monitoring.scoring.parity.rerun import RerunPredictions
from registry.manifest import Manifest, Version
from registry.outputs import label_output, probabilities_output
from telemetry.clock import DAY

Array = np.ndarray[Any, Any]
_MOST_TIMES = 500_000  # maximum number of durations per version for the quantiles
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class LoggedSides(NamedTuple):
    """The logged events of two versions in a period."""

    answered: dict[str, dict[RowId, PredictionEvent]]  # answered rows of each version
    shadowed: dict[RowId, PredictionEvent]  # rows of the second version as a shadow
    originals: dict[RowId, PredictionEvent]  # the first version's answers to these rows
    traffic: list[VersionTraffic]
    days: tuple[int, int]  # first and last day, as days since the epoch


def read_sides(
    log: LogPlace, first: Version, second: Version, period: Period, most: int
) -> LoggedSides:
    """Read the log twice: first its days, then the events of both versions in the period.

    The rows with the smallest hashes are selected, so a shadow and the version whose requests it
    runs on have the same rows. Raises NotEnoughData for a log without requests.
    """

    def read_days(events: Iterable[Event]) -> tuple[set[int], int | None]:
        logged_days = {
            event.time // DAY
            for event in _predictions(events, first.model)
            if event.version in {first.number, second.number}
        }
        return logged_days, max(logged_days, default=None)

    days = read_period(log, period, read_days)
    retained = days.difference(period.outside(days)) if days else set()
    if not retained:
        raise NotEnoughData(
            f"the log has no request of {first.model} that version {first.number} or "
            f"{second.number} answered in this period"
        )
    sides = {first.number: _Side(most), second.number: _Side(most)}
    shadow = _Side(most)
    start = predicted_since(log, min(retained) * DAY)
    for event in _predictions(logged_events(log, start), first.model):
        if event.version not in sides or event.time // DAY not in retained:
            continue
        if event.protocol == "shadow":
            if event.version == second.number:
                shadow.include(event)
        elif event.online:
            sides[event.version].include(event)
    second_traffic = sides[second.number].traffic(second.number)
    traffic = [
        sides[first.number].traffic(first.number),
        shadow.as_shadow(second_traffic),
    ]
    reread = logged_events(log, start)  # a shadow's event has the time of its original
    originals = _originals(reread, first, set(shadow.rows)) if shadow.rows else {}
    return LoggedSides(
        {name: side.rows for name, side in sides.items()},
        {row: shadow.rows[row] for row in originals},
        originals,
        traffic,
        (min(retained), max(retained)),
    )


def shadow_pairs(log: LogPlace, sides: LoggedSides, first: Version, second: Version) -> PairedRows:
    """Return the rows that a shadow ran on, with both predictions; raises NotEnoughData."""
    rows = sorted(sides.shadowed, key=lambda row: (sides.originals[row].time, row))
    frame, row_ids = _features(rows, sides.originals, {"1": first.manifest, "2": second.manifest})
    second_predictions, second_answered = _answers(second.manifest, row_ids, sides.shadowed)
    first_predictions, first_answered = _answers(first.manifest, row_ids, sides.originals)
    answered = second_answered & first_answered
    if not answered.any():
        raise NotEnoughData(
            f"no shadow of version {second.number} ran on requests that version {first.number} "
            "answered in this period"
        )
    received = min(event.received for event in sides.originals.values())
    labels = labels_of(log, set(row_ids), second.manifest, received)
    paired = PairedRows(
        frame,
        [labels.get(row) for row in row_ids],
        second,
        candidate_predictions=second_predictions,
        champion_predictions=first_predictions,
    )
    return paired.where(answered)


def answered_rows(log: LogPlace, sides: LoggedSides, version: Version) -> PairedRows:
    """Return the rows that a version answered for its callers; raises NotEnoughData."""
    answered = sides.answered[version.number]
    rows = sorted(answered, key=lambda row: (answered[row].time, row))
    frame, row_ids = _features(rows, answered, {"1": version.manifest})
    predictions, has_answer = _answers(version.manifest, row_ids, answered)
    if not has_answer.any():
        raise NotEnoughData(f"version {version.number} answered no request in this period")
    received = min(event.received for event in answered.values())
    labels = labels_of(log, set(row_ids), version.manifest, received)
    return PairedRows(
        frame, [labels.get(row) for row in row_ids], version, candidate_predictions=predictions
    ).where(has_answer)


def _originals(
    events: Iterable[Event], first: Version, rows: set[RowId]
) -> dict[RowId, PredictionEvent]:
    """Return the version's own predictions for the rows that a shadow ran on."""
    event_ids = {name for name, _ in rows}
    originals: dict[RowId, PredictionEvent] = {}
    for event in _predictions(events, first.model):
        if event.version != first.number or not event.online or event.joined_by not in event_ids:
            continue
        if event.outcome == "ok" and event.payload == "kept":
            row_ids = ((event.joined_by, row) for row in range(event.rows))
            originals |= {row: event for row in row_ids if row in rows}
    return originals


class _Side:
    """One version's rows with the smallest hashes, and the durations of its requests."""

    def __init__(self, most: int) -> None:
        self.rows: dict[RowId, PredictionEvent] = {}
        self._most, self._bound = most, 1 << 64
        self._requests = self._failed = 0
        self._total: list[int] = []
        self._run: list[int] = []

    def include(self, event: PredictionEvent) -> None:
        self._requests += 1
        if event.outcome != "ok":
            self._failed += event.outcome == "failed"
            return
        if len(self._total) < _MOST_TIMES and not event.cache_hit:
            self._total.append(event.total_us)
            self._run.append(event.run_us)
        if event.payload != "kept":
            return
        for row in range(event.rows):
            if row_hash(event.joined_by, row) < self._bound:
                self.rows[event.joined_by, row] = event
        if len(self.rows) > 2 * self._most:
            self._shrink()

    def _shrink(self) -> None:
        order = sorted(self.rows, key=lambda row: row_hash(*row))
        self._bound = row_hash(*order[self._most])
        self.rows = {row: self.rows[row] for row in order[: self._most]}

    def traffic(self, number: str) -> VersionTraffic:
        if len(self.rows) > self._most:
            self._shrink()
        return VersionTraffic(
            number, self._requests, self._failed, _quantiles(self._total), _quantiles(self._run)
        )

    def as_shadow(self, traffic: VersionTraffic) -> VersionTraffic:
        return VersionTraffic(
            traffic.version, traffic.requests, traffic.failed, traffic.total_ms, traffic.run_ms,
            self._requests, _quantiles(self._run),
        )  # fmt: skip


def _predictions(events: Iterable[Event], model: str) -> Iterable[PredictionEvent]:
    return (
        event for event in events if isinstance(event, PredictionEvent) and event.model == model
    )


def _features(
    rows: Sequence[RowId],
    events: Mapping[RowId, PredictionEvent],
    rerun_manifests: Mapping[str, Manifest],
) -> tuple[pd.DataFrame, list[RowId]]:
    """Return the features of every row that has all of them, and the ids of these rows."""
    names = list(
        dict.fromkeys(f.name for manifest in rerun_manifests.values() for f in manifest.features)
    )
    columns: dict[str, list[Any]] = {name: [] for name in names}
    complete: list[RowId] = []
    decoded: dict[str, dict[str, list[Any]] | None] = {}
    for row in rows:
        event = events[row]
        if row[0] not in decoded:
            decoded[row[0]] = features_of(event, rerun_manifests)
        features = decoded[row[0]]
        if features is None or any(row[1] >= len(values) for values in features.values()):
            continue
        complete.append(row)
        for name in names:
            columns[name].append(features[name][row[1]])
    return pd.DataFrame(columns, columns=names, index=range(len(complete))), complete


def _answers(
    manifest: Manifest, rows: Sequence[RowId], events: Mapping[RowId, PredictionEvent]
) -> tuple[RerunPredictions, Array]:
    """Return each row's logged prediction, and a mask of the rows that have a prediction."""
    prediction = manifest.prediction
    label, chances = label_output(prediction), probabilities_output(prediction)
    values, has_answer = [], np.zeros(len(rows), dtype=bool)
    classes = [category(class_) for class_ in prediction.classes] if chances else []
    table = np.full((len(rows), len(classes)), np.nan)
    for place, (_, row) in enumerate(rows):
        outputs = events[rows[place]].outputs
        listed = outputs[label].values() if label in outputs else []
        answer = listed[row] if row < len(listed) else None
        has_answer[place] = answer is not None
        values.append(answer)
        if classes and chances in outputs:
            part = outputs[chances].values()[row * len(classes) : (row + 1) * len(classes)]
            if len(part) == len(classes):
                table[place] = [number(value) for value in part]
    if manifest.task == "regression":
        numbers = np.array([number(value) for value in values], dtype=float)
        return RerunPredictions(values, score=numbers), has_answer & np.isfinite(numbers)
    by_class = {name: table[:, at] for at, name in enumerate(classes)}
    if classes:
        has_answer &= np.isfinite(table).all(axis=1)
    return RerunPredictions([category(value) for value in values], by_class), has_answer


def _quantiles(times: Sequence[int]) -> dict[str, float]:
    if not times:
        return {}
    quantiles = np.quantile(np.asarray(times, dtype=float) / 1_000, list(_QUANTILES.values()))
    return {name: round(float(value), 3) for name, value in zip(_QUANTILES, quantiles, strict=True)}
