"""The distribution of each column in a window and in the reference; bars.py draws it.

Bins follow from the reference alone, so that a column looks the same in every window. Another
window's rows may stand in for the reference.
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

MOST_COLUMNS = 40
MOST_VALUES = 12  # values with a bin each; others share ranges of numbers or one bin
_RANGES = 18  # number of equal ranges between the 1st and 99th percentile of the reference
_KEPT = 8  # versions
_ROUNDING = 1e-9


class Bin(msgspec.Struct, frozen=True):
    """A value or a range, and its share of the rows that have any."""

    name: str
    expected: float  # share in the reference
    found: float


class Distribution(msgspec.Struct, frozen=True):
    """One column; `bins` is empty if nothing can be shown, and `note` says why."""

    column: str
    bins: list[Bin]
    numeric: bool = False  # whether the bins are ranges, in order
    note: str = ""
    beside: str = "in the reference"  # where `expected` was counted


class Rows(msgspec.Struct, frozen=True):
    """Rows to compare, and a description of their origin."""

    frame: "pd.DataFrame"
    where: str


class References:
    """The baselines of the versions that were looked at last."""

    def __init__(self, catalogue: Catalogue | None, learned: BaselineFiles | None = None) -> None:
        """Without a `catalogue` there are none; `learned` are those of versions without one."""
        self._catalogue = catalogue
        self._learned = learned
        self._known: dict[str, Baseline] = {}

    def of(self, model: str, number: str, learned: str = "") -> "Baseline | None":
        """Return the version's; None if it is not registered here, has none, or cannot be read.

        `learned` is the digest of a learned baseline.
        """
        try:
            version = registered(self._catalogue, model, number)
            return None if version is None else self._read(version, learned)
        except (RegistryError, MissingBaseline, OSError):
            return None

    def _read(self, version: Version, learned: str) -> "Baseline | None":
        from monitoring.scoring.reference import Baseline  # noqa: PLC0415 - pandas is slow to import

        key = learned or version.digest
        if key not in self._known:
            if learned and self._learned is None:
                return None
            if len(self._known) >= _KEPT:
                self._known.clear()
            rows = self._learned.read(learned) if learned and self._learned else None
            self._known[key] = Baseline(version, rows, learned=bool(learned))
        return self._known[key]


def registered(catalogue: Catalogue | None, model: str, number: str) -> Version | None:
    """Return a registered version; None if it is not registered here."""
    try:
        versions = catalogue.versions(model) if catalogue else []
    except UnknownModel:
        return None
    return next((version for version in versions if version.number == number), None)


def distributions(
    baseline: "Baseline", rows: Rows, order: Sequence[str], beside: Rows | None = None
) -> list[Distribution]:
    """Return the columns of a window's sampled rows, in the order of their names given.

    Without `beside`, they are compared with the reference.
    """
    expected = beside or Rows(baseline.frame, "in the reference")
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
    """Return one column of the rows beside those of the reference."""
    from monitoring.scoring.reference import comparable  # noqa: PLC0415 - pandas is slow to import

    expected = comparable(reference.frame[column.stored], column).dropna()
    current = comparable(rows.frame[column.stored], column).dropna()
    if expected.empty or current.empty:
        without = reference if expected.empty else rows
        all_missing = without.frame[column.stored].isna().all()
        what = "are missing" if all_missing else "are missing, infinite or no numbers"
        return _hidden(column.name, f"all values {what} {without.where}")
    numeric = column.kind == "numeric" and expected.nunique() > MOST_VALUES
    bins = (_ranges if numeric else _values)(expected, current)
    return Distribution(column.name, bins, numeric=numeric, beside=reference.where)


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
    rest = 1 - sum(bin_.expected for bin_ in bins), 1 - sum(bin_.found for bin_ in bins)
    return [*bins, Bin("all others", *rest)] if max(rest) > _ROUNDING else bins


def _name(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _hidden(name: str, why: str) -> Distribution:
    return Distribution(name, [], note=why)
