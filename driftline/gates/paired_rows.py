"""Predictions of candidate and champion on the same labelled rows."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext, NotEnoughData
from monitoring.counters.plain_values import category, number
from monitoring.scoring.parity.rerun import Columns, ModelRerun, RerunPredictions
from monitoring.scoring.performance.metrics import (
    LabelledRows,
    Metrics,
    classification,
    regression,
    single_metric,
)
from monitoring.scoring.reference import Baseline
from monitoring.scoring.segments.grouping import Grouping, grouping
from registry.errors import InvalidFeatures, InvalidModel
from registry.gates.specification import Rows, Segment
from registry.manifest import Feature, Manifest, SegmentPolicy, Version
from registry.reference_path import has_reference

Array = np.ndarray[Any, Any]


class PairedRows:
    """Rows with labels and the predictions of both versions, or of the candidate only."""

    def __init__(  # noqa: PLR0913  # one argument per part of the rows
        self,
        frame: pd.DataFrame,
        labels: Sequence[Any],
        candidate: Version,
        *,
        candidate_predictions: RerunPredictions,
        champion_predictions: RerunPredictions | None = None,
        no_champion_reason: str = "",
    ) -> None:
        """Store sequences with one entry per row, and the reason if the champion is missing."""
        self.frame = frame
        self.labels = labels
        self.manifest = candidate.manifest
        self.no_champion_reason = no_champion_reason
        self.candidate_predictions = candidate_predictions
        self.champion_predictions = champion_predictions
        self._version = candidate
        self._codes = _class_codes(candidate.manifest)

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, rows: Array) -> "PairedRows":
        """Return the rows that a mask selects."""
        return PairedRows(
            self.frame[rows].reset_index(drop=True),
            list(compress(self.labels, rows)),
            self._version,
            candidate_predictions=select(self.candidate_predictions, rows),
            champion_predictions=None
            if self.champion_predictions is None
            else select(self.champion_predictions, rows),
            no_champion_reason=self.no_champion_reason,
        )

    @cached_property
    def candidate(self) -> LabelledRows:
        """The labels and the candidate's predictions."""
        return self._labelled(self.candidate_predictions)

    @cached_property
    def champion(self) -> LabelledRows | None:
        """The labels and the champion's predictions, None without a champion."""
        return (
            None if self.champion_predictions is None else self._labelled(self.champion_predictions)
        )

    def figures(self, metric: str) -> Callable[[LabelledRows], Metrics]:
        """Return a function that computes a metric of rows."""
        whole = regression if self.manifest.task == "regression" else classification
        return single_metric(metric, whole)

    def groups(self, segment: Segment) -> tuple[Sequence[str], Array]:
        """Return the names of the groups and each row's group; raises NotEnoughData."""
        policy = SegmentPolicy.of(segment)
        if not has_reference(self._version):
            raise NotEnoughData("a segment needs a reference to form its groups; there is none")
        groups = grouping(Baseline(self._version), policy)
        if not isinstance(groups, Grouping):
            raise NotEnoughData(f"segment {policy.column}: {groups}")
        return groups.named, groups.places(self.frame[policy.column])

    @property
    def codes(self) -> Mapping[str, int]:
        """The index of each class in the manifest, the labels and both versions' predictions."""
        _ = self.candidate, self.champion  # these properties add their classes to the codes
        return self._codes

    def _labelled(self, predictions: RerunPredictions) -> LabelledRows:
        if self.manifest.task == "regression":
            actual = pd.Series(self.labels, dtype=object).map(number).to_numpy(dtype=float)
            return LabelledRows(actual, np.asarray(predictions.score, dtype=float))
        codes, prediction = self._codes, self.manifest.prediction
        by_class = predictions.probabilities.items()
        scores = {codes.setdefault(name, len(codes)): values for name, values in by_class}
        binary = prediction.positive is not None and len(prediction.classes) <= 2
        positive = codes[category(prediction.positive)] if binary else None
        return LabelledRows(
            self._index(self.labels), self._index(predictions.values), scores, positive
        )

    def _index(self, values: Sequence[Any]) -> Array:
        names = [category(value) for value in values]
        places = [self._codes.setdefault(name, len(self._codes)) for name in names]
        return np.array(places, dtype=np.int64)


def reference_rows(context: GateContext, rows: Rows) -> PairedRows:
    """Return both versions' predictions on the reference of either; raises NotEnoughData."""
    owner = context.candidate if rows == "candidate" else context.champion
    if owner is None:
        raise NotEnoughData("rows: champion, but no version is champion")
    if not has_reference(owner):
        raise NotEnoughData(f"version {owner.number} was registered without a reference")
    baseline = Baseline(owner)
    target = context.candidate.manifest.target
    if target not in baseline.frame:
        raise NotEnoughData(f"the reference of version {owner.number} has no column {target!r}")
    return evaluate(context, baseline.frame, baseline.frame[target].tolist(), stored=baseline)


def evaluate(
    context: GateContext,
    frame: pd.DataFrame,
    labels: Sequence[Any],
    stored: Baseline | None = None,
) -> PairedRows:
    """Run both versions on the rows that both can run; raises NotEnoughData.

    `stored` is the baseline from which `frame` is taken, if any, with stored predictions.
    """
    candidate, champion = context.candidate, context.champion
    predictions, fits = predict_rows(candidate, frame, stored)
    champion_predictions, no_champion_reason = None, NO_CHAMPION_NOTE
    if champion is not None:
        try:
            all_predictions, champion_fits = predict_rows(champion, frame, stored)
            both = fits & champion_fits
            champion_predictions = select(all_predictions, both[champion_fits])
            predictions, fits = select(predictions, both[fits]), both
            no_champion_reason = ""
        except NotEnoughData as error:
            no_champion_reason = f"the champion cannot be compared: {error}"
    if not fits.any():
        raise NotEnoughData("no row has valid features of both versions")
    chosen = list(compress(labels, fits))
    rows = frame[fits].reset_index(drop=True)
    return PairedRows(
        rows,
        chosen,
        candidate,
        candidate_predictions=predictions,
        champion_predictions=champion_predictions,
        no_champion_reason=no_champion_reason,
    )


def predict_rows(
    version: Version, frame: pd.DataFrame, stored: Baseline | None = None
) -> tuple[RerunPredictions, Array]:
    """Return predictions, and a mask of the rows that have a prediction; raises NotEnoughData."""
    if stored is not None and stored.version.digest == version.digest:
        return _stored(stored), np.ones(len(frame), dtype=bool)
    missing = [f.name for f in version.manifest.features if f.name not in frame]
    if missing:
        raise NotEnoughData(f"version {version.number} needs {missing[0]!r}, which the rows lack")
    rerun = ModelRerun(Baseline(version, frame))
    if not rerun.possible:
        raise NotEnoughData(
            f"version {version.number} has inputs that are not features, or no prediction"
        )
    columns = columns_of(version.manifest.features, frame)
    fits = rerun.fitting(columns, len(frame))
    chosen = {name: _select(values, fits) for name, values in columns.items()}
    try:
        predictions, sound = rerun.predict(chosen, int(fits.sum()))
    except (InvalidModel, InvalidFeatures) as error:
        raise NotEnoughData(f"version {version.number}: {error}") from None
    fits[np.flatnonzero(fits)[~sound]] = False
    return predictions, fits


def _stored(baseline: Baseline) -> RerunPredictions:
    """Return the predictions that registration stored with the reference."""
    frame, own = baseline.frame, baseline.own
    values = frame[own.prediction]
    if baseline.manifest.task == "regression":
        numbers = values.to_numpy(dtype=float)
        return RerunPredictions(numbers.tolist(), score=numbers)
    scores = {name: frame[at].to_numpy(float) for name, at in baseline.probabilities.items()}
    positive = None if baseline.positive is None else frame[baseline.positive].to_numpy(float)
    return RerunPredictions([category(value) for value in values], scores, positive)


def select(predictions: RerunPredictions, rows: Array) -> RerunPredictions:
    """Return the predictions of the rows that a mask selects."""
    return RerunPredictions(
        list(compress(predictions.values, rows)),
        {name: values[rows] for name, values in predictions.probabilities.items()},
        None if predictions.score is None else predictions.score[rows],
    )


def columns_of(features: Sequence[Feature], frame: pd.DataFrame) -> Columns:
    """Return the features of a DataFrame as columns for a model run."""
    return {f.name: _column(f, frame[f.name]) for f in features}


def _column(feature: Feature, values: "pd.Series[Any]") -> Sequence[Any] | Array:
    if feature.kind == "numeric":
        return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    return [None if pd.isna(value) else value for value in values]


def _select(values: Sequence[Any] | Array, rows: Array) -> Sequence[Any] | Array:
    return values[rows] if isinstance(values, np.ndarray) else list(compress(values, rows))


def _class_codes(manifest: Manifest) -> dict[str, int]:
    return {category(name): place for place, name in enumerate(manifest.prediction.classes)}
