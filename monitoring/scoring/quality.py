"""Data quality of every feature, against what the reference is like."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from monitoring.core.results import Score
from monitoring.scoring.isolation import attempt
from monitoring.scoring.reference import Baseline
from monitoring.scoring.sameness import distinct_values, duplicate_share, longest_run
from monitoring.scoring.values import Table, Values, reference_table, window_table
from registry.manifest import Feature, Kind

_TOLERATED = 0.05  # how far a share may lie above the reference's own
_NONE = "all values are missing"
_NONE_EXPECTED = "all values are missing in the reference"

Measure = Callable[[Values, Values], Score]


def score_quality(
    baseline: Baseline, frame: pd.DataFrame, order: Sequence[int] = ()
) -> list[Score]:
    """Of every feature what is missing, out of range or unseen, of another type, or stuck; and
    the share of rows that are there twice.

    `order` are the numbers of the rows in the order of event time; empty: as they are.
    """
    window = window_table(baseline, frame, order)
    scores: list[Score] = []
    for feature in window.features:
        for name, measure in (_MEASURES | _BY_KIND[feature.kind]).items():
            part = partial(_measured, measure, feature, window, baseline)
            scores += attempt(name, part, column=feature.name)
        part = partial(_run, feature, window, baseline)
        scores += attempt("longest_run", part, column=feature.name)
    return scores + attempt(
        "duplicate_share", lambda: [duplicate_share(window, reference_table(baseline))]
    )


def _measured(measure: Measure, feature: Feature, window: Table, baseline: Baseline) -> list[Score]:
    return [measure(window[feature], reference_table(baseline)[feature])]


def _run(feature: Feature, window: Table, baseline: Baseline) -> list[Score]:
    expected = reference_table(baseline)
    return [longest_run(window[feature], window.order, expected[feature], expected.order)]


def _missing(values: Values, expected: Values) -> Score:
    return _share("missing_share", values, values.missing, expected.missing)


def _out_of_range(values: Values, expected: Values) -> Score:
    """Infinities are."""
    name, column = "out_of_range_share", values.feature.name
    if not len(values.known):
        return Score(name=name, column=column, value=None, note=_NONE)
    if not len(expected.known):
        return Score(name=name, column=column, value=None, note=_NONE_EXPECTED)
    low, high = expected.bounds
    share = float(np.mean((values.known < low) | (values.known > high)))
    return Score(name=name, column=column, value=share)


def _unseen(values: Values, expected: Values) -> Score:
    if not len(values.known):
        return Score(name="unseen_share", column=values.feature.name, value=None, note=_NONE)
    seen = expected.categories
    share = sum(part for name, part in values.categories.items() if name not in seen)
    return _share("unseen_share", values, share, 0.0)


def _of_another_type(values: Values, expected: Values) -> Score:
    """Words where the reference has numbers, numbers where it has words."""
    name, usual = "type_change_share", expected.kinds
    if not values.kinds or not usual:
        note = _NONE_EXPECTED if values.kinds else _NONE
        return Score(name=name, column=values.feature.name, value=None, note=note)
    other = {kind: share for kind, share in values.kinds.items() if kind not in usual}
    note = f"{next(iter(other))} where the reference has {next(iter(usual))}" if other else ""
    return _share(name, values, sum(other.values()), 0.0, note)


def _share(name: str, values: Values, share: float, own: float, note: str = "") -> Score:
    limit, share = own + _TOLERATED, float(f"{share:.9g}")
    return Score(
        name=name,
        column=values.feature.name,
        value=share,
        threshold=round(limit, 6),
        breached=share > limit,
        note=note,
    )


_MEASURES: dict[str, Measure] = {
    "missing_share": _missing,
    "type_change_share": _of_another_type,
    "distinct_values": distinct_values,
}
_BY_KIND: dict[Kind, dict[str, Measure]] = {
    "numeric": {"out_of_range_share": _out_of_range},
    "categorical": {"unseen_share": _unseen},
}
