"""Validate the training rows of a retraining request. Pure.

The checks find faults that make a retrained model perform worse than its evaluation shows: columns
that do not match the manifest, missing values, a feature that determines the label (leakage), and
rows that are also in the reference.
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
FEW_LABELS = 100  # minimum labelled rows for the check of leakage
_MISSING_MORE = 0.05  # maximum increase of the missing share over the reference
_LEAK = 0.995  # maximum agreement of one feature with the label
_DUPLICATES = 0.01  # maximum share of rows that are also in the reference
_MOSTLY = 0.5  # minimum share of numbers in a feature that counts as numeric
_FEW_VALUES = 50  # a numeric feature with at most this many values is treated as a category
_MOST_CLASSES = 20  # most frequent classes that a numeric feature is compared with
_MOST_CATEGORIES = 0.5  # distinct values per row; with more, a feature is an identifier


class DataFinding(msgspec.Struct, frozen=True):
    """The finding of one check."""

    check: Check
    state: CheckState
    message: str
    feature: str = ""  # empty for a finding about all rows
    value: float | None = None  # a share, or an agreement from 0 to 1
    limit: float | None = None  # largest `value` that passes


class ValidationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The findings about the training rows of a request."""

    request: str
    model: str
    version: str
    state: CheckState  # the worst state of the findings
    rows: int
    labelled: int
    weight: str  # name of the weight column
    label: str  # name of the label column
    windows: list[TrainingWindow]
    left_out: int  # number of older windows whose rows are left out
    findings: list[DataFinding]  # worst first


def validate(  # noqa: PLR0913  # the fields of a report
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
    is_bad = False
    for feature in manifest.features:
        if feature.name not in rows.frame:
            is_bad = True
            yield DataFinding("schema", "failed", "the rows do not have this column", feature.name)
        elif feature.kind == "numeric" and (share := _text_share(rows.frame[feature.name])):
            is_bad = True
            message = f"{share:.1%} of the values are not numbers"
            yield DataFinding("schema", "failed", message, feature.name, share, 0.0)
    if not is_bad:
        yield DataFinding(
            "schema", "passed", f"the rows have all {len(manifest.features)} features"
        )


def _missing(
    rows: TrainingRows, manifest: Manifest, reference: "pd.DataFrame | None"
) -> Iterator[DataFinding]:
    is_bad = False
    for feature in _features(rows, manifest):
        share = float(rows.frame[feature.name].isna().mean())
        before = _missing_share(reference, feature.name)
        limit = (before or 0.0) + _MISSING_MORE
        if share > limit:
            is_bad = True
            comparison = f", {before:.1%} in the reference" if before is not None else ""
            message = f"{share:.1%} of the values are missing{comparison}"
            state: CheckState = "failed" if share == 1 else "warning"
            yield DataFinding("missing", state, message, feature.name, share, limit)
    if not is_bad:
        yield DataFinding(
            "missing", "passed", "no feature has more missing values than the reference"
        )


def _labels(rows: TrainingRows) -> Iterator[DataFinding]:
    labels = rows.frame[rows.label].dropna()
    if len(labels) < FEW_LABELS:
        message = f"{len(labels):,} labelled rows; labels of the newest windows may still arrive"
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
    is_bad = False
    for feature in _features(rows, manifest):
        agreement = _agreement(labelled[feature.name], labelled[rows.label], manifest.task)
        if agreement > _LEAK:
            is_bad = True
            message = (
                f"it determines the label (agreement {agreement:.3f}); "
                "check that it is known before the label"
            )
            yield DataFinding("leakage", "failed", message, feature.name, agreement, _LEAK)
    if not is_bad:
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
        message = f"{share:.1%} of the rows have the same features as a row of the reference"
        if state == "warning":
            message += "; the reference is then no held-out data for the new model"
        yield DataFinding("duplicates", state, message, value=share, limit=_DUPLICATES)
    else:
        yield DataFinding("duplicates", "not checked", "the version has no reference")


def _missing_share(reference: "pd.DataFrame | None", feature: str) -> float | None:
    if reference is None or feature not in reference:
        return None
    return float(reference[feature].isna().mean())


def _features(rows: TrainingRows, manifest: Manifest) -> list[Feature]:
    return [feature for feature in manifest.features if feature.name in rows.frame]


def _text_share(column: "pd.Series[Any]") -> float:
    """Return the share of texts in a column; infinities were converted to numbers before."""
    if column.dtype != object:
        return 0.0
    return float(column.map(lambda value: isinstance(value, str)).mean())


def _agreement(feature: "pd.Series[Any]", label: "pd.Series[Any]", task: str) -> float:
    """Return from 0 to 1 how well one feature determines the label.

    For a regression, this is the rank correlation. For a classification with a numeric feature, it
    is the Gini index of the feature against a class. With a categorical feature, it is the accuracy
    of predicting each category's most frequent label, rescaled so that always predicting the most
    frequent label of all rows has 0. An identifier always determines the label, so it gets 0.
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
    accuracy = float(table.max(axis=1).sum()) / len(names)
    return (accuracy - base) / (1 - base) if base < 1 else 0.0


def _gini(numbers: "pd.Series[Any]", names: "pd.Series[Any]") -> float:
    """Return |2 AUC - 1| of a numeric feature against the class that it separates best."""
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
    """Return a hash of each row's features; numbers are rounded to float32 before."""
    import pandas as pd  # noqa: PLC0415

    kinds = {feature.name: feature.kind for feature in manifest.features}
    columns = {
        name: pd.to_numeric(frame[name], errors="coerce").astype(np.float32)
        if kinds[name] == "numeric"
        else frame[name].map(category, na_action="ignore").fillna("").astype(str)
        for name in names
    }
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()
