"""Explain why a version has no performance score."""

from collections.abc import Sequence

from monitoring.results import Result

_FEWEST_LABELS = 30  # minimum labels of a score; the same as MIN_VALUES of the scoring


def performance_state(history: Sequence[Result]) -> str:
    """Return why none of the last windows has the performance score that the policy names."""
    labelled = [result for result in history if result.labelled]
    if not labelled:
        return "no labels yet"
    newest = labelled[-1]
    if newest.labelled < _FEWEST_LABELS:
        return f"{newest.labelled} of {_FEWEST_LABELS} labels"
    if len(newest.confusion) == 1:
        return f"labels of one class: {next(iter(newest.confusion)):.20}"
    return "not defined for these labels"
