"""The rows of the review queue as they are stored."""

from typing import Any, Literal

import msgspec

from eventlog.events import Label, ReviewAction
from monitoring.reviews.selection import Part

LeaseState = Literal["leased", "skipped", "decided"]


class ReviewRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row that may be picked or, with an inclusion, that was picked."""

    prediction_id: str  # prediction id as callers know it
    time: int  # event time
    values: list[Any]  # values in the order of row_layout.columns
    predicted: Any
    uniforms: tuple[float, float, float]
    margin: float | None = None
    stratum: int = 0
    logged: float = 1.0  # probability that its payload is in the log
    inclusion: float = 0.0  # probability that it was picked
    parts: list[Part] = []


class ReviewDecision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest decision about a row, as it stands in the log."""

    action: ReviewAction
    label: Label | None  # None: the decision before was undone
    actor: str = ""
    why: str = ""
    time: int = 0


class ReviewCounts(msgspec.Struct, frozen=True):
    """The counts of a period that has not ended."""

    strata: list[int]
    scored: int


class PickedRow(msgspec.Struct, frozen=True):
    """A picked row, and what was decided about it."""

    model: str
    version: str
    joined_by: str
    row: int
    stored: ReviewRow
    decision: ReviewDecision | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Model and version number."""
        return self.model, self.version

    @property
    def label(self) -> Label | None:
        """The label that a person has stated."""
        return None if self.decision is None else self.decision.label
