"""Data quality of every feature: missing, out of the reference's range, never seen before."""

from typing import Any

import numpy as np
import pandas as pd

from monitoring.core.results import Score
from monitoring.scoring.reference import Baseline, category, number
from registry.payload import keeping

_TOLERATED = 0.05  # how far a share may lie above the reference's own


def score_quality(baseline: Baseline, window: pd.DataFrame) -> list[Score]:
    """ "missing_share" of every feature, "out_of_range_share" or "unseen_share" by kind."""
    scores: list[Score] = []
    for feature in keeping(baseline.manifest).features:
        values, expected = window[feature.name], baseline.frame[feature.name]
        own = float(expected.isna().mean())
        scores.append(_share("missing_share", feature.name, float(values.isna().mean()), own))
        known = values.dropna()
        if known.empty:
            continue
        if feature.kind == "numeric":
            share = _out_of_range(known, expected)
            scores.append(Score(name="out_of_range_share", column=feature.name, value=share))
        else:
            unseen = ~known.map(category).isin(set(expected.dropna().map(category)))
            scores.append(_share("unseen_share", feature.name, float(unseen.mean()), 0.0))
    return scores


def _out_of_range(values: "pd.Series[Any]", expected: "pd.Series[Any]") -> float | None:
    numbers = values.map(number).to_numpy(dtype=float)
    bounds = expected.dropna().to_numpy(dtype=float)
    if bounds.size == 0:
        return None
    return float(np.mean((numbers < bounds.min()) | (numbers > bounds.max())))


def _share(name: str, column: str, share: float, own: float) -> Score:
    limit = own + _TOLERATED
    return Score(
        name=name, column=column, value=share, threshold=round(limit, 6), breached=share > limit
    )
