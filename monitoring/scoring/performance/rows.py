"""A window's rows, or the reference's, as the figures of performance take them."""

from typing import Any

import numpy as np
import pandas as pd

from monitoring.counters.reference_domain import number
from monitoring.scoring.performance.metrics import Answers, Array
from monitoring.scoring.reference import Baseline, categories


def answers_of(baseline: Baseline, frame: pd.DataFrame, truth: str | None) -> Answers:
    """The answers beside the truth in column `truth`; without one, what was told counts as true."""
    told = frame["prediction"]
    actual = told if truth is None else frame[truth]
    if baseline.manifest.task == "regression":
        return Answers(
            actual.map(number).to_numpy(dtype=float), told.map(number).to_numpy(dtype=float)
        )
    known = dict(baseline.classes)
    return Answers(
        _codes(actual, known),
        _codes(told, known),
        {
            baseline.classes[name]: frame[stored].map(number).to_numpy(dtype=float)
            for name, stored in baseline.probabilities.items()
        },
        baseline.positive_class,
    )


def _codes(values: "pd.Series[Any]", known: dict[str, int]) -> Array:
    """Each value's class; a new one gets the next number."""
    codes, different = pd.factorize(categories(values), use_na_sentinel=False)
    places = [known.setdefault(str(name), len(known)) for name in different]
    return np.array(places, dtype=np.int64)[codes]
