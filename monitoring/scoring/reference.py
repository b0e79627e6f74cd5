"""A version's baseline: its reference data in the form that scores need."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from monitoring.counters.plain_values import category
from monitoring.scoring.feature_values import FeatureTable, categories, numbers_of
from registry.features import expects_labels, monitored_columns
from registry.manifest import Feature, Kind, Manifest, Monitoring, Version
from registry.outputs import label_output, probabilities_output
from registry.own_columns import OwnColumns
from registry.payload import unmonitored
from registry.reference import load_reference

Array = np.ndarray[Any, Any]
_MOST_LABELS = 50  # maximum classes of a multi-label model that are columns


class Column:
    """A column that can drift: a feature, the prediction, or the positive class's probability."""

    def __init__(self, name: str, kind: Kind, stored: str) -> None:
        """`stored` is the column's name in frames of windows and of the reference."""
        self.name = name
        self.kind = kind
        self.stored = stored


class Baseline:
    """One version's reference, and properties that are derived from it."""

    def __init__(
        self, version: Version, rows: pd.DataFrame | None = None, *, learned: bool = False
    ) -> None:
        """`rows`, if set, replace the version's registered reference.

        `learned` states whether they were learned from production.
        """
        self.version = version
        self.manifest: Manifest = version.manifest
        self.frame: pd.DataFrame = load_reference(version) if rows is None else rows
        self.learned = learned
        self.own = OwnColumns(self.manifest)
        self._categories: dict[str, dict[str, int]] = {}  # feature -> number of each category

    @cached_property
    def features(self) -> list[Feature]:
        """The features, and the summaries that the reference has, in the manifest's order."""
        stored = set(self.frame.columns)
        monitored = monitored_columns(self.manifest)
        return [column for column in monitored if column.input or column.name in stored]

    @cached_property
    def has_labels(self) -> bool:
        """Whether the version has a target and the reference has its values.

        If not, no score about labels is computed.
        """
        return expects_labels(self.manifest) and self.manifest.target in self.frame.columns

    @cached_property
    def columns(self) -> list[Column]:
        """All columns that can drift: features, summaries, prediction, and probabilities.

        The probabilities are the positive class's, or the first 50 classes' of a multi-label model.
        """
        kind: Kind = "categorical" if self.manifest.task == "classification" else "numeric"
        predicted = Column(self.own.prediction, kind, self.own.prediction)
        outputs = [predicted] if self.predicts else []
        if self.positive is not None:
            outputs.append(Column(self.own.score, "numeric", self.positive))
        if self.manifest.prediction.activation == "sigmoid":
            names = list(self.probabilities.values())[:_MOST_LABELS]
            outputs += (Column(name, "numeric", name) for name in names)
        return [*(Column(f.name, f.kind, f.name) for f in self.features), *outputs]

    @cached_property
    def times(self) -> Array | None:
        """The rows' event times in microseconds; None if the reference has no event times."""
        if not self.manifest.event_time or self.own.time not in self.frame:
            return None
        return self.frame[self.own.time].to_numpy(dtype=np.int64)

    def in_order_of_time(self) -> "Baseline":
        """Return the baseline with its rows sorted by event time, if they have event times."""
        if self.times is None:
            return self
        return self.with_rows(np.argsort(self.times, kind="stable"))

    def with_rows(self, rows: Array) -> "Baseline":
        """Return a baseline that consists of these rows."""
        return Baseline(self.version, self.frame.iloc[rows].reset_index(drop=True))

    @property
    def predicts(self) -> bool:
        """Whether the version has an output with a predicted class or number."""
        return bool(label_output(self.manifest.prediction))

    @cached_property
    def positive(self) -> str | None:
        """The stored name of the positive class's probability column; None if there is none."""
        prediction = self.manifest.prediction
        if not probabilities_output(prediction) or prediction.positive is None:
            return None
        return self.own.probability(prediction.positive)

    @cached_property
    def classes(self) -> dict[str, int]:
        """The index of every class as text: the manifest's classes, then further labels."""
        declared = [category(name) for name in self.manifest.prediction.classes]
        labels = {category(value) for value in self.frame[self.manifest.target]}
        return {
            name: index for index, name in enumerate([*declared, *sorted(labels - set(declared))])
        }

    @cached_property
    def probabilities(self) -> dict[str, str]:
        """The stored name of each class's probability column, keyed by class as text."""
        prediction = self.manifest.prediction
        classes = prediction.classes if probabilities_output(prediction) else []
        return {category(name): self.own.probability(name) for name in classes}

    @cached_property
    def positive_class(self) -> int | None:
        """The index of the positive class; None if there are more than two classes."""
        prediction = self.manifest.prediction
        if prediction.positive is None or len(prediction.classes) > 2:
            return None
        return self.classes[category(prediction.positive)]

    def categories(self, feature: str) -> dict[str, int]:
        """Return the categories of a feature, numbered from 0 for the most frequent category."""
        if feature not in self._categories:
            codes, names = pd.factorize(categories(self.frame[feature].dropna()))
            order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
            self._categories[feature] = {str(names[code]): n for n, code in enumerate(order)}
        return self._categories[feature]

    @cached_property
    def table(self) -> FeatureTable:
        """The reference's values of the logged features, in the order of registration."""
        return FeatureTable(self.logged_features, self.frame)

    @cached_property
    def logged_features(self) -> list[Feature]:
        """The monitored features and summaries whose values the log contains unchanged."""
        hidden = unmonitored(self.manifest)
        return [column for column in self.features if column.name not in hidden]

    def window_table(self, window: pd.DataFrame, order: Sequence[int] = ()) -> FeatureTable:
        """Return a window's values of the logged features.

        `order` contains the row numbers in order of event time; empty if the rows are in order.
        """
        return FeatureTable(self.logged_features, window, order)

    def observed(self, window: pd.DataFrame, column: str) -> "pd.Series[Any]":
        """Return a column, including missing values, without rows whose payload was not logged.

        Summaries are known of every row.
        """
        withheld = self.own.withheld
        if withheld not in window or column in self._summaries:
            return window[column]
        return window[column][~window[withheld].astype(bool)]

    @cached_property
    def _summaries(self) -> frozenset[str]:
        return frozenset(summary.name for summary in self.manifest.summaries or [])

    def under(self, policy: Monitoring) -> "Baseline":
        """Return the same baseline under another monitoring policy."""
        other = copy(self)
        other.manifest = replace(self.manifest, monitoring=policy)
        other.version = replace(self.version, manifest=other.manifest)
        return other


def comparable(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Return a column's values as numbers or strings; all other values become missing."""
    if column.kind == "categorical":
        return categories(values)
    return pd.Series(numbers_of(values), values.index)
