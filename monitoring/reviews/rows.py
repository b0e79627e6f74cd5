"""Rows of the review queue, as the monitor's database stores them."""

from typing import Any, Literal

import msgspec

from eventlog.events import Label, ReviewAction
from monitoring.reviews.selection import Part

LeaseState = Literal["leased", "skipped", "decided"]


class ReviewRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A candidate row of an open period, or a picked row if `inclusion` is above 0."""

    prediction_id: str  # prediction id as callers received it
    time: int  # event time in microseconds since the Unix epoch
    values: list[Any]  # values in the order of row_layout.columns
    predicted: Any  # predicted class or number
    uniforms: tuple[float, float, float]  # random numbers of the row, one for each part
    margin: float | None = None  # difference between the two greatest class probabilities
    stratum: int = 0  # group of similar rows
    logged: float = 1.0  # probability that the row's payload is in the log
    inclusion: float = 0.0  # probability that the row was picked
    parts: list[Part] = []  # parts of the selection that picked the row


class ReviewDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest decision about a row, from its label event in the log."""

    action: ReviewAction
    label: Label | None  # None if the previous decision was undone
    actor: str = ""
    why: str = ""
    time: int = 0  # time of the decision in microseconds since the Unix epoch


class ReviewCounts(msgspec.Struct, frozen=True):
    """The counts of a period that has not ended."""

    strata: list[int]  # number of rows in each stratum
    scored: int  # number of rows with a margin


class PickedRow(msgspec.Struct, frozen=True):
    """A picked row, with the decision about it."""

    model: str
    version: str
    joined_by: str  # key that joins the prediction to its labels
    row: int  # number of the row within its prediction
    stored: ReviewRow
    decision: ReviewDecision | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The model's name and the version's number."""
        return self.model, self.version

    @property
    def label(self) -> Label | None:
        """The reviewer's label; None if the row is undecided."""
        return None if self.decision is None else self.decision.label
