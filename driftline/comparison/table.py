"""Print a comparison in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from monitoring.comparisons import ScoreRow, VersionComparison, VersionTraffic
from monitoring.presenter.comparison_text import (
    estimated_text,
    headline_sentence,
    score_name,
    times_text,
    verdict_word,
)
from monitoring.presenter.formats import percent


def print_comparison(found: VersionComparison, console: Console | None = None) -> None:
    """Print agreement, scores, groups, calibration and traffic."""
    console = console or Console()
    console.print(headline_sentence(found), markup=False, highlight=False)
    _print_scores(console, found)
    _print_groups(console, found)
    _print_answers(console, found)
    _print_calibration(console, found)
    _print_traffic(console, found)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def _table(title: str, names: Sequence[str], left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < left else "right")
    return table


def _print_scores(console: Console, found: VersionComparison) -> None:
    rows = [*found.scores, *([found.cost] if found.cost else [])]
    if not rows:
        return
    table = _table(
        "Scores on labelled rows, with 95 % intervals",
        ("score", f"version {found.first}", f"version {found.second}", "difference", "better"),
    )
    for row in rows:
        table.add_row(*_score(row, found))
    console.print(table)


def _score(row: ScoreRow, found: VersionComparison) -> tuple[str, ...]:
    parts = (estimated_text(row.first), estimated_text(row.second))
    return score_name(row), *parts, estimated_text(row.difference), verdict_word(row, found)


def _print_groups(console: Console, found: VersionComparison) -> None:
    if not found.groups:
        return
    score = next((one.score for one in found.groups if one.score), None)
    named = score_name(score) if score else "score"
    table = _table(
        "Segments",
        ("segment", "group", "rows", "agreement", f"{named} {found.first}",
         f"{named} {found.second}", "difference", "better"),
        left=2,
    )  # fmt: skip
    for one in found.groups:
        scored = ("–", "–", "–", "")
        if one.score:
            scored = (
                estimated_text(one.score.first),
                estimated_text(one.score.second),
                estimated_text(one.score.difference),
                verdict_word(one.score, found),
            )
        table.add_row(one.segment, one.group, f"{one.rows:,}", percent(one.agreement), *scored)
    console.print(table)


def _print_answers(console: Console, found: VersionComparison) -> None:
    if not found.answers:
        return
    table = _table("Answers", (f"version {found.first}", f"version {found.second}", "rows"), left=2)
    for one in found.answers:
        table.add_row(one.first, one.second, f"{one.rows:,}")
    console.print(table)


def _print_calibration(console: Console, found: VersionComparison) -> None:
    if not found.calibration:
        return
    table = _table(
        "Calibration: probability of the positive class, and its share of the labels",
        ("version", "predicted → observed, from the least probable tenth on"),
        left=2,
    )
    for version, bins in found.calibration.items():
        parts = (f"{one.predicted:.2f} → {one.observed:.2f}" for one in bins)
        table.add_row(version, "  ".join(parts))
    console.print(table)


def _print_traffic(console: Console, found: VersionComparison) -> None:
    table = _table(
        "Requests of the period, times in milliseconds (p50, p95, p99)",
        ("version", "requests", "failed", "reply", "run", "run as shadow"),
    )
    for one in found.traffic:
        table.add_row(*_traffic(one))
    console.print(table)


def _traffic(one: VersionTraffic) -> tuple[str, ...]:
    times = (times_text(part) for part in (one.total_ms, one.run_ms, one.shadow_run_ms))
    return one.version, f"{one.requests:,}", f"{one.failed:,}", *times
