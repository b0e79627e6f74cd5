"""`driftline upgrade --check`: show how this release would change an installation."""

import click
import msgspec

from driftline.terminal import escaped
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [upgrade]


_COLOURS = {"upgrade": "yellow", "running": "yellow", "refused": "red", "unknown": "red"}


@click.command()
@click.option("--check", is_flag=True, required=True, help="Check only; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of findings.")
def upgrade(check: bool, as_json: bool) -> None:  # noqa: ARG001, FBT001  # click calls it by name
    """Show how this release would change databases and log, without changing them.

    An upgrade needs no command: each process migrates a database when it first opens it. Exits
    with 1 if a database or the log cannot be read or was written by a newer release.
    """
    from driftline.upgrade_check import upgrade_findings  # noqa: PLC0415 - imports SQLAlchemy

    findings = list(upgrade_findings(Home.from_environment()))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        for finding in findings:
            outcome = click.style(
                f"{finding.outcome:<8}", fg=_COLOURS.get(finding.outcome, "green")
            )
            click.echo(f"{outcome}{finding.part}: {escaped(finding.message)}")
            for step in finding.steps:
                click.echo(f"{'':<10}{step}")
    if any(finding.outcome in {"refused", "unknown"} for finding in findings):
        raise click.exceptions.Exit(1)
