"""Data quality of every feature: missing, out of the reference's range, never seen before."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from monitoring.core.results import Score
from monitoring.scoring.isolation import attempt
from monitoring.scoring.reference import Baseline, category, number
from registry.manifest import Kind
from registry.payload import keeping

Values: TypeAlias = "pd.Series[Any]"
Measure = Callable[[str, Values, Values], Score | None]

_TOLERATED = 0.05  # how far a share may lie above the reference's own


def score_quality(baseline: Baseline, window: pd.DataFrame) -> list[Score]:
    """ "missing_share" of every feature, "out_of_range_share" or "unseen_share" by kind."""
    scores: list[Score] = []
    for feature in keeping(baseline.manifest).features:
        for name, measure in _MEASURES[feature.kind].items():
            part = partial(_measured, measure, feature.name, window, baseline.frame)
            scores += attempt(name, part, column=feature.name)
    return scores


def _measured(
    measure: Measure,
    column: str,
    window: pd.DataFrame,
    reference: pd.DataFrame,
) -> list[Score]:
    score = measure(column, window[column], reference[column])
    return [score] if score else []


def _missing(column: str, values: Values, expected: Values) -> Score:
    own = float(expected.isna().mean())
    return _share("missing_share", column, float(values.isna().mean()), own)


def _out_of_range(column: str, values: Values, expected: Values) -> Score | None:
    known = values.dropna()
    if known.empty:
        return None
    numbers = known.map(number).to_numpy(dtype=float)
    bounds = expected.dropna().to_numpy(dtype=float)
    if not bounds.size:
        note = "all values are missing in the reference"
        return Score(name="out_of_range_share", column=column, value=None, note=note)
    share = float(np.mean((numbers < bounds.min()) | (numbers > bounds.max())))
    return Score(name="out_of_range_share", column=column, value=share)


def _unseen(column: str, values: Values, expected: Values) -> Score | None:
    known = values.dropna()
    if known.empty:
        return None
    seen = set(expected.dropna().map(category))
    return _share("unseen_share", column, float((~known.map(category).isin(seen)).mean()), 0.0)


def _share(name: str, column: str, share: float, own: float) -> Score:
    limit = own + _TOLERATED
    return Score(
        name=name, column=column, value=share, threshold=round(limit, 6), breached=share > limit
    )


_MEASURES: dict[Kind, dict[str, Measure]] = {
    "numeric": {"missing_share": _missing, "out_of_range_share": _out_of_range},
    "categorical": {"missing_share": _missing, "unseen_share": _unseen},
}
