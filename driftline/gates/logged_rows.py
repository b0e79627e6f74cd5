"""A uniform sample of a model's logged rows, with their labels."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from heapq import heappush, heapreplace
from typing import Any, NamedTuple

import pandas as pd

from driftline.gates.context import NotEnoughData
from driftline.logged_events import LogPlace, logged_events, received_since
from driftline.logged_periods import Period, read_period
from eventlog.events import Event, FeedbackEvent, Label, PredictionEvent
from registry.errors import InvalidFeatures
from registry.feature_tensors import to_columns
from registry.labels import classes_of, read_label
from registry.manifest import Manifest
from registry.payload import withheld
from telemetry.clock import DAY

RowId = tuple[str, int]  # prediction id, row
_Sampled = tuple[int, str, int, PredictionEvent]  # negative hash, prediction id, row, event


class LoggedRows(NamedTuple):
    """Rows of logged requests, ordered by time."""

    frame: pd.DataFrame  # features of candidate and champion, one line per row
    ids: list[RowId]  # one per row
    labels: list[Label | None]  # one per row
    note: str  # number and period of the rows, as text


def read_logged_rows(  # noqa: PLR0913  # one argument per criterion
    log: LogPlace,
    model: str,
    manifests: Mapping[str, Manifest],
    rerun_manifests: Mapping[str, Manifest],
    *,
    period: Period,
    most: int,
) -> LoggedRows:
    """Sample rows of a period and join their labels; raises NotEnoughData if there are no rows.

    `manifests` has the manifest of every version, by number. Requests are excluded if their version
    is not in `manifests`, or if the version's payload policy hides features. `rerun_manifests` has
    the manifests of the versions that will run the rows. Rows with the smallest hashes are
    selected, so equal logs have equal samples.
    """
    sampled = read_period(
        log, period, lambda events: _sample(events, model, manifests, period, most)
    )
    if not sampled:
        raise NotEnoughData(
            f"the log has no answered request of {model} whose inputs were logged unchanged"
        )
    sampled.sort(key=lambda row: (row[3].time, row[1], row[2]))
    rows, ids = _columns(sampled, rerun_manifests)
    if not ids:
        raise NotEnoughData("no logged request has the features of both versions")
    candidate = rerun_manifests["candidate"]
    received = min(event.received for _, _, _, event in sampled)
    labels = labels_of(log, set(ids), candidate, received)
    first, last = sampled[0][3].time, sampled[-1][3].time
    note = (
        f"{len(ids):,} rows from {_date(first)} to {_date(last)}, {len(labels):,} of them labelled"
    )
    if unfit := len(sampled) - len(ids):
        note += f"; {unfit:,} more do not have the features of both versions"
    return LoggedRows(pd.DataFrame(rows), ids, [labels.get(row_id) for row_id in ids], note)


def _sample(
    events: Iterable[Event],
    model: str,
    manifests: Mapping[str, Manifest],
    period: Period,
    most: int,
) -> tuple[list[_Sampled], int | None]:
    """Return the period's rows with the smallest hashes, and its last day that has rows."""
    by_day: dict[int, list[_Sampled]] = {}
    unchanged = {number for number, manifest in manifests.items() if not withheld(manifest)}
    for event in events:
        if (
            not isinstance(event, PredictionEvent)
            or event.model != model
            or not event.online
            or event.outcome != "ok"
            or event.payload != "kept"
            or event.version not in unchanged
        ):
            continue
        day = event.time // DAY
        if day not in by_day:
            by_day[day] = []
            for other in period.outside(by_day):
                del by_day[other]
        if (day_rows := by_day.get(day)) is not None:
            for row in range(event.rows):
                _keep_smallest(
                    day_rows, (-row_hash(event.joined_by, row), event.joined_by, row, event), most
                )
    together: list[_Sampled] = []
    for day_rows in by_day.values():
        for sampled_row in day_rows:
            _keep_smallest(together, sampled_row, most)
    return together, max(by_day, default=None)


def _keep_smallest(heap: list[_Sampled], row: _Sampled, most: int) -> None:
    """Add a row to a heap of at most `most` rows with the smallest hashes."""
    if len(heap) < most:
        heappush(heap, row)
    elif row[:3] > heap[0][:3]:
        heapreplace(heap, row)


def _columns(
    sampled: list[_Sampled], rerun_manifests: Mapping[str, Manifest]
) -> tuple[dict[str, list[Any]], list[RowId]]:
    """Return the features and ids of the rows that have all features."""
    names = list(
        dict.fromkeys(f.name for manifest in rerun_manifests.values() for f in manifest.features)
    )
    columns: dict[str, list[Any]] = {name: [] for name in names}
    ids: list[RowId] = []
    decoded: dict[str, dict[str, list[Any]] | None] = {}
    for _, prediction_id, row, event in sampled:
        if prediction_id not in decoded:
            decoded[prediction_id] = features_of(event, rerun_manifests)
        features = decoded[prediction_id]
        if features is None or any(row >= len(values) for values in features.values()):
            continue
        ids.append((prediction_id, row))
        for name in names:
            columns[name].append(features[name][row])
    return columns, ids


def features_of(
    event: PredictionEvent, rerun_manifests: Mapping[str, Manifest]
) -> dict[str, list[Any]] | None:
    """Return the logged values of every feature, or None if the event lacks a feature."""
    columns: dict[str, list[Any]] = {}
    try:
        for manifest in rerun_manifests.values():
            columns |= to_columns(manifest, event.inputs)
    except InvalidFeatures:
        return None
    return columns


def labels_of(
    log: LogPlace, rows: set[RowId], manifest: Manifest, received: int
) -> dict[RowId, Label]:
    """Return the label of each row, if it is a label that the version can predict.

    The label is the row's first label or, if the row was reviewed, the newest decision. Rows that
    only a review labelled are excluded: reviews select rows with unequal probabilities, but all
    rows here have equal weights. The log is read from time `received`, when the first of the rows
    was received.
    """
    classes = classes_of(manifest)
    labels: dict[RowId, Label] = {}
    decided: dict[RowId, Label] = {}
    for event in logged_events(log, received_since(log, received)):
        if not isinstance(event, FeedbackEvent):
            continue
        place = (event.joined_by, event.row)
        if event.review == "undo":
            decided.pop(place, None)
            continue
        labels_so_far = decided if event.review else labels
        if place in rows and (event.review or place not in labels):
            label = read_label(event.label, classes)
            if label is not None:
                labels_so_far[place] = label
    return labels | {place: label for place, label in decided.items() if place in labels}


def row_hash(prediction_id: str, row: int) -> int:
    """Return the hash by which rows are selected for samples."""
    digest = blake2b(f"{prediction_id}:{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _date(time: int) -> str:
    return str(pd.Timestamp(time, unit="us").date())
