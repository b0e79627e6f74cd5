"""Compute a row's margin and its stratum, which the selection for review uses. Pure.

A stratum is a group of similar rows: a cell of two random projections (locality-sensitive hashing,
Datar and others 2004; projections of +1 and -1, Achlioptas 2003). Numbers are scaled to the range
of the reference, so most rows are in the middle cells, and unusual rows are in cells with only a
few rows. The projections are derived from the feature names, so every process assigns the same
strata.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite, sqrt
from typing import Any

from monitoring.counters.domain_reader import known_values
from monitoring.counters.plain_values import category, number
from monitoring.counters.reference_domain import KnownValues
from monitoring.reviews.selection import STRATA
from registry.features import monitored_columns
from registry.manifest import Version
from registry.outputs import label_output, probabilities_output

_EDGES = (-0.25, 0.0, 0.25)  # edges of the cells of one projection
_CELLS = len(_EDGES) + 1
assert _CELLS**2 == STRATA


class RowKind:
    """Computes the margin and stratum of one version's rows."""

    def __init__(self, version: Version) -> None:
        """Read the ranges of the reference.

        Without a reference, numbers are mapped to -1 to 1 by `x / (1 + abs(x))`.
        """
        manifest = version.manifest
        self._columns = [column.name for column in monitored_columns(manifest)]
        self._signs = [_signs(name) for name in self._columns]
        self._known = _ranges(version, len(self._columns))
        classes = manifest.prediction.classes if probabilities_output(manifest.prediction) else []
        self.answer = len(self._columns)  # index of the prediction among a row's values
        first = self.answer + bool(label_output(manifest.prediction))
        self._probabilities = slice(first, first + len(classes))

    def margin(self, values: Sequence[Any]) -> float | None:
        """Return the difference between the probabilities of the two likeliest classes.

        Return None if the row does not have two finite probabilities.
        """
        probabilities = sorted(number(value) for value in values[self._probabilities])
        if len(probabilities) < 2 or not all(map(isfinite, probabilities)):
            return None
        return min(1.0, max(0.0, probabilities[-1] - probabilities[-2]))

    def stratum(self, values: Sequence[Any]) -> int:
        """Return the row's stratum, a number from 0 to `STRATA` - 1."""
        first = second = 0.0
        for value, domain, (sign, other_sign) in zip(
            values, self._known, self._signs, strict=False
        ):
            scaled = _scaled(value, domain)
            first += sign * scaled
            second += other_sign * scaled
        root = sqrt(len(self._columns) or 1)
        return _cell(first / root) * _CELLS + _cell(second / root)


def _ranges(version: Version, columns: int) -> list[KnownValues]:
    try:
        return known_values(version)
    except (OSError, ValueError, KeyError):  # the reference is unreadable or was removed
        return [None] * columns


def _signs(name: str) -> tuple[int, int]:
    bits = blake2b(name.encode(), digest_size=1, person=b"review").digest()[0]
    return (1 if bits & 1 else -1), (1 if bits & 2 else -1)


def _scaled(value: Any, domain: KnownValues) -> float:
    """Return a value scaled to -1 to 1; a missing value becomes 0."""
    if value is None:
        return 0.0
    if isinstance(domain, frozenset) or domain == "any" or isinstance(value, str):
        digest = blake2b(category(value).encode(errors="replace"), digest_size=4).digest()
        return int.from_bytes(digest, "big") / (1 << 31) - 1
    plain = number(value)
    if not isfinite(plain):
        return 1.0
    if isinstance(domain, tuple) and isfinite(domain[1] - domain[0]) and domain[0] < domain[1]:
        low, high = domain
        return min(1.0, max(-1.0, 2 * (plain - low) / (high - low) - 1))
    return plain / (1 + abs(plain))


def _cell(projection: float) -> int:
    return sum(projection > edge for edge in _EDGES)
