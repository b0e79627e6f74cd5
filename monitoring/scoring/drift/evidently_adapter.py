"""Calls to Evidently; no other file imports it.

The import takes seconds and much memory. Therefore only the scoring process imports Evidently, and
only the parts that it uses.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"  # must be set before Evidently is imported

import msgspec
import pandas as pd

from eventlog.durable_files import make_folder, replace_file
from monitoring.scoring.drift.evidently_packages import import_on_demand
from monitoring.scoring.drift.report_page import sealed

import_on_demand()

from evidently.legacy.calculations.stattests import get_stattest  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402

_logger = logging.getLogger(__name__)
_COLOURS = (
    *("#ed0400", "#0a5f38", "#6c3461", "#71aa34", "#6b8ba4"),
    *("#60460f", "#a00498", "#017b92", "#ffad01", "#464196"),
)
_COMPONENTS = 16  # maximum principal components that the method `ratio` tests

# Methods whose value is a p-value, so drift is below the threshold. All others are distances.
P_VALUES = frozenset(
    {"ks", "chisquare", "z", "fisher_exact", "anderson", "mannw", "t_test", "cramer_von_mises"}
    | {"g_test", "TVD", "es", "empirical_mmd"}
)

Columns = Mapping[str, "pd.Series[Any]"]  # column name -> values


class ColumnTest(msgspec.Struct, frozen=True):
    """The test of one column."""

    name: str
    categorical: bool
    method: str
    threshold: float | None  # None for Evidently's default of the method


class ColumnDrift(msgspec.Struct, frozen=True):
    """The outcome of one column's drift test."""

    value: float
    method: str
    threshold: float

    @property
    def drifted(self) -> bool:
        """Whether the value is beyond the threshold."""
        if self.method in P_VALUES:
            return self.value < self.threshold
        return self.value >= self.threshold


def embedding_drift(method: str, current: pd.DataFrame, reference: pd.DataFrame) -> float:
    """Return Evidently's distance between two samples of vectors, one vector per row.

    The same samples always have the same distance.
    """
    from evidently.legacy.metrics.data_drift import (  # noqa: PLC0415 - few versions have vectors
        embedding_drift_methods,
    )

    components = min(_COMPONENTS, current.shape[1], len(reference), len(current))
    measures = {
        "distance": embedding_drift_methods.distance(),
        "mmd": embedding_drift_methods.mmd(),
        "model": embedding_drift_methods.model(),
        # The default test marks a component as drifted from 0.1 standard deviations on, which a
        # small window reaches by chance.
        "ratio": embedding_drift_methods.ratio("ks", 0.05, pca_components=components),
    }
    value, _, _ = measures[method](current.copy(), reference.copy())
    return float(value)


def test_columns(
    tests: list[ColumnTest], current: Columns, reference: Columns
) -> dict[str, ColumnDrift | str]:
    """Test every column; return its outcome, or the reason why it could not be tested."""
    return {test.name: _outcome(test, current, reference) for test in tests}


def write_report(
    tests: list[ColumnTest], current: pd.DataFrame, reference: pd.DataFrame, html: Path
) -> None:
    """Write Evidently's report on the columns that Evidently can handle, if there are any.

    If the report on all columns fails, each column is tried separately, and the report is written
    without the columns that fail.
    """
    try:
        _write(tests, current, reference, html)
    except Exception:  # noqa: BLE001 - the other columns are still reported
        sound = [test for test in tests if _reportable(test, current, reference)]
        if 0 < len(sound) < len(tests):
            write_report(sound, current, reference, html)


def _reportable(test: ColumnTest, current: pd.DataFrame, reference: pd.DataFrame) -> bool:
    try:
        _snapshot([test], current, reference)
    except Exception:  # noqa: BLE001 - the report is written without this column
        return False
    return True


def _outcome(test: ColumnTest, current: Columns, reference: Columns) -> ColumnDrift | str:
    sides = [columns[test.name].dropna() for columns in (reference, current)]
    try:
        outcome = measure(test.method, *sides, categorical=test.categorical)
    except Exception as error:  # noqa: BLE001 - the other columns are still tested
        return f"could not be tested: {error}"
    return (
        outcome
        if test.threshold is None
        else msgspec.structs.replace(outcome, threshold=test.threshold)
    )


def measure(
    method: str | None, reference: "pd.Series[Any]", current: "pd.Series[Any]", *, categorical: bool
) -> ColumnDrift:
    """Return the outcome of one column's test, with the default threshold of the method.

    If `method` is None, Evidently chooses it. Errors of the method on unsuitable values are raised
    unchanged.
    """
    kind = ColumnType.Categorical if categorical else ColumnType.Numerical
    test = get_stattest(reference, current, kind, method)
    outcome = test(reference, current, kind, None)
    return ColumnDrift(float(outcome.drift_score), test.name, float(outcome.actual_threshold))


def _write(
    tests: list[ColumnTest], current: pd.DataFrame, reference: pd.DataFrame, html: Path
) -> None:
    snapshot = _snapshot(tests, current, reference)
    try:
        make_folder(html.parent)
        replace_file(html, sealed(snapshot.get_html_str(as_iframe=False)).encode())
    except OSError as error:  # the scores are stored even if the disk is full
        _logger.warning("report %s could not be written: %s", html, error.strerror)
        with suppress(OSError):
            html.unlink(missing_ok=True)


def _snapshot(tests: list[ColumnTest], current: pd.DataFrame, reference: pd.DataFrame) -> Any:
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 - only for reports
    from evidently.metrics import MissingValueCount, ValueDrift  # noqa: PLC0415
    from plotly import io  # noqa: PLC0415

    # Evidently's user interface, which is not imported, sets the same colours.
    io.templates[io.templates.default].layout.colorway = _COLOURS
    names = [test.name for test in tests]
    definition = DataDefinition(
        numerical_columns=[test.name for test in tests if not test.categorical],
        categorical_columns=[test.name for test in tests if test.categorical],
    )
    drifts = [
        ValueDrift(column=test.name, method=test.method, threshold=test.threshold) for test in tests
    ]
    missing = [MissingValueCount(column=name) for name in names]
    return Report([*drifts, *missing]).run(
        Dataset.from_pandas(current[names], data_definition=definition),
        Dataset.from_pandas(reference[names], data_definition=definition),
    )
