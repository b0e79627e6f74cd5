"""Describe comparisons of two versions, for the status page and the terminal."""

from collections.abc import Mapping

from monitoring.comparisons import Estimated, ScoreRow, VersionComparison
from monitoring.presenter.formats import figure, percent
from monitoring.presenter.names import PERFORMANCE

_ORIGINS = {
    "shadow": "rows that version {0} answered and version {1} ran on as its shadow",
    "replay": "logged rows, run again by both versions",
    "canary": "the rows that each version answered; they differ, so the intervals are wider",
}


def headline_sentence(comparison: VersionComparison) -> str:
    """Return a comparison's versions, rows, agreement and verdict."""
    rows = " and ".join(f"{count:,}" for count in dict.fromkeys(comparison.rows))
    labelled = " and ".join(f"{count:,}" for count in dict.fromkeys(comparison.labelled))
    origin = origin_sentence(comparison)
    agreed = ""
    if comparison.agreement is not None and comparison.agreement.value is not None:
        share, interval = percent(comparison.agreement.value), _within(comparison.agreement)
        agreed = f" They agree on {share} of the rows{interval}."
    return (
        f"{comparison.model}, versions {comparison.first} and {comparison.second}, "
        f"{comparison.period}: {rows} rows, "
        f"{labelled} labelled; {origin}.{agreed} {verdict_sentence(comparison)}"
    )


def origin_sentence(comparison: VersionComparison) -> str:
    """Describe the origin of the compared rows."""
    return _ORIGINS[comparison.origin].format(comparison.first, comparison.second)


def verdict_sentence(comparison: VersionComparison) -> str:
    """Name the scores on which one version is significantly better."""
    if not comparison.scores:
        return "Too few labels to score them."
    sides = {"second": comparison.second, "first": comparison.first}
    better = {
        number: [score_name(row) for row in comparison.scores if row.better == side]
        for side, number in sides.items()
    }
    parts = [
        f"version {number} is better on {', '.join(names)}"
        for number, names in sorted(better.items(), key=lambda item: -len(item[1]))
        if names
    ]
    if not parts:
        return "No score differs beyond chance."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def score_name(row: ScoreRow) -> str:
    """Return a score's display name."""
    return PERFORMANCE.get(row.name, row.name)


def verdict_word(row: ScoreRow, comparison: VersionComparison) -> str:
    """Return the better version by one score, or "" if the difference may be chance."""
    number = {"first": comparison.first, "second": comparison.second}.get(row.better, "")
    return f"version {number}" if number else ""


def estimated_text(estimate: Estimated) -> str:
    """Return a value with its confidence interval, or "–" if there is no value."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return figure(estimate.value)
    return f"{figure(estimate.value)} ({figure(estimate.low)} to {figure(estimate.high)})"


def times_text(times: Mapping[str, float]) -> str:
    """Return the quantiles of the response times, or "–" if there are none."""
    return ", ".join(f"{value:.2f}" for value in times.values()) or "–"


def _within(estimate: Estimated) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({percent(estimate.low)} to {percent(estimate.high)})"
