"""Columns as they can be compared."""

from typing import Any

import numpy as np
import pandas as pd

from monitoring.counters.reference_domain import category, number
from monitoring.scoring.reference import Column


def clean(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """A column as it can be compared: numbers or strings, everything else missing."""
    if column.kind == "categorical":
        return values.map(category, na_action="ignore")
    try:
        numbers = np.array(values.tolist(), dtype=float)
    except (TypeError, ValueError, OverflowError):  # words among them: one by one
        return values.map(number).astype(float)
    return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), values.index)
