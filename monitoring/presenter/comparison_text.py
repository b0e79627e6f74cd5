"""Texts of comparisons of versions, for page and terminal."""

from collections.abc import Mapping

from monitoring.comparisons import Estimated, ScoreRow, VersionComparison
from monitoring.presenter.formats import figure, percent
from monitoring.presenter.names import PERFORMANCE

_ORIGINS = {
    "shadow": "rows that version {0} answered and version {1} ran on as its shadow",
    "replay": "logged rows, run again by both versions",
    "canary": "the rows that each version answered; they differ, so the intervals are wider",
}


def headline_sentence(found: VersionComparison) -> str:
    """Return which versions were compared on what, how often they agree, and which is better."""
    rows = " and ".join(f"{count:,}" for count in dict.fromkeys(found.rows))
    labelled = " and ".join(f"{count:,}" for count in dict.fromkeys(found.labelled))
    where = origin_sentence(found)
    agreed = ""
    if found.agreement is not None and found.agreement.value is not None:
        agreed = f" They agree on {percent(found.agreement.value)}{_within(found.agreement)}."
    return (
        f"{found.model}, versions {found.first} and {found.second}, {found.period}: {rows} rows, "
        f"{labelled} labelled; {where}.{agreed} {verdict_sentence(found)}"
    )


def origin_sentence(found: VersionComparison) -> str:
    """Return where the rows come from."""
    return _ORIGINS[found.origin].format(found.first, found.second)


def verdict_sentence(found: VersionComparison) -> str:
    """Return on which scores a version is better beyond chance."""
    if not found.scores:
        return "Too few labels to score them."
    sides = {"second": found.second, "first": found.first}
    better = {
        number: [score_name(one) for one in found.scores if one.better == side]
        for side, number in sides.items()
    }
    parts = [
        f"version {number} is better on {', '.join(names)}"
        for number, names in sorted(better.items(), key=lambda one: -len(one[1]))
        if names
    ]
    if not parts:
        return "No score differs beyond chance."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def score_name(row: ScoreRow) -> str:
    """Return the name of a score as people read it."""
    return PERFORMANCE.get(row.name, row.name)


def verdict_word(row: ScoreRow, found: VersionComparison) -> str:
    """Return which version is better, "" within chance."""
    number = {"first": found.first, "second": found.second}.get(row.better, "")
    return f"version {number}" if number else ""


def estimated_text(one: Estimated) -> str:
    """Return a figure with its interval."""
    if one.value is None:
        return "–"
    if one.low is None or one.high is None:
        return figure(one.value)
    return f"{figure(one.value)} ({figure(one.low)} to {figure(one.high)})"


def times_text(times: Mapping[str, float]) -> str:
    """Return quantiles of times, – without any."""
    return ", ".join(f"{value:.2f}" for value in times.values()) or "–"


def _within(one: Estimated) -> str:
    if one.low is None or one.high is None:
        return ""
    return f" ({percent(one.low)} to {percent(one.high)})"
