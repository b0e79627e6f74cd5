"""Word-sized charts for table cells. Pure."""

from collections.abc import Sequence

from markupsafe import Markup

from monitoring.web.charts.scale import Scale, domain, finite
from monitoring.web.charts.svg import drawing, element, path


def sparkline(values: Sequence[float | None], label: str, threshold: float | None = None) -> Markup:
    """Draw a line with gaps for missing values, and the threshold as a dashed line."""
    width, height, margin = 96.0, 22.0, 3.0
    low, high, _ = domain(finite([*values, threshold]))
    x = Scale(0, max(len(values) - 1, 1), margin, width - margin)
    y = Scale(low, high, height - margin, margin)
    points = [
        (x(index), y(value)) if value is not None and finite([value]) else None
        for index, value in enumerate(values)
    ]
    rule = [
        element("line", class_="threshold", x1=0, x2=width, y1=y(at), y2=y(at))
        for at in finite([threshold])
    ]
    end = [element("circle", class_="dot", cx=px, cy=py, r=2.5) for px, py in _last(points)]
    return drawing(width, height, label, *rule, path(points), *end, class_="spark")


def meter(severity: float | None, label: str) -> Markup:
    """Draw a statistic as a bar; the tick in the middle is its threshold."""
    width, height = 120.0, 12.0
    # The square root keeps small values visible; the scale ends at four times the threshold.
    share = [min(max(value, 0.0) / 4, 1.0) ** 0.5 for value in finite([severity])]
    bar = {"y": 3, "height": 6, "rx": 3}
    return drawing(
        width,
        height,
        label,
        element("rect", class_="track", x=0, width=width, **bar),
        *(
            element("rect", class_="fill over" if s >= 0.5 else "fill", x=0, width=width * s, **bar)
            for s in share
        ),
        element("line", class_="limit", x1=width / 2, x2=width / 2, y1=0, y2=height),
        class_="meter",
    )


def _last(points: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    return [point for point in points if point is not None][-1:]
