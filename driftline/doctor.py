"""`driftline doctor`: check an installation and say what to do."""

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
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of findings.")
def doctor(as_json: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Check this installation: settings, home, disk, ports, clock, Kafka, databases, versions.

    Changes nothing. Each line is ok, warning or failed, with what to do. Exits with 1 if a check
    failed.
    """
    found = list(findings(Home.from_environment(), as_started(os.environ)))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for one in found:
            state = click.style(f"{one.state:<8}", fg=_COLOURS[one.state])
            remedy = f"; {one.remedy}" if one.remedy else ""
            click.echo(f"{state}{one.check}: {one.message}{remedy}")
    if any(one.state == "failed" for one in found):
        raise click.exceptions.Exit(1)
