"""Data quality of every feature, against what the reference is like."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pandas as pd

from monitoring.counters.window_counters import InputCounters
from monitoring.results import Score
from monitoring.scoring.duplicates import distinct_values, duplicate_share, longest_run
from monitoring.scoring.isolation import attempt
from monitoring.scoring.reference import Baseline
from monitoring.scoring.values import Table, Values, reference_table, window_table
from registry.manifest import Feature, Kind

_TOLERATED = 0.05  # how far a share may lie above the reference's own
_NONE = "all values are missing"
_NONE_EXPECTED = "all values are missing in the reference"

Measure = Callable[[Values, Values], Score]


class Count(msgspec.Struct, frozen=True):
    """How many rows lack a feature's value, and how many have one that the reference does not."""

    rows: int
    missing: int
    known: int
    outside: int


Counted = Callable[[Count, Values], Score]  # and the reference's values


def score_quality(
    baseline: Baseline,
    frame: pd.DataFrame,
    order: Sequence[int] = (),
    inputs: InputCounters | None = None,
) -> list[Score]:
    """Of every feature what is missing, out of range or unseen, of another type, or stuck; and
    the share of rows that are there twice.

    `order` are the numbers of the rows in the order of event time; empty: as they are. `inputs`
    counts what can be counted in all rows of the window; without it these are all.
    """
    window = window_table(baseline, frame, order)
    of_all = None if inputs is None else partial(_of_tally, inputs, baseline)
    counts = of_all or partial(_of_rows, window, baseline)
    scores: list[Score] = []
    for feature in window.features:
        for name, counted in (_COUNTED | _COUNTED_BY_KIND[feature.kind]).items():
            part = partial(_of_counts, counted, feature, counts, baseline)
            scores += attempt(name, part, column=feature.name)
        for name, measure in _MEASURES.items():
            part = partial(_measured, measure, feature, window, baseline)
            scores += attempt(name, part, column=feature.name)
        part = partial(_run, feature, window, baseline)
        scores += attempt("longest_run", part, column=feature.name)
    return scores + attempt(
        "duplicate_share", lambda: [duplicate_share(window, reference_table(baseline))]
    )


def _of_counts(
    counted: Counted, feature: Feature, counts: Callable[[Feature], Count], baseline: Baseline
) -> list[Score]:
    return [counted(counts(feature), reference_table(baseline)[feature])]


def _of_rows(window: Table, baseline: Baseline, feature: Feature) -> Count:
    values, expected = window[feature], reference_table(baseline)[feature]
    return Count(len(values), values.missing, len(values.known), values.outside(expected))


def _of_tally(inputs: InputCounters, baseline: Baseline, feature: Feature) -> Count:
    place = baseline.features.index(feature)
    missing = inputs.missing[place]
    return Count(inputs.rows, missing, inputs.rows - missing, inputs.outside[place])


def _measured(measure: Measure, feature: Feature, window: Table, baseline: Baseline) -> list[Score]:
    return [measure(window[feature], reference_table(baseline)[feature])]


def _run(feature: Feature, window: Table, baseline: Baseline) -> list[Score]:
    expected = reference_table(baseline)
    return [longest_run(window[feature], window.order, expected[feature], expected.order)]


def _missing(count: Count, expected: Values) -> Score:
    share, own = (
        missing / rows if rows else 0.0
        for missing, rows in ((count.missing, count.rows), (expected.missing, len(expected)))
    )
    return _share("missing_share", expected.feature, share, own)


def _out_of_range(count: Count, expected: Values) -> Score:
    """Infinities are."""
    name, column = "out_of_range_share", expected.feature.name
    if not count.known:
        return Score(name=name, column=column, value=None, note=_NONE)
    if not len(expected.known):
        return Score(name=name, column=column, value=None, note=_NONE_EXPECTED)
    return Score(name=name, column=column, value=count.outside / count.known)


def _unseen(count: Count, expected: Values) -> Score:
    if not count.known:
        return Score(name="unseen_share", column=expected.feature.name, value=None, note=_NONE)
    return _share("unseen_share", expected.feature, count.outside / count.known, 0.0)


def _of_another_type(values: Values, expected: Values) -> Score:
    """Words where the reference has numbers, numbers where it has words."""
    name, usual = "type_change_share", expected.kinds
    if not values.kinds or not usual:
        note = _NONE_EXPECTED if values.kinds else _NONE
        return Score(name=name, column=values.feature.name, value=None, note=note)
    other = {kind: share for kind, share in values.kinds.items() if kind not in usual}
    note = f"{next(iter(other))} where the reference has {next(iter(usual))}" if other else ""
    return _share(name, values.feature, sum(other.values()), 0.0, note)


def _share(name: str, feature: Feature, share: float, own: float, note: str = "") -> Score:
    limit, share = own + _TOLERATED, float(f"{share:.9g}")
    return Score(
        name=name,
        column=feature.name,
        value=share,
        threshold=round(limit, 6),
        breached=share > limit,
        note=note,
    )


_COUNTED: dict[str, Counted] = {"missing_share": _missing}
_COUNTED_BY_KIND: dict[Kind, dict[str, Counted]] = {
    "numeric": {"out_of_range_share": _out_of_range},
    "categorical": {"unseen_share": _unseen},
}
_MEASURES: dict[str, Measure] = {
    "type_change_share": _of_another_type,
    "distinct_values": distinct_values,
}
