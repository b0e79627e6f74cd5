"""The distribution of each column in a window and in the reference; charts/bars.py draws it.

Bins are derived only from the reference, so that a column has the same bins in every window. To
compare two windows, the rows of the first window replace the reference.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from monitoring.baselines.files import BaselineFiles
from monitoring.errors import MissingBaseline
from registry.catalogue import Catalogue
from registry.errors import RegistryError, UnknownModel
from registry.manifest import Version
from registry.payload import unmonitored

if TYPE_CHECKING:
    import pandas as pd

    from monitoring.scoring.reference import Baseline, Column

MOST_COLUMNS = 40  # distributions on a page
MOST_VALUES = 12  # values with their own bin; numbers with more values are binned by ranges
_RANGES = 18  # number of equal ranges between the 1st and 99th percentile of the reference
_MOST_CACHED = 8  # baselines in memory
_ROUNDING = 1e-9  # largest rounding error of a sum of shares


class Bin(msgspec.Struct, frozen=True):
    """A value or a range, and its share of the rows that have a value."""

    name: str
    expected: float  # share in the reference
    current: float  # share in the window


class Distribution(msgspec.Struct, frozen=True):
    """The distribution of one column; if it cannot be shown, `note` states the reason."""

    column: str
    bins: list[Bin]  # empty if the distribution cannot be shown
    numeric: bool = False  # whether the bins are ranges, in order
    note: str = ""
    origin: str = "in the reference"  # origin of the rows of `expected`


class Rows(msgspec.Struct, frozen=True):
    """Rows to compare, and their origin as a phrase, such as "in this window"."""

    frame: "pd.DataFrame"
    origin: str


class References:
    """A cache of the references and learned baselines of versions."""

    def __init__(self, catalogue: Catalogue | None, learned: BaselineFiles | None = None) -> None:
        """Read references from `catalogue`, and learned baselines from `learned`.

        If `catalogue` is None, no version has a reference or a baseline.
        """
        self._catalogue = catalogue
        self._learned = learned
        self._cache: dict[str, Baseline] = {}

    def of(self, model: str, number: str, learned: str = "") -> "Baseline | None":
        """Return a version's reference, or its learned baseline with the digest `learned`.

        None if the version is not registered here, or if the baseline is missing or unreadable.
        """
        try:
            version = registered(self._catalogue, model, number)
            return None if version is None else self._read(version, learned)
        except (RegistryError, MissingBaseline, OSError):
            return None

    def _read(self, version: Version, learned: str) -> "Baseline | None":
        from monitoring.scoring.reference import Baseline  # noqa: PLC0415 - pandas is slow to import

        key = learned or version.digest
        if key not in self._cache:
            if learned and self._learned is None:
                return None
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            rows = self._learned.read(learned) if learned and self._learned else None
            self._cache[key] = Baseline(version, rows, learned=bool(learned))
        return self._cache[key]


def registered(catalogue: Catalogue | None, model: str, number: str) -> Version | None:
    """Return a registered version; None if it is not registered here."""
    try:
        versions = catalogue.versions(model) if catalogue else []
    except UnknownModel:
        return None
    return next((version for version in versions if version.number == number), None)


def distributions(
    baseline: "Baseline", rows: Rows, order: Sequence[str], against: Rows | None = None
) -> list[Distribution]:
    """Return the distributions of a window's columns, in the order of the names in `order`.

    The rows are compared with `against`, by default with the reference.
    """
    expected = against or Rows(baseline.frame, "in the reference")
    hidden = unmonitored(baseline.manifest)
    columns = {column.name: column for column in baseline.columns}
    shown = [columns[name] for name in order if name in columns][:MOST_COLUMNS]
    return [
        _hidden(column.name, hidden[column.name])
        if column.name in hidden
        else distribution(column, expected, rows)
        for column in shown
    ]


def distribution(column: "Column", reference: Rows, rows: Rows) -> Distribution:
    """Return the distribution of one column in `rows` and in `reference`."""
    from monitoring.scoring.reference import comparable  # noqa: PLC0415 - pandas is slow to import

    expected = comparable(reference.frame[column.stored], column).dropna()
    current = comparable(rows.frame[column.stored], column).dropna()
    if expected.empty or current.empty:
        without = reference if expected.empty else rows
        all_missing = without.frame[column.stored].isna().all()
        state = "are missing" if all_missing else "are missing, infinite or no numbers"
        return _hidden(column.name, f"all values {state} {without.origin}")
    numeric = column.kind == "numeric" and expected.nunique() > MOST_VALUES
    bins = (_ranges if numeric else _values)(expected, current)
    return Distribution(column.name, bins, numeric=numeric, origin=reference.origin)


def _ranges(expected: "pd.Series[Any]", current: "pd.Series[Any]") -> list[Bin]:
    low, high = (float(edge) for edge in np.quantile(expected, [0.01, 0.99]))
    inner = np.linspace(low, high if high > low else low + 1.0, _RANGES + 1)
    edges = np.concatenate([[-np.inf], inner, [np.inf]])
    names = [
        f"below {low:.4g}",
        *(f"{a:.4g} to {b:.4g}" for a, b in pairwise(inner.tolist())),
        f"above {inner[-1]:.4g}",
    ]
    shares = [np.histogram(values, edges)[0] / len(values) for values in (expected, current)]
    return [Bin(name, float(a), float(b)) for name, a, b in zip(names, *shares, strict=True)]


def _values(expected: "pd.Series[Any]", current: "pd.Series[Any]") -> list[Bin]:
    before, now = (values.value_counts(normalize=True) for values in (expected, current))
    shown = list(before.index[:MOST_VALUES])
    if before.index.inferred_type == "floating":
        shown.sort()
    bins = [Bin(_name(value), float(before[value]), float(now.get(value, 0.0))) for value in shown]
    rest = 1 - sum(bin_.expected for bin_ in bins), 1 - sum(bin_.current for bin_ in bins)
    return [*bins, Bin("all others", *rest)] if max(rest) > _ROUNDING else bins


def _name(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _hidden(name: str, why: str) -> Distribution:
    return Distribution(name, [], note=why)
