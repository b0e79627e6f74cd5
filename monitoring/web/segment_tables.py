"""Arrange a window's segments for display: one table per column, one row per group. Pure."""

import msgspec

from monitoring.presenter.names import PERFORMANCE
from monitoring.results import ESTIMATED, Result, Score

FIGURES = {  # titles of scores, in the order of display
    "selection_rate": "selection rate",
    "true_positive_rate": "true-positive rate",
    "mean_prediction": "mean prediction",
    "drifted_share": "features drifted",
    **PERFORMANCE,
    **{ESTIMATED + name: f"{title}, estimated" for name, title in PERFORMANCE.items()},
}
GAPS = {  # titles of scores that compare the groups of a column
    "selection_rate_gap": "Gap in selection rate",
    "true_positive_rate_gap": "Gap in true-positive rate",
}


class Group(msgspec.Struct, frozen=True):
    """The rows with one value, or range of values, of the segment's column."""

    name: str
    scores: dict[str, Score]  # by score name


class SegmentTable(msgspec.Struct, frozen=True):
    """The segments of a window by one column's values."""

    column: str
    groups: list[Group]
    gaps: list[Score]  # scores of GAPS
    note: str  # reason if there are no groups

    @property
    def remarks(self) -> dict[str, str]:
        """The reasons for missing figures, by group; empty if no figure is missing."""
        remarks = {
            group.name: "; ".join(
                f"{FIGURES.get(name, name)}: {score.note}"
                for name, score in group.scores.items()
                if score.value is None and score.note
            )
            for group in self.groups
        }
        return remarks if any(remarks.values()) else {}

    @property
    def figures(self) -> dict[str, str]:
        """The titles of the figures that any group has, by score name."""
        names = {name for group in self.groups for name in group.scores}
        return {name: title for name, title in FIGURES.items() if name in names}


def segment_tables(result: Result) -> list[SegmentTable]:
    """Return the segment tables of a window, in the policy's order."""
    by_column: dict[str, list[Score]] = {}
    for score in result.scores:
        if score.segment:
            by_column.setdefault(score.segment.split("=", 1)[0], []).append(score)
    return [_segment_table(column, scores) for column, scores in by_column.items()]


def _segment_table(column: str, scores: list[Score]) -> SegmentTable:
    groups: dict[str, dict[str, Score]] = {}
    for score in scores:
        if score.segment != column:
            name = score.segment.removeprefix(f"{column}=")
            groups.setdefault(name, {})[score.name] = score
    notes = [score.note for score in scores if score.segment == column and score.name not in GAPS]
    return SegmentTable(
        column,
        [Group(name, scores) for name, scores in groups.items()],
        [score for score in scores if score.name in GAPS],
        "; ".join(notes),
    )
