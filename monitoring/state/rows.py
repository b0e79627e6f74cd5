"""A window's rows: how they are kept and handed out."""

from collections.abc import Sequence
from typing import Any

import msgspec

from eventlog.events import Label, PredictionEvent
from eventlog.log import Position
from monitoring.core.results import Result, Rule
from monitoring.scoring.jobs import ScoreJob
from registry.features import to_columns
from registry.manifest import Manifest
from registry.payload import keeping

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class PendingScore(msgspec.Struct, frozen=True):
    """A scoring that was decided on: what is to be scored and what was known at that moment."""

    number: int
    job: ScoreJob
    result: Result  # the counts, without scores
    positions: dict[str, Position]
    judge: list[Rule]  # whose turn it is with this scoring


class StoredRow(msgspec.Struct, frozen=True):
    """One answered row, so that its label finds it."""

    prediction_id: str
    row: int
    model: str
    version: str
    start: int | None  # of its window; None: it came late and is in no window
    number: int  # its hash
    body: bytes | None  # its values, if the window's sample keeps them
    label: bytes | None
    time: int | None  # event time


class Known(msgspec.Struct, frozen=True):
    """A row that a label found."""

    model: str
    version: str
    start: int | None  # None: it came late and is in no window
    label: Label | None
    time: int | None  # event time of the prediction, where it was kept


class Sampled(msgspec.Struct, frozen=True):
    """A row that a window keeps."""

    body: bytes
    label: bytes | None
    place: tuple[int, str, int]  # in the order of event time


class Early(msgspec.Struct, frozen=True):
    """A label that came before its prediction."""

    label: bytes
    time: int | None  # when the truth became known, where it was kept


def columns(manifest: Manifest) -> list[str]:
    """The names of a stored row's values, in their order."""
    classes = manifest.prediction.classes if manifest.prediction.probabilities else []
    features = [feature.name for feature in manifest.features]
    return [*features, "prediction", *(f"probability_{name}" for name in classes)]


def values(manifest: Manifest, event: PredictionEvent) -> list[tuple[Any, ...]]:
    """One tuple per answered row, in the order of `columns`.

    Raises InvalidFeatures (inputs that do not carry the features) or KeyError (an output that is
    not there).
    """
    known = to_columns(keeping(manifest), event.inputs)
    features = [known.get(f.name) or [None] * event.rows for f in manifest.features]
    labels = event.outputs[manifest.prediction.label].values()
    probabilities: Sequence[Sequence[Any]] = []
    if manifest.prediction.probabilities:
        flat = event.outputs[manifest.prediction.probabilities].values()
        width = len(manifest.prediction.classes)
        probabilities = [flat[place::width] for place in range(width)]
    return list(zip(*features, labels, *probabilities, strict=True))


def by_column(
    names: Sequence[str], bodies: Sequence[bytes], labels: Sequence[bytes | None]
) -> dict[str, list[Any]]:
    """Stored rows as columns, with the labels (None where none is known)."""
    rows = [decode(body) for body in bodies]
    table = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    table["label"] = [None if label is None else decode(label) for label in labels]
    return table
