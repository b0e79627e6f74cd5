"""Estimate performance before labels arrive.

Classification: confidence-based performance estimation (CBPE, as published by NannyML). Isotonic
regression calibrates each class's probability on the reference. An unlabelled row then counts once
per class, weighted by that class's calibrated probability. Regression: gradient boosting predicts
the model's absolute and squared errors, trained on the reference.

Both see a change of the inputs. Neither can see concept drift: then estimate and measured
performance diverge, which `estimate_gap.py` scores.
"""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from monitoring.counters.reference_domain import category, number
from monitoring.scoring.drift.null_distribution import DRAWS, BlockBootstrap, size_class
from monitoring.scoring.performance.metrics import (
    LabelledRows,
    Metrics,
    classification,
    labelled_rows,
    regression,
)
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import Array
from monitoring.significant_digits import significant

_DRAWS = 50  # windows
_MOST = (
    2_000  # rows of a drawn window; larger ones are extrapolated from it by the root of their size
)
_SEED = 20130101


# Of the estimate less the truth of the same window; of the truth, and of the estimate, less what it
# is in the whole reference.
Spread = Literal["error", "label", "estimate"]


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
        known = rows.select(np.isfinite(np.array(list(rows.scores.values()))).all(axis=0))
        return classification(self._likely(known)) if len(known.predicted) else {}

    def _likely(self, rows: LabelledRows) -> LabelledRows:
        """Repeat every row for each class, weighted by the class's calibrated probability."""
        chances = self._chances(rows.scores)
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

    def _chances(self, scores: Mapping[int, Array]) -> dict[int, Array]:
        calibrated = {name: self._calibrators[name].predict(s) for name, s in scores.items()}
        if self._baseline.positive_class is not None:
            name = self._baseline.positive_class
            other = next(one for one in scores if one != name)
            return {name: calibrated[name], other: 1 - calibrated[name]}
        total = np.sum(list(calibrated.values()), axis=0)
        even = 1 / len(calibrated)
        return {
            name: np.divide(c, total, out=np.full_like(c, even), where=total > 0)
            for name, c in calibrated.items()
        }

    @cached_property
    def _calibrators(self) -> dict[int, IsotonicRegression]:
        known = self._reference
        return {
            name: IsotonicRegression(out_of_bounds="clip").fit(score, known.actual == name)
            for name, score in known.scores.items()
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
        known = self._reference
        error = known.predicted - known.actual
        columns = self._columns(self._baseline.frame)[np.isfinite(error)]
        error = error[np.isfinite(error)]
        how: dict[str, Any] = {"random_state": _SEED, "early_stopping": False, "max_iter": 60}
        with threadpool_limits(1, "openmp"):
            absolute = HistGradientBoostingRegressor(**how).fit(columns, np.abs(error))
            squared = HistGradientBoostingRegressor(**how).fit(columns, error**2)
        return absolute, squared

    def _columns(self, frame: pd.DataFrame) -> Array:
        """Return prediction and features [rows, columns]; categories as indices."""
        columns = [frame["prediction"].map(number).to_numpy(dtype=float)]
        for feature in self._baseline.manifest.features:
            values = frame[feature.name]
            if feature.kind == "numeric":
                columns.append(values.map(number).to_numpy(dtype=float))
            else:
                known = self._baseline.categories(feature.name)
                codes = values.map(category, na_action="ignore").map(known)
                columns.append(codes.to_numpy(dtype=float))
        return np.column_stack(columns)

    def _measure(self, rows: int) -> dict[Spread, dict[str, float]]:
        """Measure the spreads on windows drawn from the reference."""
        frame, known = self._baseline.frame, self._reference
        measure = regression if self._baseline.manifest.task == "regression" else classification
        whole = measure(known.select(np.arange(len(frame))))
        resampling = BlockBootstrap(len(frame), rows)
        expected = self.figures(frame) if self.possible else {}
        found: dict[Spread, dict[str, list[float]]] = {"error": {}, "label": {}, "estimate": {}}
        for draw in range(0, DRAWS, DRAWS // _DRAWS):
            drawn, _ = resampling.rows(draw)
            real = measure(known.select(drawn))
            estimated = self.figures(frame.iloc[drawn]) if self.possible else {}
            _less(found["error"], estimated, real)
            _less(found["label"], real, whole)
            _less(found["estimate"], estimated, expected)
        return {of: _spread(each) for of, each in found.items()}


def _less(found: dict[str, list[float]], figures: Metrics, others: Metrics) -> None:
    for name, value in figures.items():
        other = others.get(name)
        if value is not None and other is not None:
            found.setdefault(name, []).append(value - other)


def _spread(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.sqrt(np.mean(np.square(each)))) for name, each in found.items()}
