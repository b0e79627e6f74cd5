"""Arrange a window's segments for display: one table per column, one row per group. Pure."""

import msgspec

from monitoring.presenter.names import PERFORMANCE
from monitoring.results import ESTIMATED, Result, Score

FIGURES = {  # in the order of display
    "selection_rate": "selection rate",
    "true_positive_rate": "true-positive rate",
    "mean_prediction": "mean prediction",
    "drifted_share": "features drifted",
    **PERFORMANCE,
    **{ESTIMATED + name: f"{title}, estimated" for name, title in PERFORMANCE.items()},
}
GAPS = {
    "selection_rate_gap": "Gap in selection rate",
    "true_positive_rate_gap": "Gap in true-positive rate",
}


class Group(msgspec.Struct, frozen=True):
    """One value of a column."""

    name: str
    scores: dict[str, Score]


class Segmented(msgspec.Struct, frozen=True):
    """One column by whose values the window is parted."""

    column: str
    groups: list[Group]
    gaps: list[Score]
    note: str  # why there are no groups

    @property
    def remarks(self) -> dict[str, str]:
        """The reasons of missing figures, by group; empty if none is missing."""
        reported = {
            group.name: "; ".join(
                f"{FIGURES.get(name, name)}: {score.note}"
                for name, score in group.scores.items()
                if score.value is None and score.note
            )
            for group in self.groups
        }
        return reported if any(reported.values()) else {}

    @property
    def figures(self) -> dict[str, str]:
        """The figures of any group, with their names."""
        names = {name for group in self.groups for name in group.scores}
        return {name: title for name, title in FIGURES.items() if name in names}


def segmented(result: Result) -> list[Segmented]:
    """Return every segment of a window, in the policy's order."""
    by_column: dict[str, list[Score]] = {}
    for score in result.scores:
        if score.segment:
            by_column.setdefault(score.segment.split("=", 1)[0], []).append(score)
    return [_segmented(column, scores) for column, scores in by_column.items()]


def _segmented(column: str, scores: list[Score]) -> Segmented:
    groups: dict[str, dict[str, Score]] = {}
    for score in scores:
        if score.segment != column:
            name = score.segment.removeprefix(f"{column}=")
            groups.setdefault(name, {})[score.name] = score
    notes = [score.note for score in scores if score.segment == column and score.name not in GAPS]
    return Segmented(
        column,
        [Group(name, scores) for name, scores in groups.items()],
        [score for score in scores if score.name in GAPS],
        "; ".join(notes),
    )
