"""Everything that decides what the charts of a model version show lives here. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import msgspec
from markupsafe import Markup

from monitoring.alarms.severity import severity
from monitoring.presenter.formats import figure, number, percent, period
from monitoring.presenter.headline import versioned_alarm
from monitoring.presenter.links import window_path
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import ESTIMATED, Alarm, Result, Rule, Score, Window
from monitoring.web.charts.lines import Axis, Beside, heatmap, line_chart, stacked_bars
from monitoring.web.charts.plot import Band, Mark, Sheet, Slot
from monitoring.web.window_view import chief_score, find

LONGEST_GAP = 6  # slots that a pause in the traffic takes at most
MOST_COLUMNS = 40
HALF, WHOLE, NARROW = 540.0, 1096.0, 358.0  # pixels

Cell = tuple[Slot, Result | None]


class Timeline(msgspec.Struct, frozen=True):
    """The windows as slots of equal width, and the alarms over them by rule."""

    cells: list[Cell]
    bands: dict[Rule, list[Band]]


class Picture(msgspec.Struct, frozen=True):
    """One chart twice, for a desk and for a phone, with its title and what it tells."""

    title: str
    note: str
    rule: str  # what the dashed line means, empty where there is none
    wide: Markup
    narrow: Markup


def drift_map(line: Timeline) -> Picture | None:
    """Feature by window, the columns that drifted most on top; None where nothing was scored."""
    drift = [_drift_by_column(result) for _, result in line.cells]
    names = worst_columns(drift)
    shown = names[:MOST_COLUMNS]
    if not shown:
        return None
    rows = [(name, _drift_marks(line.cells, drift, name)) for name in shown]
    left_out = len(names) - len(shown)
    note = f"{number(left_out)} calmer columns are left out." if left_out else ""
    sheets = _sheets(line, "drift", WHOLE)
    return _both("Drift by column", (note, ""), sheets, lambda sheet: heatmap(sheet, rows))


def timeline(results: Sequence[Result], alarms: Sequence[Alarm]) -> Timeline:
    """Lay windows out in order; a pause without traffic leaves empty slots."""
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
    """Where alarms were open, as far as the slots show it."""
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
    """Names of scored columns: most windows beyond the threshold first, then by severity."""
    seen: dict[str, list[float]] = {}
    for window in drift:
        for name, score in window.items():
            seen.setdefault(name, []).append(severity(score) or 0.0)
    return sorted(seen, key=lambda name: (-sum(s >= 1 for s in seen[name]), -sum(seen[name]), name))


def _gap(before: Window, after: Window) -> list[Cell]:
    length = max(before.end - before.start, 1)
    missing = min(max((after.start - before.end) // length, 0), LONGEST_GAP)
    return [
        (Slot(Window(before.end + i * length, before.end + (i + 1) * length)), None)
        for i in range(missing)
    ]


def drifted_share(line: Timeline) -> Picture | None:
    """The share of drifted columns over time; None where no window was scored."""
    found = [find(result, "drifted_share") if result else None for _, result in line.cells]
    threshold = _threshold(found)
    rule = "" if threshold is None else f"drifted from {percent(threshold)}"
    marks = [_share_mark(cell, score) for cell, score in zip(line.cells, found, strict=True)]
    if all(mark.value is None for mark in marks):
        return None
    axis = Axis("Share of features that drifted", percent, always=(0.0, 0.5))
    note = "each against its own threshold"
    return _both(
        axis.name,
        (note, rule),
        _sheets(line, "drift", HALF),
        lambda sheet: line_chart(sheet, marks, axis, threshold),
    )


def performance(line: Timeline) -> Picture | None:
    """The chief performance score over time, realised and estimated; None while neither is."""
    name = chief_score([result for _, result in line.cells if result])
    found = [find(result, name) if result else None for _, result in line.cells]
    guessed = [find(result, ESTIMATED + name) if result else None for _, result in line.cells]
    threshold = _threshold([*guessed, *found])
    rule = "" if threshold is None else f"alarm at {figure(threshold)}"
    title = PERFORMANCE.get(name, name)
    marks = [
        _score_mark(cell, score, guess, title)
        for cell, score, guess in zip(line.cells, found, guessed, strict=True)
    ]
    beside = Beside(
        [score.value if score else None for score in guessed],
        [score.low if score else None for score in guessed],
        [score.high if score else None for score in guessed],
    )
    if all(value is None for value in [*(mark.value for mark in marks), *beside.values]):
        return None
    axis = Axis(title[:1].upper() + title[1:])
    return _both(
        axis.name,
        ("on labelled rows; hollow where fewer than half are labelled", rule),
        _sheets(line, "performance", HALF),
        lambda sheet: line_chart(sheet, marks, axis, threshold, beside),
    )


def volume(line: Timeline) -> Picture:
    """Rows answered over time, by what became of their labels."""
    parts = [
        (result.labelled, result.pending, result.expired) if result else (0, 0, 0)
        for _, result in line.cells
    ]
    marks = [_volume_mark(cell) for cell in line.cells]
    axis = Axis("Rows answered", lambda count: number(round(count)))
    sheets = _sheets(line, None, WHOLE)
    return _both(axis.name, ("", ""), sheets, lambda sheet: stacked_bars(sheet, marks, parts, axis))


def _sheets(line: Timeline, rule: Rule | None, wide: float) -> tuple[Sheet, Sheet]:
    slots = [slot for slot, _ in line.cells]
    bands = line.bands[rule] if rule else []
    return Sheet(slots, bands, wide), Sheet(slots, bands, NARROW, height=190.0)


def _both(
    title: str, words: tuple[str, str], sheets: tuple[Sheet, Sheet], draw: Callable[[Sheet], Markup]
) -> Picture:
    return Picture(title, *words, *(draw(sheet) for sheet in sheets))


def _threshold(found: Sequence[Score | None]) -> float | None:
    stated = (score.threshold for score in reversed(found) if score is not None)
    return next((threshold for threshold in stated if threshold is not None), None)


def _share_mark(cell: Cell, score: Score | None) -> Mark:
    when = period(cell[0].window)
    if score is None or score.value is None:
        return Mark(title=f"{when}: {score.note if score and score.note else 'not scored'}")
    return Mark(score.value, f"{when}: {percent(score.value)} drifted", breached=score.breached)


def _score_mark(cell: Cell, score: Score | None, guess: Score | None, title: str) -> Mark:
    slot, result = cell
    when = period(slot.window)
    estimated = f"; estimated {figure(guess.value)}" if guess and guess.value is not None else ""
    if result is None or score is None or score.value is None:
        return Mark(title=f"{when}: {title} is not known yet{estimated}")
    words = (
        f"{when}: {title} {figure(score.value)} "
        f"on {number(result.labelled)} of {number(result.rows)} rows{estimated}"
    )
    thin = result.labelled * 2 < result.rows
    return Mark(score.value, words, breached=score.breached, faint=thin)


def _volume_mark(cell: Cell) -> Mark:
    slot, result = cell
    if result is None:
        return Mark(0.0, f"{period(slot.window)}: no traffic")
    return Mark(
        float(result.rows),
        f"{period(slot.window)}: {number(result.rows)} rows, {number(result.labelled)} labelled, "
        f"{number(result.pending)} waiting, {number(result.expired)} expired",
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
