"""Line charts, stacked bar charts and heatmaps over windows, as inline SVG. Pure."""

from collections.abc import Callable, Sequence
from itertools import groupby

import msgspec
from markupsafe import Markup

from monitoring.presenter.formats import figure, number
from monitoring.web.charts.plot import BOTTOM, TOP, Mark, Plot, Sheet
from monitoring.web.charts.scale import Scale, domain, finite
from monitoring.web.charts.svg import drawing, element, path

LEFT = 44.0  # pixels for the labels of the value axis
LETTER = 6.7  # approximate width of a letter in the row names of a heatmap, in pixels


class Axis(msgspec.Struct, frozen=True):
    """The value axis of a chart."""

    name: str
    write: Callable[[float], str] = figure  # formats a value
    always: Sequence[float] = ()  # values that the axis always includes


class SecondSeries(msgspec.Struct, frozen=True):
    """A second series with its interval, drawn behind the first series; one value per slot."""

    values: Sequence[float | None] = ()
    lows: Sequence[float | None] = ()
    highs: Sequence[float | None] = ()


class HeatRow(msgspec.Struct, frozen=True):
    """A heatmap's row: one column of the data."""

    name: str
    marks: Sequence[Mark]  # one per slot
    href: str = ""  # path of the column's page; empty if it has none


def line_chart(
    sheet: Sheet,
    marks: Sequence[Mark],
    axis: Axis,
    threshold: float | Sequence[float | None] | None,
    second: SecondSeries = SecondSeries(),  # noqa: B008 - the default is immutable
) -> Markup:
    """Draw one value per window as a line, and the threshold as a dashed line.

    `marks` contains one mark per slot; `threshold` is one value, or one value per slot.
    """
    values = [mark.value for mark in marks]
    others = [*second.values, *second.lows, *second.highs]
    limits = threshold if isinstance(threshold, Sequence) else [threshold] * len(marks)
    finite_values = finite([*values, *others, *axis.always, *limits])
    plot = Plot(sheet, LEFT)
    low, high, step = domain(finite_values)
    scale = Scale(low, high, plot.bottom, plot.top)
    return drawing(
        sheet.width,
        sheet.height,
        f"{axis.name}, {summary(marks, axis)}",
        plot.bands(),
        plot.value_axis(scale, step, axis.write),
        plot.time_axis(),
        *_spread(plot, scale, second),
        *_rule(plot, scale, limits),
        *([path(_points(plot, scale, second.values), "line second")] if second.values else []),
        path(_points(plot, scale, values)),
        *_dots(plot, scale, marks),
        plot.targets(marks),
        class_="chart",
    )


def stacked_bars(
    sheet: Sheet, marks: Sequence[Mark], parts: Sequence[Sequence[int]], axis: Axis
) -> Markup:
    """Draw counts by window; the `parts` of a slot are stacked, the first one at the bottom."""
    plot = Plot(sheet, LEFT)
    low, high, step = domain([0.0, *finite([mark.value for mark in marks])])
    scale = Scale(low, high, plot.bottom, plot.top)
    return drawing(
        sheet.width,
        sheet.height,
        f"{axis.name}, {summary(marks, axis)}",
        plot.bands(),
        plot.value_axis(scale, step, axis.write),
        plot.time_axis(),
        *(_bar(plot, scale, index, counts) for index, counts in enumerate(parts)),
        plot.targets(marks),
        class_="chart",
    )


def heatmap(sheet: Sheet, rows: Sequence[HeatRow]) -> Markup:
    """Draw a row for each column and a cell for each window.

    Values are severities: 1 is the threshold. The height depends on the number of rows, not on the
    sheet's height.
    """
    pitch, letters = (17.0, 14) if sheet.narrow else (20.0, 28)
    left = min(max((len(row.name) for row in rows), default=0), letters) * LETTER + 14.0
    tall = msgspec.structs.replace(sheet, height=TOP + pitch * len(rows) + BOTTOM)
    plot = Plot(tall, left)
    drawn: list[Markup] = []
    for index, row in enumerate(rows):
        top = plot.top + index * pitch
        text = shorten(row.name, letters)
        place = {"x": left - 8, "y": top + pitch / 2 + 3.5}
        title = element("title", row.name)
        name = element("text", title, text, class_="label end name", **place)
        drawn.append(element("a", name, href=row.href, tabindex=-1) if row.href else name)
        drawn.extend(_cell(plot, slot, (top, pitch), mark) for slot, mark in enumerate(row.marks))
    return drawing(
        tall.width,
        tall.height,
        f"Drift of {len(rows)} columns over {number(len(sheet.slots))} windows",
        plot.bands(),
        plot.time_axis(),
        *drawn,
        class_="chart heat",
    )


def summary(marks: Sequence[Mark], axis: Axis) -> str:
    """Describe the chart in one phrase, for screen readers."""
    values = finite([mark.value for mark in marks])
    if not values:
        return "no values yet"
    low, high, last = (axis.write(value) for value in (min(values), max(values), values[-1]))
    return f"{len(values)} windows, from {low} to {high}, latest {last}"


def level(severity: float) -> int:
    """Return the shade of a heatmap cell, 0 to 4; 2 and above are beyond the threshold."""
    return sum(severity >= bound for bound in (0.5, 1.0, 2.0, 4.0))


def shorten(name: str, length: int) -> str:
    """Return the name, cut off with an ellipsis if it is longer than `length`."""
    return name if len(name) <= length else name[: length - 1] + "…"


def _spread(plot: Plot, scale: Scale, second: SecondSeries) -> list[Markup]:
    return [
        element(
            "rect",
            class_="spread",
            x=plot.edge(index),
            y=scale(high),
            width=plot.step,
            height=scale(low) - scale(high),
        )
        for index, (low, high) in enumerate(zip(second.lows, second.highs, strict=True))
        if low is not None and high is not None and len(finite([low, high])) == 2
    ]


def _rule(plot: Plot, scale: Scale, limits: Sequence[float | None]) -> list[Markup]:
    """Draw one line per run of slots with the same threshold."""
    lines: list[Markup] = []
    first = 0
    for limit, run in groupby(limits):
        end = first + len(list(run))
        for at in finite([limit]):
            ends = {"x1": plot.edge(first), "x2": plot.edge(end), "y1": scale(at), "y2": scale(at)}
            lines.append(element("line", class_="threshold", **ends))
        first = end
    return lines


def _points(
    plot: Plot, scale: Scale, values: Sequence[float | None]
) -> list[tuple[float, float] | None]:
    return [
        (plot.middle(index), scale(value)) if value is not None and finite([value]) else None
        for index, value in enumerate(values)
    ]


def _dots(plot: Plot, scale: Scale, marks: Sequence[Mark]) -> list[Markup]:
    return [
        element(
            "circle",
            class_=" ".join(["dot", *["over"] * mark.breached, *["faint"] * mark.faint]),
            cx=plot.middle(index),
            cy=scale(mark.value),
            r=3.5 if mark.breached else 2.0,
        )
        for index, mark in enumerate(marks)
        if mark.value is not None and finite([mark.value])
    ]


def _bar(plot: Plot, scale: Scale, index: int, counts: Sequence[int]) -> Markup:
    gap = min(plot.step * 0.2, 3.0)
    pieces, base = [], 0
    for part, count in enumerate(counts):
        top = scale(base + count)
        pieces.append(
            element(
                "rect",
                class_=f"bar p{part}",
                x=plot.edge(index) + gap / 2,
                y=top,
                width=plot.step - gap,
                height=scale(base) - top,
            )
        )
        base += count
    return element("g", *pieces)


def _cell(plot: Plot, index: int, place: tuple[float, float], mark: Mark) -> Markup:
    values = finite([mark.value])
    top, pitch = place
    gap = 1.0 if plot.step > 5 else 0.5
    cell = element(
        "rect",
        element("title", mark.title),
        class_=f"cell h{level(values[0])}" if values else "cell none",
        x=plot.edge(index) + gap / 2,
        y=top + 1,
        width=max(plot.step - gap, 0.5),
        height=pitch - 2,
        rx=1.5,
    )
    return plot.linked(index, cell)
