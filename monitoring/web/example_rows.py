"""Choose example rows of a window: wrong predictions, uncertain predictions, or one group. Pure.

The rows are returned by `Queries.examples`. Their first three columns identify a row; the features,
the prediction, the probabilities and the label follow.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from registry.labels import category
from registry.manifest import Manifest
from registry.own_columns import PREDICTION, OwnColumns

if TYPE_CHECKING:
    import pandas as pd

    from monitoring.scoring.segments.grouping import Grouping

Choice = Literal["all", "wrong", "uncertain"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
IDENTIFIERS = 3  # number of columns before the features: prediction id, row, event time


class AnswerColumns(msgspec.Struct, frozen=True):
    """The columns with a version's prediction and probabilities."""

    prediction: str
    probabilities: list[str]  # empty if the version returns no probabilities
    regression: bool = False

    @classmethod
    def of(cls, manifest: Manifest | None) -> "AnswerColumns":
        """Derive the columns from a manifest; without it, assume the prediction's default name."""
        if manifest is None:
            return cls(PREDICTION, [])
        own = OwnColumns(manifest)
        classes = manifest.prediction.classes
        return cls(
            own.prediction,
            [own.probability(name) for name in classes],
            regression=manifest.task == "regression",
        )

    def choices(self, rows: "pd.DataFrame") -> list[Choice]:
        """Return the choices that these rows allow."""
        labelled = self.prediction in rows and bool(rows.iloc[:, -1].notna().any())
        uncertain = any(name in rows for name in self.probabilities)
        possible: dict[Choice, bool] = {"all": True, "wrong": labelled, "uncertain": uncertain}
        return [choice for choice in CHOICES if possible[choice]]

    def choose(self, rows: "pd.DataFrame", choice: Choice) -> "pd.DataFrame":
        """Return the rows of a choice.

        `wrong`: rows whose prediction differs from the label; in a regression, the largest error
        first. `uncertain`: all rows, the smallest probability of the likeliest class first.
        """
        if choice not in self.choices(rows):
            return rows.iloc[:0]
        if choice == "wrong":
            return self._largest_errors(rows) if self.regression else self._wrong(rows)
        if choice == "uncertain":
            names = [name for name in self.probabilities if name in rows]
            likeliest = rows[names].apply(_numbers).max(axis="columns")
            return _in_order(rows, likeliest)
        return rows

    def _wrong(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        label, predicted = rows.iloc[:, -1], rows[self.prediction]
        wrong = label.notna() & (label.map(category) != predicted.map(category))
        return rows.loc[wrong.to_numpy()]

    def _largest_errors(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        error = (_numbers(rows.iloc[:, -1]) - _numbers(rows[self.prediction])).abs()
        return _in_order(rows, -error[error > 0])


def _in_order(rows: "pd.DataFrame", by: "pd.Series[float]") -> "pd.DataFrame":
    """Return the rows with a value in `by`, the smallest value first."""
    return rows.loc[list(by.dropna().sort_values(kind="stable").index)]


def of_group(
    rows: "pd.DataFrame", column: str, name: str, segment: "Grouping | None"
) -> "pd.DataFrame":
    """Return the rows of a segment's group; without a segment, the rows with the value `name`.

    Values are compared as text. Raises KeyError if the column does not exist.
    """
    if segment is not None and name in segment.names:
        places = segment.places(rows[column])
        group: pd.DataFrame = rows.loc[places == segment.names.index(name)]
        return group
    return rows.loc[(rows[column].map(category) == name).to_numpy()]


def as_cells(rows: "pd.DataFrame") -> list[Mapping[str, Any]]:
    """Return each row as a mapping from column to value; missing values are None.

    Columns of only whole numbers contain integers.
    """
    plain = rows.convert_dtypes(convert_string=False).astype(object)
    return [
        {str(name): value for name, value in cells.items()}
        for cells in plain.where(rows.notna(), None).to_dict("records")
    ]


def _numbers(values: "pd.Series[Any]") -> "pd.Series[float]":
    import pandas as pd  # noqa: PLC0415 - slow to import: a quarter of the monitor's start-up time

    numbers: pd.Series[float] = pd.to_numeric(values, errors="coerce")
    return numbers
