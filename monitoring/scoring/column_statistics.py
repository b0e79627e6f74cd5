"""Scores that describe a window's columns while the version has no baseline yet."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from monitoring.results import Score
from monitoring.scoring.reference import Baseline, comparable
from monitoring.scoring.score_rules import Array, attempt
from monitoring.significant_digits import significant
from registry.manifest import Manifest, Version

_QUANTILES = {"p5": 0.05, "p50": 0.5, "p95": 0.95}


def column_statistics(manifest: Manifest, window: pd.DataFrame) -> list[Score]:
    """Score the mean, the quantiles and the share of missing values of a window's columns."""
    version = Version(model="", number="", digest="", created=0, manifest=manifest, path="")
    baseline = Baseline(version, window)  # a baseline gives access to the columns' values
    scores: list[Score] = []
    for column in baseline.columns:
        values = comparable(baseline.observed(window, column.stored), column)

        def measure(
            name: str = column.name, values: "pd.Series[float]" = values, kind: str = column.kind
        ) -> Iterator[Score]:
            missing = significant(float(values.isna().mean())) if len(values) else None
            yield Score(name="missing_share", column=name, value=missing)
            if kind == "numeric":
                yield from _number_scores(name, values.dropna().to_numpy(dtype=float))

        scores += attempt("mean", measure, column=column.name)
    return scores


def _number_scores(name: str, values: Array) -> Iterator[Score]:
    if not len(values):
        yield Score(name="mean", column=name, value=None, note="all values are missing")
        return
    yield Score(name="mean", column=name, value=significant(float(values.mean())))
    for label, share in _QUANTILES.items():
        value = significant(float(np.quantile(values, share)))
        yield Score(name=label, column=name, value=value)
