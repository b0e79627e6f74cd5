"""Sentences about shadows, for the status page and the terminal."""

from datetime import UTC, datetime

from registry.history.shadow_state import Shadow
from registry.shadow_report import ShadowCounts, ShadowReport

_STALE_S = 15.0  # age of a report after which the process that runs shadows has probably stopped
_RUN_IT = "driftline shadow run, or driftline up"


def shadow_sentence(shadow: Shadow) -> str:
    """Describe a shadow: its version, alias, share of requests, start and actor."""
    since = datetime.fromtimestamp(shadow.since / 1e6, UTC)
    return (
        f"version {shadow.number} runs on {shadow.share * 100:.4g} % of the requests that "
        f"{shadow.alias} answers, since {since:%Y-%m-%d %H:%M:%S} UTC by {shadow.actor}"
    )


def shadow_lines(shadow: Shadow, report: ShadowReport | None) -> list[str]:
    """Describe a shadow's counts and lag."""
    counts = report.shadows.get(shadow.id) if report is not None else None
    if report is None or counts is None:
        return [f"no process has run it yet: {_RUN_IT}"]
    lines = []
    if (age := report.stale_s()) > _STALE_S:
        lines.append(f"no process has reported for {age:.0f} s: {_RUN_IT}")
    return [*lines, *_count_lines(counts, report.lag_s)]


def _count_lines(counts: ShadowCounts, lag_s: float) -> list[str]:
    agreed = f", {counts.agreed / counts.rows:.2%} with the same answer" if counts.agreed else ""
    lines = [f"{counts.events:,} requests, {counts.rows:,} rows{agreed}; {lag_s:.1f} s behind"]
    if counts.failed:
        lines.append(f"{counts.failed:,} rows on which the model fails")
    if counts.skipped:
        parts = ", ".join(f"{number:,} {why}" for why, number in sorted(counts.skipped.items()))
        lines.append(f"skipped: {parts}")
    if counts.note:
        lines.append(f"does not run: {counts.note}")
    return lines
