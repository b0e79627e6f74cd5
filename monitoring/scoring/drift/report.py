"""Write Evidently's report on a window, with a bounded number of columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from monitoring.scoring.drift.evidently_adapter import ColumnDrift, ColumnTest, write_report
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.reference import Baseline

MOST_REPORTED = 100  # maximum columns; each column takes 45 KB


class Tested(msgspec.Struct, frozen=True):
    """The tests of a window's columns, and their outcomes."""

    tests: list[ColumnTest]
    outcomes: Mapping[str, ColumnDrift | str]  # column -> outcome, or reason why there is none

    @property
    def reported(self) -> list[ColumnTest]:
        """The tests with an outcome, drifted columns first, at most `MOST_REPORTED`."""
        drifts = {
            n: outcome for n, outcome in self.outcomes.items() if isinstance(outcome, ColumnDrift)
        }
        tested = [test for test in self.tests if test.name in drifts]
        return sorted(tested, key=lambda test: not drifts[test.name].drifted)[:MOST_REPORTED]


def write_drift_report(
    baseline: Baseline,
    thresholds: DriftThresholds,
    window: pd.DataFrame,
    tested: Tested,
    html: Path,
) -> None:
    """Write the report on at most `MOST_REPORTED` columns; do nothing if no column was tested.

    Categories are pooled as in the tests, because Evidently's time grows with the square of their
    number.
    """
    shown = tested.reported
    if not shown:
        return
    columns = {column.name: column for column in baseline.columns}
    current, reference = {}, {}
    for test in shown:
        column = columns[test.name]
        values, stored = thresholds.values(column), column.stored
        window_values, reference_values = values.current(window[stored]), values.expected
        current[test.name] = values.readable(window[stored], window_values)
        reference[test.name] = values.readable(baseline.frame[stored], reference_values)
    write_report(shown, pd.DataFrame(current), _side_by_side(reference), html)


def _side_by_side(columns: "Mapping[str, pd.Series[Any]]") -> pd.DataFrame:
    """Return columns as one frame; pooled columns are shorter, because they have half the rows."""
    return pd.DataFrame({name: values.reset_index(drop=True) for name, values in columns.items()})
