"""Score prediction parity and the effect of drift on predictions.

Parity is the agreement of the logged predictions with the predictions of the registered version. If
they differ, the cause is serving (another model file, another interpretation of the inputs), not
the data.

The effect of a drifted column is the share of predictions that its drift changes. To measure it,
the column's values are mapped back to the reference's distribution (`drift_effect.py`), and the
version is re-run.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from monitoring.counters.plain_values import category
from monitoring.results import EFFECT, PARITY, SHIFT, Score
from monitoring.scoring.feature_values import FeatureValues, numbers_of
from monitoring.scoring.parity.drift_effect import restore_categories, restore_numbers
from monitoring.scoring.parity.rerun import Columns, ModelRerun, RerunPredictions
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import Array, attempt
from monitoring.significant_digits import significant
from registry.manifest import Feature

_MOST = 30  # maximum drifted columns whose effect is measured
_Drifted = tuple[Feature, "pd.Series[Any]"]  # a drifted feature, and its values in the reference


class ParityScorer:
    """Re-runs one version on its windows, and scores parity and effects of drift."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the version; its model is not loaded before the first window."""
        self._baseline = baseline
        self._rerun = ModelRerun(baseline)
        self._policy = baseline.manifest.monitoring.rerun
        self._regression = baseline.manifest.task == "regression"
        self._features = {feature.name: feature for feature in baseline.manifest.features}

    def score(
        self, window: pd.DataFrame, drifted: Sequence[str], against: Baseline | None = None
    ) -> list[Score]:
        """Score parity, the effect of each drifted column, and the effect of all together.

        `drifted` contains column names; columns that are not features are ignored. Their values are
        mapped to the distribution in `against`, or in the registered reference if it is None. The
        result is empty if the model cannot be run on rows of features, or if it has no prediction.
        """
        if not self._rerun.possible:
            return []
        expected = (against or self._baseline).frame
        features = [self._features[name] for name in drifted if name in self._features][:_MOST]
        chosen = [(feature, expected[feature.name]) for feature in features]
        return attempt(PARITY, lambda: self._score(window, chosen))

    def _score(self, window: pd.DataFrame, chosen: Sequence[_Drifted]) -> Iterator[Score]:
        if reason := self._rerun.reason or self._dependence:
            names = [PARITY, *([EFFECT] if chosen else [])]
            yield from (Score(name=name, value=None, note=reason) for name in names)
            return
        sample = window[: self._rerun.rows]
        columns: Columns = {
            name: _column(feature, sample[name]) for name, feature in self._features.items()
        }
        fits = self._rerun.fitting(columns, len(sample))
        if not fits.any():
            yield Score(name=PARITY, value=None, note="no row fits the model's inputs")
            return
        columns = _chosen(columns, fits)
        predictions, sound = self._rerun.predict(columns, int(fits.sum()))
        yield self._parity(sample[fits], predictions, sound, unfit=int((~fits).sum()))
        columns = _chosen(columns, sound)
        restored_columns: dict[str, Sequence[Any] | Array] = {}
        for drifted in chosen:
            part = partial(self._column_effect, drifted, columns, predictions, restored_columns)
            yield from attempt(EFFECT, part, column=drifted[0].name)
        if restored_columns:
            yield from attempt(
                EFFECT, partial(self._effect, columns, predictions, restored_columns)
            )

    def _parity(
        self, logged: pd.DataFrame, rerun: RerunPredictions, sound: Array, *, unfit: int
    ) -> Score:
        differs = ~sound  # the model fails on these rows now, but the log has a prediction
        differs[sound] = ~self._same(logged[sound], rerun)
        value, allowed = float(differs.mean()), self._policy.differing
        note = f"{int(differs.sum()):,} of {len(differs):,} answers"
        if unfit:
            note += f"; {unfit:,} rows do not fit the model's inputs"
        return Score(
            name=PARITY,
            value=significant(value),
            threshold=allowed,
            breached=value > allowed,
            note=note,
        )

    def _same(self, logged: pd.DataFrame, rerun: RerunPredictions) -> Array:
        """Return for each row whether the logged and the re-run prediction agree."""
        tolerance, logged_values = self._policy.tolerance, logged[self._baseline.own.prediction]
        if self._regression:
            numbers, now = numbers_of(logged_values), _scores(rerun)
            near: Array = np.abs(numbers - now) <= tolerance * np.maximum(np.abs(now), self._spread)
            return near
        classes = [category(value) for value in logged_values]
        same = np.array([was == now for was, now in zip(classes, rerun.values, strict=True)], bool)
        if not rerun.probabilities:
            return same
        stored = self._baseline.probabilities
        close = [
            np.abs(numbers_of(logged[stored[name]]) - now) <= tolerance
            for name, now in rerun.probabilities.items()
        ]
        ranked = np.sort(np.array(list(rerun.probabilities.values())), axis=0)
        tied = ranked[-1] - ranked[-2] <= 2 * tolerance if len(ranked) > 1 else np.zeros_like(same)
        agreed: Array = np.all(close, axis=0) & (same | tied)
        return agreed

    def _column_effect(
        self,
        drifted: _Drifted,
        columns: Columns,
        predictions: RerunPredictions,
        restored_columns: dict[str, Sequence[Any] | Array],
    ) -> list[Score]:
        feature, expected = drifted
        restored = _restored(feature, columns[feature.name], expected)
        restored_columns[feature.name] = restored
        return self._effect(columns, predictions, {feature.name: restored}, feature.name)

    def _effect(
        self,
        columns: Columns,
        predictions: RerunPredictions,
        restored: Mapping[str, Sequence[Any] | Array],
        column: str = "",
    ) -> list[Score]:
        rerun, sound = self._rerun.predict({**columns, **restored}, len(predictions.values))
        before = [
            value for value, is_sound in zip(predictions.values, sound, strict=True) if is_sound
        ]
        if not before:
            note = "the model fails on the reference's values"
            return [Score(name=EFFECT, column=column, value=None, note=note)]
        now = rerun.values
        shift = None
        if predictions.score is not None and rerun.score is not None:
            shifts = predictions.score[sound] - rerun.score
            shift = significant(float(shifts.mean()))
        if self._regression:
            assert predictions.score is not None
            assert rerun.score is not None
            value = float(np.abs(shifts).mean()) / self._spread
            note = f"on {len(now):,} rows, in standard deviations of the reference's predictions"
        else:
            changed = sum(was != is_now for was, is_now in zip(before, now, strict=True))
            value = changed / len(now)
            note = f"{changed:,} of {len(now):,} predictions change with the reference's values"
        scores = [Score(name=EFFECT, column=column, value=significant(value), note=note)]
        if shift is not None:
            scores.append(Score(name=SHIFT, column=column, value=shift))
        return scores

    @cached_property
    def _dependence(self) -> str:
        return self._rerun.dependence

    @property
    def _spread(self) -> float:
        """The standard deviation of the reference's predictions, the unit of a numeric change."""
        logged_values = self._baseline.frame[self._baseline.own.prediction].to_numpy(dtype=float)
        return float(np.std(logged_values)) or 1.0


def _restored(
    feature: Feature, values: Sequence[Any] | Array, expected: "pd.Series[Any]"
) -> Sequence[Any] | Array:
    if feature.kind == "categorical":
        return restore_categories(list(values), expected, nullable=feature.nullable)
    numbers = np.asarray(values, dtype=float)
    return restore_numbers(
        numbers, FeatureValues(feature, expected).codes, nullable=feature.nullable
    )


def _column(feature: Feature, values: "pd.Series[Any]") -> Sequence[Any] | Array:
    """Return a logged column in the form that `to_tensors` accepts.

    If a numeric column has values that are not numbers, its values are returned unchanged, and
    `to_tensors` refuses these rows.
    """
    if feature.kind == "numeric":
        try:
            return values.to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError, OverflowError):
            pass
    return [None if pd.isna(value) else value for value in values]


def _chosen(columns: Columns, rows: Array) -> Columns:
    return {
        name: values[rows] if isinstance(values, np.ndarray) else list(compress(values, rows))
        for name, values in columns.items()
    }


def _scores(predictions: RerunPredictions) -> Array:
    assert predictions.score is not None
    return predictions.score
