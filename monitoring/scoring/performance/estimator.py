"""Estimate performance before labels arrive.

Classification: confidence-based performance estimation (CBPE, as published by NannyML). Isotonic
regression calibrates each class's probability on the reference. An unlabelled row then counts once
per class, weighted by that class's calibrated probability. Regression: gradient boosting predicts
the model's absolute and squared errors, trained on the reference.

Scores beyond those of the reference are extrapolated: a calibrated probability is clipped there. If
the probability of the label only grows with the score, it lies between that of the outermost
reference rows and certainty. Where more rows than usual lie there, the metrics at both ends bound
the estimate. A regression's errors have no such bound: its estimate is withheld.

Both see a change of the inputs. Neither can see concept drift: then estimate and measured
performance diverge, which `estimate_gap.py` scores.
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

from monitoring.counters.plain_values import category, number
from monitoring.scoring.drift.null_distribution import DRAWS, BlockBootstrap, size_class
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

_DRAWS = 50  # windows
_MOST = (
    2_000  # rows of a drawn window; larger ones are extrapolated from it by the root of their size
)
_SEED = 20130101
_OUTER = 0.01  # share of the reference on either side that bounds what lies beyond it
_USUAL = 3.0  # times the reference's own share of outer rows: more are extrapolated
_MOST_EXTRAPOLATED = 0.1  # share of a regression's rows, above which there is no estimate
_ERRORS = 2.0  # standard errors of the share of labels among the outer rows


# Of the estimate less the truth of the same window; of the truth, and of the estimate, less what it
# is in the whole reference.
Spread = Literal["error", "label", "estimate"]


class Outer(msgspec.Struct, frozen=True):
    """The limit of a class's reference scores, and its least certain share there.

    `low` and `high` are scores; `below` and `above` the bounds of the class's probability.
    """

    low: float
    high: float
    below: float
    above: float

    @classmethod
    def of(cls, score: Array, is_it: Array) -> "Outer":
        """Compute it from the reference's scores of a class, and whether rows have this class."""
        order, count = np.argsort(score, kind="stable"), max(MIN_VALUES, int(_OUTER * len(score)))
        first, last = order[:count], order[-count:]
        return cls(
            low=float(score[first].max()),
            high=float(score[last].min()),
            below=1 - _least_certain(~is_it[first]),
            above=_least_certain(is_it[last]),
        )

    def beyond(self, score: Array) -> Array:
        """Return which scores lie beyond the reference's outer rows."""
        outside: Array = (score < self.low) | (score > self.high)
        return outside

    def bounded(self, score: Array, calibrated: Array, *, certain: bool) -> Array:
        """Replace the probabilities beyond by certainty, or by that of the outer rows."""
        below, above = (0.0, 1.0) if certain else (self.below, self.above)
        inner: Array = np.where(score > self.high, above, calibrated)
        return np.where(score < self.low, below, inner)


class PerformanceEstimator:
    """Estimate performance for one version's windows, calibrated once on its reference."""

    def __init__(self, baseline: Baseline) -> None:
        """Nothing is trained before the first estimate."""
        self._baseline = baseline
        self._spreads = cache(self._measure)

    @cached_property
    def possible(self) -> bool:
        """Whether the model returns probabilities, or is a regression."""
        regression = self._baseline.manifest.task == "regression"
        return regression or bool(self._baseline.probabilities)

    def figures(self, window: pd.DataFrame) -> Metrics:
        """Estimate the metrics of these rows; their labels are not used."""
        if self._baseline.manifest.task == "regression":
            return self._errors(window)
        rows = labelled_rows(self._baseline, window, label=None)
        finite = rows.select(np.isfinite(np.array(list(rows.scores.values()))).all(axis=0))
        return classification(self._likely(finite)) if len(finite.predicted) else {}

    def bounds(self, window: pd.DataFrame) -> Sequence[Metrics]:
        """Return the metrics at both ends of what extrapolated rows may be; empty without any."""
        if self._baseline.manifest.task == "regression":
            return ()
        rows = labelled_rows(self._baseline, window, label=None)
        finite = rows.select(np.isfinite(np.array(list(rows.scores.values()))).all(axis=0))
        if not len(finite.predicted) or self._beyond(finite) <= _USUAL * self._usually_beyond:
            return ()
        return [classification(self._likely(finite, certain=side)) for side in (False, True)]

    def withheld(self, window: pd.DataFrame) -> str:
        """Return why these rows have no estimate; empty if they have one."""
        if self._baseline.manifest.task != "regression":
            return ""
        beyond = self._outside(self._columns(window))
        if beyond <= _MOST_EXTRAPOLATED + self._usually_beyond:
            return ""
        return f"not estimated: {beyond:.0%} of the rows lie outside of the reference"

    def _beyond(self, rows: LabelledRows) -> float:
        """Return the share of rows with a score beyond the reference's outer rows."""
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
        """Return the share of rows with a score or a number outside of the reference's range."""
        low, high = self._range
        return float(np.mean(((columns < low) | (columns > high)).any(axis=1)))

    @cached_property
    def _range(self) -> tuple[Array, Array]:
        columns = self._columns(self._baseline.frame)
        empty = np.isnan(columns).all(axis=0)
        columns = np.where(empty, 0.0, columns)
        low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
        return np.where(empty, -np.inf, low), np.where(empty, np.inf, high)

    def _likely(self, rows: LabelledRows, *, certain: bool | None = None) -> LabelledRows:
        """Repeat every row for each class, weighted by the class's calibrated probability.

        `certain` chooses an end for extrapolated rows; None: they are as calibrated.
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

    def spread(self, name: str, rows: int, of: Spread = "error") -> float | None:
        """Return a metric's root mean square deviation by chance, in windows of `rows` rows."""
        drawn = size_class(min(rows, _MOST))
        measured = self._spreads(drawn)[of].get(name)
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
        with threadpool_limits(1, "openmp"):  # sums in one order, whatever the machine
            mae = float(np.mean(absolute.predict(columns)))
            mse = float(np.mean(squared.predict(columns)))
        return {"mae": significant(mae, 6), "rmse": significant(max(mse, 0.0) ** 0.5, 6)}

    @cached_property
    def _error_models(self) -> tuple[Any, Any]:
        reference = self._reference
        error = reference.predicted - reference.actual
        columns = self._columns(self._baseline.frame)[np.isfinite(error)]
        error = error[np.isfinite(error)]
        how: dict[str, Any] = {"random_state": _SEED, "early_stopping": False, "max_iter": 60}
        with threadpool_limits(1, "openmp"):
            absolute = HistGradientBoostingRegressor(**how).fit(columns, np.abs(error))
            squared = HistGradientBoostingRegressor(**how).fit(columns, error**2)
        return absolute, squared

    def _columns(self, frame: pd.DataFrame) -> Array:
        """Return prediction and features [rows, columns]; categories as indices."""
        columns = [frame[self._baseline.own.prediction].map(number).to_numpy(dtype=float)]
        for feature in self._baseline.manifest.features:
            values = frame[feature.name]
            if feature.kind == "numeric":
                columns.append(values.map(number).to_numpy(dtype=float))
            else:
                codes_by_name = self._baseline.categories(feature.name)
                codes = values.map(category, na_action="ignore").map(codes_by_name)
                columns.append(codes.to_numpy(dtype=float))
        return np.column_stack(columns)

    def _measure(self, rows: int) -> dict[Spread, dict[str, float]]:
        """Measure the spreads on windows drawn from the reference."""
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
            _less(differences["error"], estimated, real)
            _less(differences["label"], real, whole)
            _less(differences["estimate"], estimated, expected)
        return {of: _spread(each) for of, each in differences.items()}


def _least_certain(hits: Array) -> float:
    """Return a lower bound of the share of hits (Agresti and Coull 1998)."""
    rows = len(hits) + 2
    share = (float(np.sum(hits)) + 1) / rows
    return max(0.0, share - _ERRORS * float(np.sqrt(share * (1 - share) / rows)))


def _less(differences: dict[str, list[float]], figures: Metrics, others: Metrics) -> None:
    for name, value in figures.items():
        other = others.get(name)
        if value is not None and other is not None:
            differences.setdefault(name, []).append(value - other)


def _spread(differences: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.sqrt(np.mean(np.square(each)))) for name, each in differences.items()}
