"""Compare the rows of files with a version's reference before they are predicted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from driftline.batch.rows import read_rows
from registry.features import signature, width
from registry.manifest import Feature, Manifest, Version
from registry.reference_domains import domains
from registry.reference_path import has_reference

Array = np.ndarray[Any, Any]
_EXAMPLES = 3
_MOST_VALUES = 10_000  # maximum number of unseen categories per feature that are counted by name


class Finding(NamedTuple):
    """A difference between a feature's values and the reference."""

    feature: str
    rows: int
    share: float  # `rows` as a share of the rows that can be predicted
    detail: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.rows:,} rows ({self.share:.2%}) {self.detail}"


class CheckReport(NamedTuple):
    """The result of a check, with the worst features first."""

    rows: int
    rejected: int
    findings: list[Finding]
    note: str  # limits of the check, "" if everything was checked

    def over(self, share: float) -> list[str]:
        """Return the findings that affect more than this share of the rows."""
        worst = [str(finding) for finding in self.findings if finding.share > share]
        if self.rejected > share * self.rows:
            part = self.rejected / self.rows
            worst.insert(0, f"{self.rejected:,} rows ({part:.2%}) do not fit the model's features")
        return worst


def check_tables(version: Version, tables: Iterable[pa.Table]) -> CheckReport:
    """Count rows outside the reference's ranges and rows with categories unknown to it."""
    manifest, checks = version.manifest, []
    note = "the version has no reference, so only types and missing values were checked"
    if has_reference(version):
        note = ""
        ranges, categories = domains(version, manifest.features)
        checks = list(_checks(manifest, ranges, categories))
    rows = rejected = 0
    for table in tables:
        read = read_rows(manifest, table)
        rows += len(table)
        rejected += len(read.rejects)
        for check in checks if len(read.places) else []:
            array = read.tensors[check.feature.input]
            check.include(array.reshape(len(array), -1)[:, check.feature.index])
    findings = [finding for check in checks if (finding := check.finding(rows - rejected))]
    return CheckReport(rows, rejected, sorted(findings, key=lambda finding: -finding.share), note)


def _checks(
    manifest: Manifest,
    ranges: Mapping[str, tuple[float, float]],
    categories: Mapping[str, set[str]],
) -> Iterator["_Range | _Categories"]:
    specs = {spec.name: spec for spec in signature(manifest).inputs}
    for feature in manifest.features:
        assert feature.index < width(specs[feature.input])
        if feature.kind == "categorical":
            yield _Categories(feature, categories.get(feature.name, set()))
        elif feature.name in ranges:
            yield _Range(feature, *ranges[feature.name])


class _Range:
    def __init__(self, feature: Feature, low: float, high: float) -> None:
        self.feature = feature
        # `include` rounds the limits to the tensor's type, so that the reference's extremes are
        # inside the range.
        self._low, self._high = low, high
        self._outside = 0
        self._extremes = np.inf, -np.inf

    def include(self, values: Array) -> None:
        """Count the values that are outside the range."""
        low, high = values.dtype.type(self._low), values.dtype.type(self._high)
        with np.errstate(invalid="ignore"):
            outside = (values < low) | (values > high)
        if count := int(outside.sum()):
            self._outside += count
            least, most = self._extremes
            beyond = values[outside]
            self._extremes = min(least, float(beyond.min())), max(most, float(beyond.max()))

    def finding(self, rows: int) -> Finding | None:
        """Return the finding, or None if all values were inside the range."""
        if not self._outside:
            return None
        least, most = self._extremes
        beyond = [f"{value:.6g}" for value in dict.fromkeys((least, most))]
        detail = (
            f"outside the reference's range {self._low:.6g} to {self._high:.6g}: "
            f"{' to '.join(beyond)}"
        )
        return Finding(self.feature.name, self._outside, self._outside / rows, detail)


class _Categories:
    def __init__(self, feature: Feature, categories: set[str]) -> None:
        self.feature = feature
        self._categories = categories
        self._unseen: Counter[str] = Counter()
        self._more = 0

    def include(self, values: Array) -> None:
        """Count the values that are unknown to the reference."""
        listed = values.tolist()
        for value, count in Counter(listed).items():
            name = category_text(value)
            if name is None or name in self._categories:
                continue
            if name in self._unseen or len(self._unseen) < _MOST_VALUES:
                self._unseen[name] += count
            else:
                self._more += count

    def finding(self, rows: int) -> Finding | None:
        """Return the finding, or None if all values were known."""
        count = self._unseen.total() + self._more
        if not count:
            return None
        common = ", ".join(f"{name!r:.60}" for name, _ in self._unseen.most_common(_EXAMPLES))
        more = ", ..." if len(self._unseen) > _EXAMPLES else ""
        detail = f"with values that the reference lacks: {common}{more}"
        return Finding(self.feature.name, count, count / rows, detail)


def category_text(value: Any) -> str | None:
    """Return a category as the reference's domains write it, or None for a missing value."""
    if value == "" or value != value:  # noqa: PLR0124  # true for NaN
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
