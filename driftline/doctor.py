"""`driftline doctor`: check an installation and recommend changes."""

import os

import click
import msgspec

from driftline.installation import findings
from driftline.setting_file import as_started
from eventlog.settings import Home


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [doctor]


_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of findings.")
def doctor(as_json: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Check this installation: settings, home, disk, ports, clock, Kafka, databases, versions.

    Changes nothing. Each line has a result (ok, warning or failed) and a remedy. Exits with 1 if a
    check failed.
    """
    results = list(findings(Home.from_environment(), as_started(os.environ)))
    if as_json:
        click.echo(msgspec.json.encode(results))
    else:
        for result in results:
            state = click.style(f"{result.state:<8}", fg=_COLOURS[result.state])
            remedy = f"; {result.remedy}" if result.remedy else ""
            click.echo(f"{state}{result.check}: {result.message}{remedy}")
    if any(result.state == "failed" for result in results):
        raise click.exceptions.Exit(1)
