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
    """Rows with labels and the predictions of both versions; `champion` is None without one."""

    def __init__(  # noqa: PLR0913  # what belongs to each row
        self,
        frame: pd.DataFrame,
        labels: Sequence[Any],
        candidate: Version,
        *,
        mine: RerunPredictions,
        theirs: RerunPredictions | None = None,
        why_alone: str = "",
    ) -> None:
        """All have one entry a row; `why_alone` states why there is no champion."""
        self.frame = frame
        self.labels = labels
        self.manifest = candidate.manifest
        self.why_alone = why_alone
        self.mine, self.theirs = mine, theirs
        self._version = candidate
        self._codes = _class_codes(candidate.manifest)

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, rows: Array) -> "PairedRows":
        """Return the rows of a mask."""
        return PairedRows(
            self.frame[rows].reset_index(drop=True),
            list(compress(self.labels, rows)),
            self._version,
            mine=select(self.mine, rows),
            theirs=None if self.theirs is None else select(self.theirs, rows),
            why_alone=self.why_alone,
        )

    @cached_property
    def candidate(self) -> LabelledRows:
        """Labels and predictions of the candidate."""
        return self._labelled(self.mine)

    @cached_property
    def champion(self) -> LabelledRows | None:
        """Labels and predictions of the champion."""
        return None if self.theirs is None else self._labelled(self.theirs)

    def figures(self, metric: str) -> Callable[[LabelledRows], Metrics]:
        """Return the function that computes one metric of rows."""
        whole = regression if self.manifest.task == "regression" else classification
        return single_metric(metric, whole)

    def groups(self, segment: Segment) -> tuple[Sequence[str], Array]:
        """Return the names of the groups and each row's group; raises NotEnoughData."""
        policy = SegmentPolicy.of(segment)
        if not has_reference(self._version):
            raise NotEnoughData("the groups of a segment come from a reference, which is missing")
        groups = grouping(Baseline(self._version), policy)
        if not isinstance(groups, Grouping):
            raise NotEnoughData(f"segment {policy.column}: {groups}")
        return groups.named, groups.places(self.frame[policy.column])

    @property
    def codes(self) -> Mapping[str, int]:
        """The index of each class by its text, of those of labels and champion, too."""
        _ = self.candidate, self.champion  # reading them numbers their classes
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
    """Return both versions' predictions on the reference of one; raises NotEnoughData."""
    owner = context.candidate if rows == "candidate" else context.champion
    if owner is None:
        raise NotEnoughData("rows: champion, and no version is champion")
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

    `stored`: the baseline whose frame this is, with the predictions of its version.
    """
    candidate, champion = context.candidate, context.champion
    mine, fits = predict_rows(candidate, frame, stored)
    theirs, why_alone = None, NO_CHAMPION_NOTE
    if champion is not None:
        try:
            their, their_fits = predict_rows(champion, frame, stored)
            theirs, why_alone = select(their, (fits & their_fits)[their_fits]), ""
            mine, fits = select(mine, (fits & their_fits)[fits]), fits & their_fits
        except NotEnoughData as error:
            why_alone = f"the champion cannot be compared: {error}"
    if not fits.any():
        raise NotEnoughData("no row holds what both versions take")
    chosen = list(compress(labels, fits))
    rows = frame[fits].reset_index(drop=True)
    return PairedRows(rows, chosen, candidate, mine=mine, theirs=theirs, why_alone=why_alone)


def predict_rows(
    version: Version, frame: pd.DataFrame, stored: Baseline | None = None
) -> tuple[RerunPredictions, Array]:
    """Return predictions, and a mask of the rows that they are for; raises NotEnoughData."""
    if stored is not None and stored.version.digest == version.digest:
        return _stored(stored), np.ones(len(frame), dtype=bool)
    missing = [f.name for f in version.manifest.features if f.name not in frame]
    if missing:
        raise NotEnoughData(f"version {version.number} takes {missing[0]!r}, which the rows lack")
    rerun = ModelRerun(Baseline(version, frame))
    if not rerun.possible:
        raise NotEnoughData(
            f"version {version.number} takes inputs that are not features, or predicts nothing"
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
    """Return the predictions of the rows of a mask."""
    return RerunPredictions(
        list(compress(predictions.values, rows)),
        {name: values[rows] for name, values in predictions.probabilities.items()},
        None if predictions.score is None else predictions.score[rows],
    )


def columns_of(features: Sequence[Feature], frame: pd.DataFrame) -> Columns:
    """Return the features of a frame as a model takes them."""
    return {f.name: _column(f, frame[f.name]) for f in features}


def _column(feature: Feature, values: "pd.Series[Any]") -> Sequence[Any] | Array:
    if feature.kind == "numeric":
        return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    return [None if pd.isna(value) else value for value in values]


def _select(values: Sequence[Any] | Array, rows: Array) -> Sequence[Any] | Array:
    return values[rows] if isinstance(values, np.ndarray) else list(compress(values, rows))


def _class_codes(manifest: Manifest) -> dict[str, int]:
    return {category(name): place for place, name in enumerate(manifest.prediction.classes)}
