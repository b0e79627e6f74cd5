"""Descriptions of history rows, for the terminal and the status page."""

import json
from collections.abc import Iterator, Sequence

from registry.errors import DamagedRow
from registry.history.rows import (
    GateResult,
    HistoryRow,
    ModelDescription,
    RolloutStep,
    RolloutVerdict,
    ScheduleChange,
    ShadowChange,
)


def describe_row(row: HistoryRow) -> str:
    """Describe a row: its kind, alias, version, and a summary of its detail."""
    kind = row.kind.replace("_", " ")
    version = f"version {row.number}" if row.number else ""
    words = " ".join(word for word in (kind, row.alias, version) if word)
    try:
        text = _details(row)
    except DamagedRow:
        text = "cannot be read"
    return f"{words}: {text}" if text else words


def _details(row: HistoryRow) -> str:  # noqa: PLR0911  # one return for each kind
    """Describe the detail of a row; raises DamagedRow."""
    match row.kind:
        case "gated":
            return row.decode(GateResult).verdict
        case "verdict":
            return row.decode(RolloutVerdict).verdict
        case "shadow":
            return row.decode(ShadowChange).action
        case "schedule":
            change = row.decode(ScheduleChange)
            return f'"{change.cron}" in {change.timezone}' if change.cron else change.action
        case "description":
            return _description(row.decode(ModelDescription))
        case "rollout_step":
            step = row.decode(RolloutStep)
            number = f" {step.step + 1}" if step.action == "step" else ""
            return step.action + number
    return ""


def _description(description: ModelDescription) -> str:
    owner = f"owner {description.owner}" if description.owner else "no owner"
    return f"{owner}, tags {', '.join(description.tags) or 'none'}"


def reasons_of(rows: Sequence[HistoryRow]) -> Iterator[str]:
    """Return the reason of each row; changes made by a verdict refer to the verdict's row."""
    verdict: HistoryRow | None = None
    for row in rows:
        if row.kind == "verdict":
            verdict = row
        elif verdict is not None and row.why == verdict.why:
            yield f"verdict of revision {verdict.revision}"
            continue
        yield _why(row)


def _why(row: HistoryRow) -> str:
    """Return the reason of a row; policies and baselines have it in their detail."""
    if row.why or not row.detail:
        return row.why
    try:
        detail = json.loads(row.detail)
    except ValueError:  # the row was edited by hand; `driftline audit verify` reports it
        return ""
    return str(detail.get("why", "")) if isinstance(detail, dict) else ""
