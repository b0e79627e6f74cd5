"""The charts of a model version over time. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import msgspec
from markupsafe import Markup

from monitoring.alarms.severity import severity
from monitoring.presenter.formats import figure, number, percent, period
from monitoring.presenter.headline import versioned_alarm
from monitoring.presenter.links import column_path, window_path
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import ESTIMATED, Alarm, Result, Rule, Score, Window
from monitoring.web.charts.lines import (
    Axis,
    HeatRow,
    SecondSeries,
    heatmap,
    line_chart,
    stacked_bars,
)
from monitoring.web.charts.plot import Band, Mark, Sheet, Slot
from monitoring.web.window_view import chief_score, find

LONGEST_GAP = 6  # most empty slots for a pause in the traffic
MOST_COLUMNS = 40  # rows of the heatmap
HALF, WHOLE, NARROW = 540.0, 1096.0, 358.0  # widths in pixels: half and full page, phone

Cell = tuple[Slot, Result | None]


class Timeline(msgspec.Struct, frozen=True):
    """The windows as slots of equal width, and the bands of alarms."""

    cells: list[Cell]  # slots with their results; None for pauses
    bands: dict[Rule, list[Band]]  # by the alarm's rule


class Picture(msgspec.Struct, frozen=True):
    """One chart in two widths, for desktop and phone, with its title and notes."""

    title: str
    note: str
    rule: str  # meaning of the dashed line; empty if there is none
    wide: Markup
    narrow: Markup


def drift_map(line: Timeline) -> Picture | None:
    """Draw drift by column and window, largest drift on top; None if no column was scored."""
    drift = [_drift_by_column(result) for _, result in line.cells]
    names = worst_columns(drift)
    shown = names[:MOST_COLUMNS]
    if not shown:
        return None
    last = next(result for _, result in reversed(line.cells) if result)
    rows = [
        HeatRow(
            name,
            _drift_marks(line.cells, drift, name),
            column_path(last.model, last.version, name),
        )
        for name in shown
    ]
    left_out = len(names) - len(shown)
    note = f"{number(left_out)} columns with less drift are left out." if left_out else ""
    sheets = sheets_of(line, "drift", WHOLE)
    return draw_both("Drift by column", (note, ""), sheets, lambda sheet: heatmap(sheet, rows))


def timeline(results: Sequence[Result], alarms: Sequence[Alarm]) -> Timeline:
    """Assign windows to slots in order; pauses without traffic become empty slots."""
    cells: list[Cell] = []
    before: Result | None = None
    for result in results:
        if before is not None:
            cells.extend(_gap(before.window, result.window))
        href = window_path(result.model, result.version, result.window.start)
        cells.append((Slot(result.window, href), result))
        before = result
    rules: tuple[Rule, ...] = get_args(Rule)
    return Timeline(
        cells, {rule: alarm_bands(cells, [a for a in alarms if a.rule == rule]) for rule in rules}
    )


def alarm_bands(cells: Sequence[Cell], alarms: Sequence[Alarm]) -> list[Band]:
    """Return the bands of slots in which alarms were open."""
    bands = []
    for alarm in alarms:
        inside = [
            index
            for index, (slot, _) in enumerate(cells)
            if alarm.since.start <= slot.window.start <= alarm.latest.start
        ]
        if inside:
            title = f"Alarm ({alarm.rule}, {alarm.state}): {versioned_alarm(alarm)}"
            bands.append(Band(inside[0], inside[-1], title, open=alarm.state != "resolved"))
    return bands


def worst_columns(drift: Sequence[Mapping[str, Score]]) -> list[str]:
    """Sort column names by windows beyond the threshold, then by severity; the worst first."""
    severities: dict[str, list[float]] = {}
    for window in drift:
        for name, score in window.items():
            severities.setdefault(name, []).append(severity(score) or 0.0)
    return sorted(
        severities,
        key=lambda name: (-sum(s >= 1 for s in severities[name]), -sum(severities[name]), name),
    )


def _gap(before: Window, after: Window) -> list[Cell]:
    length = max(before.end - before.start, 1)
    missing = min(max((after.start - before.end) // length, 0), LONGEST_GAP)
    return [
        (Slot(Window(before.end + i * length, before.end + (i + 1) * length)), None)
        for i in range(missing)
    ]


def drifted_share(line: Timeline) -> Picture | None:
    """Draw the share of drifted columns over time; None if no window was scored."""
    scores = [find(result, "drifted_share") if result else None for _, result in line.cells]
    threshold = _threshold(scores)
    rule = "" if threshold is None else f"drifted from {percent(threshold)}"
    marks = [_share_mark(cell, score) for cell, score in zip(line.cells, scores, strict=True)]
    if all(mark.value is None for mark in marks):
        return None
    axis = Axis("Share of features that drifted", percent, always=(0.0, 0.5))
    note = "each feature has its own threshold"
    return draw_both(
        axis.name,
        (note, rule),
        sheets_of(line, "drift", HALF),
        lambda sheet: line_chart(sheet, marks, axis, threshold),
    )


def performance(line: Timeline) -> Picture | None:
    """Draw the chief performance score over time, realised and estimated; None without values."""
    name = chief_score([result for _, result in line.cells if result])
    scores = [find(result, name) if result else None for _, result in line.cells]
    estimates = [find(result, ESTIMATED + name) if result else None for _, result in line.cells]
    threshold = _threshold([*estimates, *scores])
    rule = "" if threshold is None else f"alarm at {figure(threshold)}"
    title = PERFORMANCE.get(name, name)
    marks = [
        _score_mark(cell, score, estimate, title)
        for cell, score, estimate in zip(line.cells, scores, estimates, strict=True)
    ]
    second = SecondSeries(
        [score.value if score else None for score in estimates],
        [score.low if score else None for score in estimates],
        [score.high if score else None for score in estimates],
    )
    if all(value is None for value in [*(mark.value for mark in marks), *second.values]):
        return None
    axis = Axis(title[:1].upper() + title[1:])
    return draw_both(
        axis.name,
        ("on labelled rows; hollow if fewer than half of the rows are labelled", rule),
        sheets_of(line, "performance", HALF),
        lambda sheet: line_chart(sheet, marks, axis, threshold, second),
    )


def volume(line: Timeline) -> Picture:
    """Draw predicted rows over time: labelled, pending or expired."""
    parts = [
        (result.labelled, result.pending, result.expired) if result else (0, 0, 0)
        for _, result in line.cells
    ]
    marks = [_volume_mark(cell) for cell in line.cells]
    axis = Axis("Rows answered", lambda count: number(round(count)))
    sheets = sheets_of(line, None, WHOLE)
    return draw_both(
        axis.name, ("", ""), sheets, lambda sheet: stacked_bars(sheet, marks, parts, axis)
    )


def sheets_of(line: Timeline, rule: Rule | None, wide: float) -> tuple[Sheet, Sheet]:
    """Return the sheets for desktop and phone, with the bands of a rule's alarms."""
    slots = [slot for slot, _ in line.cells]
    bands = line.bands[rule] if rule else []
    return Sheet(slots, bands, wide), Sheet(slots, bands, NARROW, height=190.0)


def draw_both(
    title: str, words: tuple[str, str], sheets: tuple[Sheet, Sheet], draw: Callable[[Sheet], Markup]
) -> Picture:
    """Draw a chart on both sheets; `words` are the note and the meaning of the dashed line."""
    return Picture(title, *words, *(draw(sheet) for sheet in sheets))


def _threshold(scores: Sequence[Score | None]) -> float | None:
    thresholds = (score.threshold for score in reversed(scores) if score is not None)
    return next((threshold for threshold in thresholds if threshold is not None), None)


def _share_mark(cell: Cell, score: Score | None) -> Mark:
    when = period(cell[0].window)
    if score is None or score.value is None:
        return Mark(title=f"{when}: {score.note if score and score.note else 'not scored'}")
    words = f"{when}: {percent(score.value)} drifted"
    if score.threshold is not None:
        words += f", threshold {percent(score.threshold)}"
    return Mark(score.value, words, breached=score.breached)


def _score_mark(cell: Cell, score: Score | None, estimate: Score | None, title: str) -> Mark:
    slot, result = cell
    when = period(slot.window)
    value = estimate.value if estimate else None
    estimated = "" if value is None else f"; estimated {figure(value)}"
    if result is None or score is None or score.value is None:
        return Mark(title=f"{when}: no {title} yet{estimated}")
    words = (
        f"{when}: {title} {figure(score.value)} "
        f"on {number(result.labelled)} of {number(result.rows)} rows{estimated}"
    )
    if score.threshold is not None:
        words += f", threshold {figure(score.threshold)}"
    thin = result.labelled * 2 < result.rows
    return Mark(score.value, words, breached=score.breached, faint=thin)


def _volume_mark(cell: Cell) -> Mark:
    slot, result = cell
    if result is None:
        return Mark(0.0, f"{period(slot.window)}: no traffic")
    return Mark(
        float(result.rows),
        f"{period(slot.window)}: {number(result.rows)} rows, {number(result.labelled)} labelled, "
        f"{number(result.pending)} pending, {number(result.expired)} expired",
    )


def _drift_by_column(result: Result | None) -> dict[str, Score]:
    if result is None:
        return {}
    return {s.column: s for s in result.scores if s.name == "drift" and s.column}


def _drift_marks(
    cells: Sequence[Cell], drift: Sequence[Mapping[str, Score]], column: str
) -> list[Mark]:
    return [
        _drift_mark(f"{column}, {period(slot.window)}", scores.get(column))
        for (slot, _), scores in zip(cells, drift, strict=True)
    ]


def _drift_mark(where: str, score: Score | None) -> Mark:
    if score is None or score.value is None:
        return Mark(title=f"{where}: {score.note if score and score.note else 'not scored'}")
    words = f"{where}: {figure(score.value)}"
    if score.threshold is not None:
        words += f", threshold {figure(score.threshold)}"
    return Mark(severity(score), f"{words}, {'drifted' if score.breached else 'calm'}")
