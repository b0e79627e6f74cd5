"""Text of the figures that a gate measured, for the terminal and the status page."""

from registry.gates.outcomes import GateFigure


def figure_text(gate_figure: GateFigure) -> str:
    """Return a figure as one line."""
    interval, champion = interval_text(gate_figure), number_text(gate_figure.champion)
    about = [
        limit_text(gate_figure),
        interval and f"95 % interval {interval}",
        champion and f"champion {champion}",
        f"{gate_figure.rows:,} rows" if gate_figure.rows else "",
        gate_figure.note,
    ]
    details = "; ".join(part for part in about if part)
    return f"{figure_name(gate_figure)}: {number_text(gate_figure.value) or 'none'}" + (
        f" ({details})" if details else ""
    )


def interval_text(gate_figure: GateFigure) -> str:
    """Return a figure's confidence interval, or "" if it has none."""
    if gate_figure.low is None or gate_figure.high is None:
        return ""
    return f"{gate_figure.low:.4g} to {gate_figure.high:.4g}"


def limit_text(gate_figure: GateFigure) -> str:
    """Return a figure's limits, or "" if it has none."""
    limits = [("at least", gate_figure.at_least), ("at most", gate_figure.at_most)]
    return ", ".join(f"{word} {limit:.4g}" for word, limit in limits if limit is not None)


def figure_name(gate_figure: GateFigure) -> str:
    """Return a figure's name, with its group if it has one."""
    return f"{gate_figure.name}, {gate_figure.group}" if gate_figure.group else gate_figure.name


def number_text(value: float | None) -> str:
    """Return a number with six significant digits, or "" for None."""
    return "" if value is None else f"{value:.6g}"
