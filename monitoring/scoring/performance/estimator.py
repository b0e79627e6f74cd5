"""Estimate performance before labels arrive.

Classification uses confidence-based performance estimation (CBPE, as published by NannyML).
Isotonic regression calibrates each class's probability on the reference. An unlabelled row then
counts once per class, weighted by the class's calibrated probability. For a regression, gradient
boosting is trained on the reference to predict the model's absolute and squared errors.

A score is a class's probability according to the model. Scores outside the range of the reference
are extrapolated, because a calibrated probability is clipped there. If the label's true probability
grows with the score, it is between the probability of the outermost reference rows and certainty.
If more rows than usual are extrapolated, the metrics computed with these two probabilities bound
the estimate. A regression's errors have no such bounds, so its estimate is withheld.

Both methods account for changes of the inputs. Neither can detect concept drift. Under concept
drift, estimated and measured performance differ, which `estimate_gap.py` scores.
"""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from monitoring.scoring.drift.null_distribution import DRAWS, BlockBootstrap, size_class
from monitoring.scoring.feature_values import categories, numbers_of
from monitoring.scoring.performance.metrics import (
    LabelledRows,
    Metrics,
    classification,
    labelled_rows,
    regression,
)
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES, Array
from monitoring.significant_digits import significant

_DRAWS = 50  # number of drawn windows
# Maximum rows of a drawn window. The spread of larger windows is extrapolated: it falls with the
# square root of the number of rows.
_MOST = 2_000
_SEED = 20130101
_OUTER = 0.01  # share of the reference that forms the outer rows at each end
_USUAL = 3.0  # multiple of the usual share of outer rows above which the estimate gets bounds
_MOST_EXTRAPOLATED = 0.1  # share of a regression's rows above which there is no estimate
_ERRORS = 2.0  # standard errors below the share of labels among the outer rows


# Kind of deviation: "error" is the estimate minus the measured value of the same window. "label" is
# the measured value, and "estimate" the estimate, each minus its value in the whole reference.
Spread = Literal["error", "label", "estimate"]


class Outer(msgspec.Struct, frozen=True):
    """The outer reference rows of one class, with bounds of the class's probability there."""

    low: float  # scores below this score are extrapolated
    high: float  # scores above this score are extrapolated
    below: float  # upper bound of the class's probability for scores below `low`
    above: float  # lower bound of the class's probability for scores above `high`

    @classmethod
    def of(cls, score: Array, in_class: Array) -> "Outer":
        """Compute the bounds; `in_class` marks the reference rows of the class."""
        order, count = np.argsort(score, kind="stable"), max(MIN_VALUES, int(_OUTER * len(score)))
        first, last = order[:count], order[-count:]
        return cls(
            low=float(score[first].max()),
            high=float(score[last].min()),
            below=1 - _least_certain(~in_class[first]),
            above=_least_certain(in_class[last]),
        )

    def beyond(self, score: Array) -> Array:
        """Return for each score whether it is extrapolated."""
        outside: Array = (score < self.low) | (score > self.high)
        return outside

    def bounded(self, score: Array, calibrated: Array, *, certain: bool) -> Array:
        """Replace extrapolated probabilities by 0 or 1 if `certain`, else by the bounds."""
        below, above = (0.0, 1.0) if certain else (self.below, self.above)
        inner: Array = np.where(score > self.high, above, calibrated)
        return np.where(score < self.low, below, inner)


class PerformanceEstimator:
    """Estimates the performance of one version's windows; calibrated once on its reference."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the version; nothing is trained before the first estimate."""
        self._baseline = baseline
        self._spreads = cache(self._measure)

    @cached_property
    def possible(self) -> bool:
        """Whether performance can be estimated: for regressions and models with probabilities."""
        regression = self._baseline.manifest.task == "regression"
        return regression or bool(self._baseline.probabilities)

    def figures(self, window: pd.DataFrame) -> Metrics:
        """Estimate the metrics of these rows; their labels are not used."""
        if self._baseline.manifest.task == "regression":
            return self._errors(window)
        rows = labelled_rows(self._baseline, window, label=None)
        finite = rows.select(np.isfinite(np.array(list(rows.scores.values()))).all(axis=0))
        return classification(self._repeated_by_class(finite)) if len(finite.predicted) else {}

    def bounds(self, window: pd.DataFrame) -> Sequence[Metrics]:
        """Return the metrics with both extreme probabilities of extrapolated rows.

        The result is empty if no more rows than usual are extrapolated.
        """
        if self._baseline.manifest.task == "regression":
            return ()
        rows = labelled_rows(self._baseline, window, label=None)
        finite = rows.select(np.isfinite(np.array(list(rows.scores.values()))).all(axis=0))
        if not len(finite.predicted) or self._beyond(finite) <= _USUAL * self._usually_beyond:
            return ()
        return [
            classification(self._repeated_by_class(finite, certain=side)) for side in (False, True)
        ]

    def withheld(self, window: pd.DataFrame) -> str:
        """Return why these rows have no estimate, or "" if they have an estimate."""
        if self._baseline.manifest.task != "regression":
            return ""
        beyond = self._outside(self._columns(window))
        if beyond <= _MOST_EXTRAPOLATED + self._usually_beyond:
            return ""
        return f"not estimated: {beyond:.0%} of the rows are outside the reference's range"

    def _beyond(self, rows: LabelledRows) -> float:
        """Return the share of rows with an extrapolated score."""
        scores = self._judged_scores(rows.scores)
        outside = [self._outer[name].beyond(score) for name, score in scores.items()]
        return float(np.mean(np.any(outside, axis=0)))

    def _judged_scores(self, scores: Mapping[int, Array]) -> Mapping[int, Array]:
        positive = self._baseline.positive_class
        return scores if positive is None else {positive: scores[positive]}

    @cached_property
    def _usually_beyond(self) -> float:
        if self._baseline.manifest.task == "regression":
            return self._outside(self._columns(self._baseline.frame))
        return max(self._beyond(self._reference), 2 * _OUTER)

    @cached_property
    def _outer(self) -> dict[int, Outer]:
        reference = self._reference
        return {
            name: Outer.of(score, reference.actual == name)
            for name, score in reference.scores.items()
        }

    def _outside(self, columns: Array) -> float:
        """Return the share of rows with a prediction or feature outside the reference's range."""
        low, high = self._range
        return float(np.mean(((columns < low) | (columns > high)).any(axis=1)))

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        columns = self._columns(self._baseline.frame)
        empty = np.isnan(columns).all(axis=0)
        columns = np.where(empty, 0.0, columns)
        low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
        return np.where(empty, -np.inf, low), np.where(empty, np.inf, high)

    def _repeated_by_class(
        self, rows: LabelledRows, *, certain: bool | None = None
    ) -> LabelledRows:
        """Repeat every row for each class, weighted by the class's calibrated probability.

        `certain` selects an extreme probability for extrapolated rows. If it is None, extrapolated
        rows have their calibrated probability.
        """
        chances = self._chances(rows.scores, certain=certain)
        names, count = list(chances), len(rows.predicted)
        return LabelledRows(
            np.repeat(names, count),
            np.tile(rows.predicted, len(names)),
            {name: np.tile(score, len(names)) for name, score in rows.scores.items()},
            rows.positive,
            np.concatenate([chances[name] for name in names]),
        )

    def spread(self, name: str, rows: int, kind: Spread = "error") -> float | None:
        """Return a metric's root mean square deviation by chance in windows of `rows` rows.

        Return None if the metric has no such deviation.
        """
        drawn = size_class(min(rows, _MOST))
        measured = self._spreads(drawn)[kind].get(name)
        return None if measured is None else measured * (drawn / rows) ** 0.5

    def _chances(
        self, scores: Mapping[int, Array], *, certain: bool | None = None
    ) -> dict[int, Array]:
        calibrated = {name: self._calibrators[name].predict(s) for name, s in scores.items()}
        if certain is not None:
            calibrated = {
                name: self._outer[name].bounded(scores[name], probabilities, certain=certain)
                for name, probabilities in calibrated.items()
            }
        if self._baseline.positive_class is not None:
            name = self._baseline.positive_class
            other = next(candidate for candidate in scores if candidate != name)
            return {name: calibrated[name], other: 1 - calibrated[name]}
        total = np.sum(list(calibrated.values()), axis=0)
        even = 1 / len(calibrated)
        return {
            name: np.divide(c, total, out=np.full_like(c, even), where=total > 0)
            for name, c in calibrated.items()
        }

    @cached_property
    def _calibrators(self) -> dict[int, IsotonicRegression]:
        reference = self._reference
        return {
            name: IsotonicRegression(out_of_bounds="clip").fit(score, reference.actual == name)
            for name, score in reference.scores.items()
        }

    @cached_property
    def _reference(self) -> LabelledRows:
        return labelled_rows(self._baseline, self._baseline.frame, self._baseline.manifest.target)

    def _errors(self, window: pd.DataFrame) -> Metrics:
        columns = self._columns(window)
        absolute, squared = self._error_models
        # With one thread, numbers are added in the same order on every machine.
        with threadpool_limits(1, "openmp"):
            mae = float(np.mean(absolute.predict(columns)))
            mse = float(np.mean(squared.predict(columns)))
        return {"mae": significant(mae, 6), "rmse": significant(max(mse, 0.0) ** 0.5, 6)}

    @cached_property
    def _error_models(self) -> tuple[Any, Any]:
        reference = self._reference
        error = reference.predicted - reference.actual
        columns = self._columns(self._baseline.frame)[np.isfinite(error)]
        error = error[np.isfinite(error)]
        settings: dict[str, Any] = {"random_state": _SEED, "early_stopping": False, "max_iter": 60}
        with threadpool_limits(1, "openmp"):
            absolute = HistGradientBoostingRegressor(**settings).fit(columns, np.abs(error))
            squared = HistGradientBoostingRegressor(**settings).fit(columns, error**2)
        return absolute, squared

    def _columns(self, frame: pd.DataFrame) -> Array:
        """Return prediction and features as numbers [rows, columns]; categories become indices."""
        columns = [numbers_of(frame[self._baseline.own.prediction])]
        for feature in self._baseline.manifest.features:
            values = frame[feature.name]
            if feature.kind == "numeric":
                columns.append(numbers_of(values))
            else:
                codes_by_name = self._baseline.categories(feature.name)
                codes = categories(values).map(codes_by_name)
                columns.append(codes.to_numpy(dtype=float))
        return np.column_stack(columns)

    def _measure(self, rows: int) -> dict[Spread, dict[str, float]]:
        """Measure all spreads on windows of `rows` rows that are drawn from the reference."""
        frame, reference = self._baseline.frame, self._reference
        measure = regression if self._baseline.manifest.task == "regression" else classification
        whole = measure(reference.select(np.arange(len(frame))))
        resampling = BlockBootstrap(len(frame), rows)
        expected = self.figures(frame) if self.possible else {}
        differences: dict[Spread, dict[str, list[float]]] = {
            "error": {},
            "label": {},
            "estimate": {},
        }
        for draw in range(0, DRAWS, DRAWS // _DRAWS):
            drawn, _ = resampling.rows(draw)
            real = measure(reference.select(drawn))
            estimated = self.figures(frame.iloc[drawn]) if self.possible else {}
            _add_differences(differences["error"], estimated, real)
            _add_differences(differences["label"], real, whole)
            _add_differences(differences["estimate"], estimated, expected)
        return {kind: _spread(values) for kind, values in differences.items()}


def _least_certain(hits: Array) -> float:
    """Return a lower bound of the share of hits (Agresti and Coull 1998)."""
    rows = len(hits) + 2
    share = (float(np.sum(hits)) + 1) / rows
    return max(0.0, share - _ERRORS * float(np.sqrt(share * (1 - share) / rows)))


def _add_differences(
    differences: dict[str, list[float]], figures: Metrics, others: Metrics
) -> None:
    for name, value in figures.items():
        other = others.get(name)
        if value is not None and other is not None:
            differences.setdefault(name, []).append(value - other)


def _spread(differences: dict[str, list[float]]) -> dict[str, float]:
    return {
        name: float(np.sqrt(np.mean(np.square(values)))) for name, values in differences.items()
    }
