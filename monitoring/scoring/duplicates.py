"""What is too much the same: stuck features and rows that are there twice.

Sameness is judged by chance. If the reference's commonest value makes up a share p of it, n rows
in a row are all that value with the chance p^n; what would be seen once in a million windows is no
chance any more. Missing values are left out: their share is a figure of its own.
"""

from math import log

import numpy as np

from monitoring.results import Score
from monitoring.scoring.drift.resampling import SMALLEST
from monitoring.scoring.memoize import remembered
from monitoring.scoring.values import Array, Table, Values

_CHANCE = 1e-6
_LEAST_RUN = 10  # a shorter one is nobody's concern
_LIKE_THE_REFERENCE = 2  # a run may be so many times as long as the reference's own longest
_DRAWS = 20
_SPREADS = 4.0  # above what the reference shows by chance
_TOLERATED = 0.05
_SEED = 20130101


def distinct_values(values: Values, expected: Values) -> Score:
    """How many different values there are; a single one is too few where the reference varies."""
    name, column, known = "distinct_values", values.feature.name, len(values.known)
    different = len(np.unique(values.known))
    if different != 1:
        note = "" if different else "all values are missing"
        return Score(name=name, column=column, value=different or None, note=note)
    usual, common = _variety(expected)
    stuck = known >= SMALLEST and usual > 1 and known * log(common) < log(_CHANCE)
    always = f"always {values.name(values.known[0])}; {usual} different values in the reference"
    return Score(
        name=name,
        column=column,
        value=1.0,
        breached=stuck,
        note=always if stuck else "",
    )


def longest_run(values: Values, order: Array, expected: Values, expected_order: Array) -> Score:
    """The most rows in a row, in the order of event time, that hold the same value."""
    name, column = "longest_run", values.feature.name
    length, code = _longest(values.codes[order])
    if not length:
        return Score(name=name, column=column, value=None, note="all values are missing")
    _, common = _variety(expected)
    if common >= 1:
        return Score(name=name, column=column, value=float(length))
    by_chance = log(_CHANCE / max(len(values.known), 2)) / log(common) if common else 0
    own, _ = _longest(expected.codes[expected_order])
    limit = max(_LEAST_RUN, round(by_chance), _LIKE_THE_REFERENCE * own)
    breached = length > limit
    return Score(
        name=name,
        column=column,
        value=float(length),
        threshold=float(limit),
        breached=breached,
        note=f"{values.name(code)} in {length} rows in a row" if breached else "",
    )


def duplicate_share(window: Table, expected: Table) -> Score:
    """Share of rows whose features are those of another row that was counted already.

    The more rows the more of them meet, so it is of no more rows than the reference has (a power
    of two of them), and beside what as many rows of the reference show.
    """
    name, rows = "duplicate_share", min(len(window), len(expected))
    if not window.features:
        return Score(name=name, value=None, note="no feature is in the log as it came")
    if rows < SMALLEST:
        return Score(name=name, value=None, note=f"only {rows} rows, {SMALLEST} are needed")
    rows = 1 << rows.bit_length() - 1
    share = _repeated(fingerprints(window)[:rows])
    usual, limit = _usual(expected, rows)
    return Score(
        name=name,
        value=share,
        threshold=limit,
        breached=share > limit,
        note=f"reference {usual:.3f}, on {rows:,} rows",
    )


def fingerprints(table: Table) -> Array:
    """One number a row, the same for rows that are the same in every feature."""
    mixed = np.zeros(len(table), dtype=np.uint64)
    for feature in table.features:
        codes = table[feature].codes + 0.0  # one zero, not two
        codes[np.isnan(codes)] = np.nan  # one NaN, not many
        mixed = _mix(mixed ^ codes.view(np.uint64))
    return mixed


def _mix(numbers: Array) -> Array:
    """Spread every bit over all of them, as SplitMix64 does."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = numbers ^ (numbers >> np.uint64(31))
    return mixed


@remembered
def _usual(expected: Table, rows: int) -> tuple[float, float]:
    """The share among as many rows of the reference, and from where on it is too much."""
    chance, known = np.random.default_rng(_SEED), fingerprints(expected)
    drawn = [_repeated(chance.choice(known, rows, replace=False)) for _ in range(_DRAWS)]
    usual = float(np.mean(drawn))
    return usual, round(usual + _SPREADS * float(np.std(drawn)) + _TOLERATED, 6)


def _repeated(known: Array) -> float:
    return float(f"{1 - len(np.unique(known)) / len(known):.9g}")


@remembered
def _variety(expected: Values) -> tuple[int, float]:
    """How many different values the reference has, and the share of the commonest."""
    if not len(expected.known):
        return 0, 0.0
    counts = np.unique(expected.known, return_counts=True)[1]
    return len(counts), float(counts.max() / counts.sum())


def _longest(codes: Array) -> tuple[int, float]:
    """The length of the longest run of a code, and the code; 0 for no codes."""
    known = codes[~np.isnan(codes)]
    if not len(known):
        return 0, 0.0
    ends = np.append(np.flatnonzero(known[1:] != known[:-1]), len(known) - 1)
    lengths = np.diff(ends, prepend=-1)
    at = int(lengths.argmax())
    return int(lengths[at]), float(known[ends[at]])
