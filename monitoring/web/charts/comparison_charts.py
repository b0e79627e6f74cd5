"""Charts of a comparison of two versions: differences, calibration, times. Pure."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from monitoring.comparisons import (
    CalibrationBin,
    GroupRow,
    ScoreRow,
    VersionComparison,
    VersionTraffic,
)
from monitoring.presenter.comparison_text import estimated_text, score_name
from monitoring.presenter.formats import percent
from monitoring.web.charts.lines import LETTER, shorten
from monitoring.web.charts.scale import Scale, finite, nice_step
from monitoring.web.charts.svg import drawing, element, path
from monitoring.web.charts.version_charts import HALF, NARROW, WHOLE, Picture

_LINE = 26.0  # height of a row, in pixels
_TOP, _BOTTOM, _RIGHT = 22.0, 26.0, 14.0  # margins, in pixels


def difference_chart(comparison: VersionComparison) -> Picture | None:
    """Draw the difference of each score with its interval; each line has its own scale."""
    rows = [row for row in [*comparison.scores, *([comparison.cost] if comparison.cost else [])]
            if finite([row.difference.value])]  # fmt: skip
    if not rows:
        return None
    lines = [(score_name(row), row, _extent([row])) for row in rows]
    note = (
        "With 95 % intervals; each line has its own scale. Right of the middle, version "
        f"{comparison.second} is better. A filled dot is a difference beyond chance."
    )
    return _picture(
        "Difference by score",
        note,
        WHOLE,
        lambda width: _forest(width, lines, comparison, axis=False),
    )


def group_chart(comparison: VersionComparison) -> Picture | None:
    """Draw the difference of the first metric in each group; all lines have the same scale."""
    scored = [(group, group.score) for group in comparison.groups if group.score]
    rows = [(group, score) for group, score in scored if finite([score.difference.value])]
    if not rows:
        return None
    extent = _extent([score for _, score in rows])
    lines = [(_group_name(group), score, extent) for group, score in rows]
    metric = score_name(rows[0][1])
    note = f"Right of the middle, version {comparison.second} is better. All lines share one scale."
    return _picture(
        f"Difference of {metric} by segment", note, WHOLE,
        lambda width: _forest(width, lines, comparison, axis=True),
    )  # fmt: skip


def calibration_chart(comparison: VersionComparison) -> Picture | None:
    """Draw the observed share against the predicted probability of both versions."""
    if not comparison.calibration:
        return None
    note = "Ten bins with the same number of rows. The dashed line is perfect calibration."
    return _picture("Calibration", note, HALF, lambda width: _calibration(width, comparison))


def times_chart(comparison: VersionComparison) -> Picture | None:
    """Draw quantiles of the request times of both versions."""
    bars = [bar for traffic in comparison.traffic for bar in _bars(traffic, comparison)]
    if not bars:
        return None
    note = "From reception of the request to its event; for a shadow, only the time of its run."
    return _picture("Time of a request", note, HALF, lambda width: _times(width, bars))


def _picture(title: str, note: str, wide: float, draw: Callable[[float], Markup]) -> Picture:
    return Picture(title, note, "", draw(wide), draw(NARROW))


def _forest(
    width: float,
    rows: Sequence[tuple[str, ScoreRow, float]],
    comparison: VersionComparison,
    *,
    axis: bool,
) -> Markup:
    """Draw a forest plot; `rows` are names, scores and the ends of their symmetric scales."""
    narrow = width == NARROW
    letters = 18 if narrow else 34
    left = min(max(len(name) for name, _, _ in rows), letters) * LETTER + 16.0
    right = width - (_RIGHT if narrow else 210.0)
    height = _TOP + _LINE * len(rows) + (_BOTTOM if axis else 10.0)
    drawn: list[Markup] = []
    middle = (left + right) / 2
    for place, (name, row, extent) in enumerate(rows):
        scale = Scale(-extent, extent, left, right)
        y = _TOP + _LINE * (place + 0.5)
        drawn += _forest_line(name, row, comparison, scale, y, letters)
        if not narrow:
            text = estimated_text(row.difference)
            drawn.append(element("text", text, class_="label", x=right + 14, y=y + 4))
    if axis:
        drawn.append(_axis(Scale(-rows[0][2], rows[0][2], left, right), height))
    zero = element(
        "line", class_="tick", x1=middle, x2=middle, y1=_TOP - 4, y2=_TOP + _LINE * len(rows)
    )
    words = "; ".join(f"{name} {estimated_text(row.difference)}" for name, row, _ in rows)
    ends = [
        element("text", f"version {comparison.first} better", class_="label", x=left, y=12),
        element("text", f"version {comparison.second} better", class_="label end", x=right, y=12),
    ]
    return drawing(width, height, f"Differences: {words}", zero, *ends, *drawn, class_="chart")


def _forest_line(  # noqa: PLR0913, PLR0917 - the content and the position of a line
    name: str, row: ScoreRow, comparison: VersionComparison, scale: Scale, y: float, letters: int
) -> list[Markup]:
    value = row.difference.value
    assert value is not None
    sign = -1.0 if row.lower_is_better else 1.0
    better = {"first": comparison.first, "second": comparison.second}.get(row.better)
    verdict = f"version {better} is better" if better else "within chance"
    title = (
        f"{name}: version {comparison.first} {estimated_text(row.first)}, "
        f"version {comparison.second} {estimated_text(row.second)}, "
        f"difference {estimated_text(row.difference)}: {verdict}"
    )
    drawn = [
        element(
            "text", element("title", name), shorten(name, letters),
            class_="label end name", x=scale.start - 10, y=y + 4,
        )
    ]  # fmt: skip
    if finite([row.difference.low, row.difference.high]):
        low, high = (
            scale(sign * (end or 0.0)) for end in (row.difference.low, row.difference.high)
        )
        kind = {"first": "line v0", "second": "line v1"}.get(row.better, "line")
        drawn.append(element("line", class_=kind, x1=low, x2=high, y1=y, y2=y))
    state = {"first": "dot v0", "second": "dot v1"}.get(row.better, "dot faint")
    drawn.append(element("circle", class_=state, cx=scale(sign * value), cy=y, r=4.5))
    width = scale.end - scale.start
    drawn.append(
        element(
            "rect", element("title", title), class_="target",
            x=scale.start, y=y - _LINE / 2, width=width, height=_LINE,
        )
    )  # fmt: skip
    return drawn


def _axis(scale: Scale, height: float) -> Markup:
    step = nice_step(scale.high - scale.low, 6)
    most = int(scale.high / step + 1e-9)
    places = [place * step for place in range(-most, most + 1)]
    marks = [
        element("text", f"{abs(at):g}", class_="label mid", x=scale(at), y=height - 8)
        for at in places
    ]
    return element("g", *marks, class_="axis")


def _extent(rows: Sequence[ScoreRow]) -> float:
    """Return the end of a symmetric scale that includes all differences and intervals."""
    ends = [
        abs(end) for row in rows
        for end in finite([row.difference.value, row.difference.low, row.difference.high])
    ]  # fmt: skip
    return max([*ends, 1e-9]) * 1.08


def _group_name(group: GroupRow) -> str:
    return f"{group.segment}: {group.group}"


def _calibration(width: float, comparison: VersionComparison) -> Markup:
    left, bottom = 44.0, 34.0
    size = min(width - left - _RIGHT, 400.0)
    height = size + _TOP + bottom
    x = Scale(0.0, 1.0, left, left + size)
    y = Scale(0.0, 1.0, _TOP + size, _TOP)
    drawn: list[Markup] = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn += [
            element("line", class_="grid", x1=x(0), x2=x(1), y1=y(value), y2=y(value)),
            element("text", percent(value), class_="label end", x=left - 6, y=y(value) + 4),
            element("text", percent(value), class_="label mid", x=x(value), y=y(0) + 16),
        ]
    drawn.append(element("line", class_="threshold", x1=x(0), x2=x(1), y1=y(0), y2=y(1)))
    for place, (version, bins) in enumerate(comparison.calibration.items()):
        drawn += _calibration_line(version, bins, (x, y), f"v{place}")
    label = element("text", "predicted", class_="label end", x=x(1), y=y(0) + 30)
    side = element("text", "observed", class_="label", x=left, y=12)
    words = ", ".join(f"version {name}" for name in comparison.calibration)
    return drawing(width, height, f"Calibration of {words}", *drawn, label, side, class_="chart")


def _calibration_line(
    version: str, bins: Sequence[CalibrationBin], scales: tuple[Scale, Scale], kind: str
) -> list[Markup]:
    x, y = scales
    points = [(x(bin_.predicted), y(bin_.observed)) for bin_ in bins]
    return [
        path(points, f"line {kind}"),
        *(
            element(
                "circle",
                element(
                    "title",
                    f"version {version}: predicted {percent(bin_.predicted)}, observed "
                    f"{percent(bin_.observed)} of {bin_.rows:,} rows",
                ),
                class_=f"dot {kind}", cx=at[0], cy=at[1], r=3.5,
            )
            for bin_, at in zip(bins, points, strict=True)
        ),
    ]  # fmt: skip


def _bars(traffic: VersionTraffic, comparison: VersionComparison) -> list[tuple[str, float, str]]:
    """Return the name, the milliseconds and the CSS class of each bar."""
    kind = "v0" if traffic.version == comparison.first else "v1"
    times = traffic.total_ms or traffic.shadow_run_ms
    name = (
        f"version {traffic.version}" if traffic.total_ms else f"version {traffic.version}, shadow"
    )
    return [(f"{name} {quantile}", value, kind) for quantile, value in times.items()]


def _times(width: float, bars: Sequence[tuple[str, float, str]]) -> Markup:
    left = max(len(name) for name, _, _ in bars) * LETTER * 0.95 + 12.0
    scale = Scale(0.0, max(value for _, value, _ in bars) or 1.0, left, width - 70.0)
    height = 12.0 + _LINE * len(bars)
    drawn = []
    for place, (name, value, kind) in enumerate(bars):
        y = 6.0 + _LINE * place
        drawn += [
            element("text", name, class_="label end name", x=left - 8, y=y + 16),
            element("rect", class_=f"bar {kind}", x=left, y=y + 4, width=scale(value) - left,
                    height=_LINE - 8, rx=2),
            element("text", f"{value:.2f} ms", class_="label", x=scale(value) + 6, y=y + 16),
        ]  # fmt: skip
    words = ", ".join(f"{name} {value:.2f} ms" for name, value, _ in bars)
    return drawing(width, height, f"Times: {words}", *drawn, class_="chart")
