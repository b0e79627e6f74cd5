"""Builds SVG with every text and attribute escaped. Pure."""

from collections.abc import Sequence

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Return an SVG or HTML element.

    In attribute names, `_` becomes `-`, and a trailing `_` is dropped. Attributes with the value
    None are omitted. Children are escaped unless they are Markup.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>{''.join(escape(child) for child in children)}</{tag}>")  # noqa: S704 - escaped above


def drawing(
    width: float, height: float, label: str, *children: str, **attributes: object
) -> Markup:
    """Return an SVG image with a label for screen readers."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        **attributes,
    )


def path(points: Sequence[tuple[float, float] | None], class_: str = "line") -> Markup:
    """Return a line through the points, with gaps where points are None."""
    steps, pen_down = [], False
    for point in points:
        if point is not None:
            steps.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return element("path", class_=class_, d=" ".join(steps))


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
