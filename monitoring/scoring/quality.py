"""Score each feature's data quality against the reference, and the share of duplicate rows.

A feature is stuck if it repeats one value more often than the reference makes plausible. If p is
the share of the reference's most frequent value, n rows in a row have this value with probability
p^n. Below one in a million, the score is breached. Runs ignore missing values, whose share is a
separate score.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import log

import msgspec
import numpy as np
import pandas as pd

from monitoring.counters.window_counters import InputCounters
from monitoring.results import Score
from monitoring.scoring.feature_values import FeatureTable, FeatureValues, share_of_duplicates
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES, Array, attempt
from monitoring.significant_digits import significant
from registry.features import monitored_columns
from registry.manifest import Feature, Kind

_CHANCE = 1e-6  # probability below which a feature is stuck
_LEAST_RUN = 10  # shorter runs never breach
_LIKE_THE_REFERENCE = 2  # allowed length of a run, in multiples of the reference's longest run
_SPREADS = 4.0  # standard deviations between the usual and the allowed share of duplicates
_TOLERATED = 0.05  # allowed share in addition to the reference's share


def distinct_values(values: FeatureValues, expected: FeatureValues) -> Score:
    """Count distinct values; the score is breached if a feature that usually varies is stuck."""
    name, column, distinct = "distinct_values", values.feature.name, len(values.known)
    different = len(np.unique(values.known))
    if different != 1:
        note = "" if different else "all values are missing"
        return Score(name=name, column=column, value=different or None, note=note)
    usual, common = expected.variety
    stuck = distinct >= MIN_VALUES and usual > 1 and distinct * log(common) < log(_CHANCE)
    always = f"always {values.name(values.known[0])}; {usual} different values in the reference"
    return Score(
        name=name,
        column=column,
        value=1.0,
        breached=stuck,
        note=always if stuck else "",
    )


def longest_run(
    values: FeatureValues, order: Array, expected: FeatureValues, expected_order: Array
) -> Score:
    """Score the length of the longest run of one value, in order of event time."""
    name, column = "longest_run", values.feature.name
    length, code = _longest(values.codes[order])
    if not length:
        return Score(name=name, column=column, value=None, note="all values are missing")
    _, common = expected.variety
    if common >= 1:
        return Score(name=name, column=column, value=float(length))
    by_chance = log(_CHANCE / max(len(values.known), 2)) / log(common) if common else 0
    reference_run, _ = _longest(expected.codes[expected_order])
    limit = max(_LEAST_RUN, round(by_chance), _LIKE_THE_REFERENCE * reference_run)
    breached = length > limit
    return Score(
        name=name,
        column=column,
        value=float(length),
        threshold=float(limit),
        breached=breached,
        note=f"{values.name(code)} in {length} rows in a row" if breached else "",
    )


def duplicate_share(window: FeatureTable, expected: FeatureTable) -> Score:
    """Score the share of rows that repeat an earlier row in every feature.

    The share grows with the number of rows. The number of rows is therefore reduced to a power of
    two, at most the reference's number of rows, and the share is compared with the share among the
    same number of random reference rows.
    """
    name, rows = "duplicate_share", min(len(window), len(expected))
    if not window.features:
        return Score(name=name, value=None, note="no feature is in the log as it came")
    if rows < MIN_VALUES:
        return Score(name=name, value=None, note=f"only {rows} rows, {MIN_VALUES} are needed")
    rows = 1 << rows.bit_length() - 1
    share = share_of_duplicates(window.fingerprints[:rows])
    usual, deviation = expected.usual_duplicates(rows)
    limit = round(usual + _SPREADS * deviation + _TOLERATED, 6)
    return Score(
        name=name,
        value=share,
        threshold=limit,
        breached=share > limit,
        note=f"reference {usual:.3f}, on {rows:,} rows",
    )


def _longest(codes: Array) -> tuple[int, float]:
    """Return the length of the longest run of one code, and the code; 0 if there are no codes."""
    present = codes[~np.isnan(codes)]
    if not len(present):
        return 0, 0.0
    ends = np.append(np.flatnonzero(present[1:] != present[:-1]), len(present) - 1)
    lengths = np.diff(ends, prepend=-1)
    at = int(lengths.argmax())
    return int(lengths[at]), float(present[ends[at]])


_NONE = "all values are missing"
_NONE_EXPECTED = "all values are missing in the reference"

Measure = Callable[[FeatureValues, FeatureValues], Score]


class FeatureCounts(msgspec.Struct, frozen=True):
    """Counts of one feature's values in a window."""

    rows: int
    missing: int  # rows without a value
    known: int  # rows with a value
    outside: int  # rows with a value outside the reference's range or categories


Counts = Callable[[Feature], FeatureCounts]
Counted = Callable[[FeatureCounts, FeatureValues], Score]  # window's counts, reference's values


def score_quality(
    baseline: Baseline,
    frame: pd.DataFrame,
    order: Sequence[int] = (),
    inputs: InputCounters | None = None,
) -> list[Score]:
    """Score the data quality of every feature, and the share of duplicate rows.

    The scores of a feature are its missing values, values out of range or unseen, values of another
    type, distinct values, and longest run. `order` contains the row numbers in order of event time;
    it is empty if rows are in order. `inputs` are the counters of all rows of the window; None if
    `frame` contains all rows.
    """
    window = baseline.window_table(frame, order)
    counts = partial(_row_counts, window, baseline)
    if inputs is not None:
        counts = partial(_counter_counts, inputs, baseline, counts if baseline.learned else None)
    scores: list[Score] = []
    for feature in window.features:
        for name, counted in (_COUNTED | _COUNTED_BY_KIND[feature.kind]).items():
            part = partial(_counted_scores, counted, feature, counts, baseline)
            scores += attempt(name, part, column=feature.name)
        for name, measure in _MEASURES.items():
            part = partial(_measured_scores, measure, feature, window, baseline)
            scores += attempt(name, part, column=feature.name)
        part = partial(_run_scores, feature, window, baseline)
        scores += attempt("longest_run", part, column=feature.name)
    return scores + attempt("duplicate_share", lambda: [duplicate_share(window, baseline.table)])


def _counted_scores(
    counted: Counted,
    feature: Feature,
    counts: Counts,
    baseline: Baseline,
) -> list[Score]:
    return [counted(counts(feature), baseline.table[feature])]


def _row_counts(window: FeatureTable, baseline: Baseline, feature: Feature) -> FeatureCounts:
    values, expected = window[feature], baseline.table[feature]
    return FeatureCounts(len(values), values.missing, len(values.known), values.outside(expected))


def _counter_counts(
    inputs: InputCounters, baseline: Baseline, sampled: Counts | None, feature: Feature
) -> FeatureCounts:
    """Return a feature's counts over all rows of the window.

    `sampled` is set if ingestion did not compare rows with this baseline. The share of values
    outside the reference is then estimated from the sampled rows.
    """
    place = monitored_columns(baseline.manifest).index(feature)
    rows = inputs.rows if feature.input else inputs.rows + inputs.summarized
    missing = inputs.missing[place]
    if sampled is None:
        return FeatureCounts(rows, missing, rows - missing, inputs.outside[place])
    sampled_values = sampled(feature)
    share = sampled_values.outside / sampled_values.known if sampled_values.known else 0.0
    return FeatureCounts(rows, missing, rows - missing, round(share * (rows - missing)))


def _measured_scores(
    measure: Measure, feature: Feature, window: FeatureTable, baseline: Baseline
) -> list[Score]:
    return [measure(window[feature], baseline.table[feature])]


def _run_scores(feature: Feature, window: FeatureTable, baseline: Baseline) -> list[Score]:
    expected = baseline.table
    return [longest_run(window[feature], window.order, expected[feature], expected.order)]


def _missing_share(count: FeatureCounts, expected: FeatureValues) -> Score:
    share, reference_share = (
        missing / rows if rows else 0.0
        for missing, rows in ((count.missing, count.rows), (expected.missing, len(expected)))
    )
    return _share_score("missing_share", expected.feature, share, reference_share)


def _out_of_range(count: FeatureCounts, expected: FeatureValues) -> Score:
    """Score the share of values outside the reference's range, including infinite values."""
    name, column = "out_of_range_share", expected.feature.name
    if not count.known:
        return Score(name=name, column=column, value=None, note=_NONE)
    if not len(expected.known):
        return Score(name=name, column=column, value=None, note=_NONE_EXPECTED)
    return Score(name=name, column=column, value=count.outside / count.known)


def _unseen_share(count: FeatureCounts, expected: FeatureValues) -> Score:
    if not count.known:
        return Score(name="unseen_share", column=expected.feature.name, value=None, note=_NONE)
    return _share_score("unseen_share", expected.feature, count.outside / count.known, 0.0)


def _type_change_share(values: FeatureValues, expected: FeatureValues) -> Score:
    """Score the share of words if the reference has only numbers, or of numbers if only words."""
    name, usual = "type_change_share", expected.kinds
    if not values.kinds or not usual:
        note = _NONE_EXPECTED if values.kinds else _NONE
        return Score(name=name, column=values.feature.name, value=None, note=note)
    other = {kind: share for kind, share in values.kinds.items() if kind not in usual}
    note = f"{next(iter(other))} where the reference has {next(iter(usual))}" if other else ""
    return _share_score(name, values.feature, sum(other.values()), 0.0, note)


def _share_score(
    name: str, feature: Feature, share: float, reference_share: float, note: str = ""
) -> Score:
    limit, share = reference_share + _TOLERATED, significant(share)
    return Score(
        name=name,
        column=feature.name,
        value=share,
        threshold=round(limit, 6),
        breached=share > limit,
        note=note,
    )


_COUNTED: dict[str, Counted] = {"missing_share": _missing_share}
_COUNTED_BY_KIND: dict[Kind, dict[str, Counted]] = {
    "numeric": {"out_of_range_share": _out_of_range},
    "categorical": {"unseen_share": _unseen_share},
}
_MEASURES: dict[str, Measure] = {
    "type_change_share": _type_change_share,
    "distinct_values": distinct_values,
}
