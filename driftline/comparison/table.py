"""Print a comparison in the terminal."""

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table

from monitoring.comparisons import Estimated, ScoreRow, VersionComparison, VersionTraffic
from monitoring.presenter.comparison_text import (
    estimated_text,
    headline_sentence,
    score_name,
    times_text,
    verdict_word,
)
from monitoring.presenter.formats import percent

_WIDE = 130  # minimum terminal columns for tables with borders


def print_comparison(comparison: VersionComparison, console: Console | None = None) -> None:
    """Print agreement, scores, groups, calibration and traffic."""
    console = console or Console()
    console.print(headline_sentence(comparison), markup=False, highlight=False)
    _print_scores(console, comparison)
    _print_groups(console, comparison)
    _print_answers(console, comparison)
    _print_calibration(console, comparison)
    _print_traffic(console, comparison)
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def _table(console: Console, title: str, names: Sequence[str], left_aligned: int = 1) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    if console.width < _WIDE:
        table.box, table.padding = None, (0, 1, 0, 0)
    for place, name in enumerate(names):
        justify: Literal["left", "right"] = "left" if place < left_aligned else "right"
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _estimate(console: Console, estimate: Estimated) -> str:
    """Return a value with its interval, on two lines if the terminal is narrow."""
    text = estimated_text(estimate)
    return text.replace(" (", "\n(") if console.width < _WIDE else text


def _print_scores(console: Console, comparison: VersionComparison) -> None:
    rows = [*comparison.scores, *([comparison.cost] if comparison.cost else [])]
    if not rows:
        return
    table = _table(
        console,
        "Scores on labelled rows, with 95 % intervals",
        (
            "score",
            f"version {comparison.first}",
            f"version {comparison.second}",
            "difference",
            "better",
        ),
    )
    for row in rows:
        table.add_row(*_score(console, row, comparison))
    console.print(table)


def _score(console: Console, row: ScoreRow, comparison: VersionComparison) -> tuple[str, ...]:
    estimates = (row.first, row.second, row.difference)
    parts = (_estimate(console, estimate) for estimate in estimates)
    return score_name(row), *parts, verdict_word(row, comparison)


def _print_groups(console: Console, comparison: VersionComparison) -> None:
    if not comparison.groups:
        return
    score = next((group.score for group in comparison.groups if group.score), None)
    title = score_name(score) if score else "score"
    table = _table(
        console,
        "Segments",
        ("segment", "group", "rows", "agreement", f"{title} {comparison.first}",
         f"{title} {comparison.second}", "difference", "better"),
        left_aligned=2,
    )  # fmt: skip
    for group in comparison.groups:
        scored = ("–", "–", "–", "")
        if group.score:
            scored = (
                _estimate(console, group.score.first),
                _estimate(console, group.score.second),
                _estimate(console, group.score.difference),
                verdict_word(group.score, comparison),
            )
        table.add_row(
            group.segment, group.group, f"{group.rows:,}", percent(group.agreement), *scored
        )
    console.print(table)


def _print_answers(console: Console, comparison: VersionComparison) -> None:
    if not comparison.answers:
        return
    table = _table(
        console,
        "Predicted classes",
        (f"version {comparison.first}", f"version {comparison.second}", "rows"),
        left_aligned=2,
    )
    for pair in comparison.answers:
        table.add_row(pair.first, pair.second, f"{pair.rows:,}")
    console.print(table)


def _print_calibration(console: Console, comparison: VersionComparison) -> None:
    if not comparison.calibration:
        return
    table = _table(
        console,
        "Calibration: predicted probability of the positive class → its share of the labels",
        ("version", "predicted → observed, in ten groups by predicted probability"),
        left_aligned=2,
    )
    for version, bins in comparison.calibration.items():
        parts = (f"{bin_.predicted:.2f} → {bin_.observed:.2f}" for bin_ in bins)
        table.add_row(version, "  ".join(parts))
    console.print(table)


def _print_traffic(console: Console, comparison: VersionComparison) -> None:
    table = _table(
        console,
        "Requests in the period, durations in milliseconds (p50, p95, p99)",
        ("version", "requests", "failed", "reply", "run", "run as shadow"),
    )
    for traffic in comparison.traffic:
        table.add_row(*_traffic(traffic))
    console.print(table)


def _traffic(traffic: VersionTraffic) -> tuple[str, ...]:
    times = (times_text(part) for part in (traffic.total_ms, traffic.run_ms, traffic.shadow_run_ms))
    return traffic.version, f"{traffic.requests:,}", f"{traffic.failed:,}", *times
