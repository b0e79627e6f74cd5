"""Figures of a gate as text, for terminal and page."""

from registry.gates.outcomes import GateFigure


def figure_text(one: GateFigure) -> str:
    """Return a figure as one line."""
    interval, champion = interval_text(one), number_text(one.champion)
    about = [
        limit_text(one),
        interval and f"95 % interval {interval}",
        champion and f"champion {champion}",
        f"{one.rows:,} rows" if one.rows else "",
        one.note,
    ]
    details = "; ".join(part for part in about if part)
    return f"{figure_name(one)}: {number_text(one.value) or 'none'}" + (
        f" ({details})" if details else ""
    )


def interval_text(one: GateFigure) -> str:
    """Return the interval of a figure, "" if it has none."""
    if one.low is None or one.high is None:
        return ""
    return f"{one.low:.4g} to {one.high:.4g}"


def limit_text(one: GateFigure) -> str:
    """Return the limits of a figure, "" if it has none."""
    limits = [("at least", one.at_least), ("at most", one.at_most)]
    return ", ".join(f"{word} {limit:.4g}" for word, limit in limits if limit is not None)


def figure_name(one: GateFigure) -> str:
    """Return the name of a figure with its group."""
    return f"{one.name}, {one.group}" if one.group else one.name


def number_text(value: float | None) -> str:
    """Return a number with six significant digits, "" for none."""
    return "" if value is None else f"{value:.6g}"
