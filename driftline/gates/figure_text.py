"""Print the outcome of a gate."""

import click

from monitoring.presenter.gate_figures import figure_text
from registry.gates.outcomes import GateOutcome


def print_outcome(outcome: GateOutcome, *, every: bool = False) -> None:
    """Print an outcome with the figures that did not pass, or with every figure."""
    warning = "" if outcome.blocking else " (warning only)"
    reason = f": {outcome.reason}" if outcome.reason else ""
    click.echo(f"{outcome.name}: {outcome.outcome}{warning}{reason}")
    for figure in outcome.figures:
        if every or figure.outcome != "passed":
            click.echo(f"  {figure_text(figure)}")
