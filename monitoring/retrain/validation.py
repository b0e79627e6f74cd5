"""Validate the rows of a retraining request before a model is trained on them. Pure.

The checks are those that make a retrained model worse than it looks: columns that are not as the
model expects them, values that are missing, a feature that is the label in other words, and rows
that the reference has too.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from monitoring.counters.plain_values import category
from monitoring.retrain.training_rows import TrainingRows, TrainingWindow
from registry.manifest import Feature, Manifest

if TYPE_CHECKING:
    import pandas as pd

CheckState = Literal["passed", "not checked", "warning", "failed"]
Check = Literal["schema", "missing", "leakage", "duplicates", "labels"]
FEW_LABELS = 100  # labelled rows; with fewer, leakage cannot be judged
_MISSING_MORE = 0.05  # share of missing values above that of the reference
_LEAK = 0.995  # agreement of one feature with the label
_DUPLICATES = 0.01  # share of rows that the reference has too
_MOSTLY = 0.5  # minimum share of numbers for a numeric feature
_FEW_VALUES = 50  # numbers with at most so many values are treated as categories
_MOST_CLASSES = 20
_MOST_CATEGORIES = 0.5  # distinct values for a row: above it, a feature is an identifier


class DataFinding(msgspec.Struct, frozen=True):
    """The finding of one check; `value` and `limit` are shares, if it has them."""

    check: Check
    state: CheckState
    message: str
    feature: str = ""
    value: float | None = None
    limit: float | None = None


class ValidationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The findings about the rows of a request."""

    request: str
    model: str
    version: str
    state: CheckState  # the worst of its findings
    rows: int
    labelled: int
    weight: str  # names of columns
    label: str
    windows: list[TrainingWindow]
    left_out: int  # older windows, whose rows are not among them
    findings: list[DataFinding]  # the worst first; a check that found nothing has passed


def validate(  # noqa: PLR0913  # what a report names
    request: str,
    model: str,
    version: str,
    rows: TrainingRows,
    *,
    manifest: Manifest,
    reference: "pd.DataFrame | None",
) -> ValidationReport:
    """Validate rows against a version's manifest and reference."""
    findings = [
        *_schema(rows, manifest),
        *_missing(rows, manifest, reference),
        *_labels(rows),
        *_leakage(rows, manifest),
        *_duplicates(rows, manifest, reference),
    ]
    order: list[CheckState] = ["failed", "warning", "not checked", "passed"]
    findings.sort(key=lambda finding: (order.index(finding.state), finding.check, finding.feature))
    return ValidationReport(
        request=request,
        model=model,
        version=version,
        state=findings[0].state,
        rows=len(rows.frame),
        labelled=int(rows.frame[rows.label].notna().sum()),
        weight=rows.weight,
        label=rows.label,
        windows=rows.windows,
        left_out=rows.left_out,
        findings=findings,
    )


def _schema(rows: TrainingRows, manifest: Manifest) -> Iterator[DataFinding]:
    bad = False
    for feature in manifest.features:
        if feature.name not in rows.frame:
            bad = True
            yield DataFinding("schema", "failed", "the rows have no such column", feature.name)
        elif feature.kind == "numeric" and (odd := _share_of_words(rows.frame[feature.name])):
            bad = True
            message = f"{odd:.1%} of the values are not numbers"
            yield DataFinding("schema", "failed", message, feature.name, odd, 0.0)
    if not bad:
        yield DataFinding("schema", "passed", f"all {len(manifest.features)} features are there")


def _missing(
    rows: TrainingRows, manifest: Manifest, reference: "pd.DataFrame | None"
) -> Iterator[DataFinding]:
    bad = False
    for feature in _features(rows, manifest):
        share = float(rows.frame[feature.name].isna().mean())
        before = _missing_share(reference, feature.name)
        limit = (before or 0.0) + _MISSING_MORE
        if share > limit:
            bad = True
            beside = f", {before:.1%} in the reference" if before is not None else ""
            message = f"{share:.1%} of the values are missing{beside}"
            state: CheckState = "failed" if share == 1 else "warning"
            yield DataFinding("missing", state, message, feature.name, share, limit)
    if not bad:
        yield DataFinding("missing", "passed", "no feature misses more values than the reference")


def _labels(rows: TrainingRows) -> Iterator[DataFinding]:
    labels = rows.frame[rows.label].dropna()
    if len(labels) < FEW_LABELS:
        message = f"{len(labels):,} labelled rows; labels of the newest windows may still come"
        yield DataFinding("labels", "warning", message)
    elif labels.nunique() == 1:
        yield DataFinding("labels", "failed", f"every label is {labels.iloc[0]!r:.60}")
    else:
        yield DataFinding("labels", "passed", f"{len(labels):,} labelled rows")


def _leakage(rows: TrainingRows, manifest: Manifest) -> Iterator[DataFinding]:
    labelled = rows.frame[rows.frame[rows.label].notna()]
    if len(labelled) < FEW_LABELS:
        yield DataFinding("leakage", "not checked", f"fewer than {FEW_LABELS} labelled rows")
        return
    bad = False
    for feature in _features(rows, manifest):
        agreement = _agreement(labelled[feature.name], labelled[rows.label], manifest.task)
        if agreement > _LEAK:
            bad = True
            message = f"it determines the label (agreement {agreement:.3f}): is it known before?"
            yield DataFinding("leakage", "failed", message, feature.name, agreement, _LEAK)
    if not bad:
        yield DataFinding("leakage", "passed", "no single feature determines the label")


def _duplicates(
    rows: TrainingRows, manifest: Manifest, reference: "pd.DataFrame | None"
) -> Iterator[DataFinding]:
    names = [feature.name for feature in _features(rows, manifest)]
    if not names:
        return
    if reference is not None and set(names) <= set(reference.columns):
        own, other = _hashes(rows.frame, names, manifest), _hashes(reference, names, manifest)
        share = float(np.isin(own, other).mean())
        state: CheckState = "warning" if share > _DUPLICATES else "passed"
        message = f"{share:.1%} of the rows have the features of a row of the reference"
        if state == "warning":
            message += ": a model trained on them is not held out from it"
        yield DataFinding("duplicates", state, message, value=share, limit=_DUPLICATES)
    else:
        yield DataFinding("duplicates", "not checked", "the version has no reference")


def _missing_share(reference: "pd.DataFrame | None", feature: str) -> float | None:
    if reference is None or feature not in reference:
        return None
    return float(reference[feature].isna().mean())


def _features(rows: TrainingRows, manifest: Manifest) -> list[Feature]:
    return [feature for feature in manifest.features if feature.name in rows.frame]


def _share_of_words(column: "pd.Series[Any]") -> float:
    """Return the share of values that are texts; infinities are numbers by then."""
    if column.dtype != object:
        return 0.0
    return float(column.map(lambda value: isinstance(value, str)).mean())


def _agreement(feature: "pd.Series[Any]", label: "pd.Series[Any]", task: str) -> float:
    """Return how well one feature determines the label, 0 to 1.

    Of a regression, the rank correlation. Of a classification, the Gini index of a number against
    a class, or the share of labels that the values of a category determine, beyond what the most
    frequent label gives. An identifier determines everything and is left out.
    """
    import pandas as pd  # noqa: PLC0415

    numbers = pd.to_numeric(feature, errors="coerce")
    is_number = bool(numbers.notna().mean() > _MOSTLY)
    if task == "regression":
        values = pd.to_numeric(label, errors="coerce")
        common = numbers.notna() & values.notna()
        varies = min(numbers[common].nunique(), values[common].nunique()) > 1
        correlation = numbers[common].rank().corr(values[common].rank()) if varies else 0.0
        return abs(float(correlation))
    names = label.map(category)
    if is_number and feature.nunique() > _FEW_VALUES:
        return _gini(numbers, names)
    if feature.nunique() > _MOST_CATEGORIES * len(feature):
        return 0.0
    base = float(names.value_counts(normalize=True).iloc[0])
    table = pd.crosstab(feature.map(category, na_action="ignore").fillna(""), names)
    right = float(table.max(axis=1).sum()) / len(names)
    return (right - base) / (1 - base) if base < 1 else 0.0


def _gini(numbers: "pd.Series[Any]", names: "pd.Series[Any]") -> float:
    """Return |2 AUC - 1| of a number against the class that it separates best."""
    present = numbers.notna()
    ranks, names = numbers[present].rank(), names[present]
    counts = names.value_counts()
    best = 0.0
    for name, count in counts.iloc[:_MOST_CLASSES].items():
        others = len(names) - int(count)
        if others:
            above = float(ranks[names == name].sum()) - count * (count + 1) / 2
            best = max(best, abs(2 * above / (count * others) - 1))
    return best


def _hashes(frame: "pd.DataFrame", names: list[str], manifest: Manifest) -> "np.ndarray[Any, Any]":
    """Return a hash for the features of each row; numbers are compared as float32 holds them."""
    import pandas as pd  # noqa: PLC0415

    kinds = {feature.name: feature.kind for feature in manifest.features}
    columns = {
        name: pd.to_numeric(frame[name], errors="coerce").astype(np.float32)
        if kinds[name] == "numeric"
        else frame[name].map(category, na_action="ignore").fillna("").astype(str)
        for name in names
    }
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
