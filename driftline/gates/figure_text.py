"""A gate's outcome and figures as text, for terminal and page."""

import click

from registry.gates.outcomes import GateFigure, GateOutcome


def print_outcome(outcome: GateOutcome, *, every: bool = False) -> None:
    """Print an outcome with the figures that did not pass, or with every figure."""
    warning = "" if outcome.blocking else " (warning only)"
    reason = f": {outcome.reason}" if outcome.reason else ""
    click.echo(f"{outcome.name}: {outcome.outcome}{warning}{reason}")
    for figure in outcome.figures:
        if every or figure.outcome != "passed":
            click.echo(f"  {figure_text(figure)}")


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
