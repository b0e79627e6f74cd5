"""`driftline config`: show every setting with its value and source."""

import os
from itertools import groupby

import click
import msgspec

from driftline.setting_catalogue import settings
from driftline.setting_file import as_started, file_of
from driftline.setting_names import misspelt
from driftline.setting_values import Value, value_of


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [config]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of settings.")
@click.option("--changed", is_flag=True, help="Only settings that differ from their defaults.")
def config(as_json: bool, changed: bool) -> None:  # noqa: FBT001  # click calls it by name
    """Show every setting with its value and source; secrets are masked.

    Sources, by priority: environment variables; driftline.toml in the home, or the file that
    DRIFTLINE_CONFIG names; defaults. Exits with 1 if a variable is misspelt or invalid.
    """
    environ = as_started(os.environ)
    values = [value_of(setting, environ, file_of) for setting in settings()]
    shown = [value for value in values if not changed or value.source != "default"]
    if as_json:
        click.echo(msgspec.json.encode(shown))
    elif not shown:
        click.echo("every setting has its default value", err=True)
    else:
        for part, part_values in groupby(shown, lambda value: value.part):
            click.echo(f"# {part}\n" + "\n".join(map(_line, part_values)) + "\n")
    faults = [
        f"{value.variable}: {value.value!r}: {value.fault}" for value in values if value.fault
    ]
    faults += misspelt(os.environ)
    for sentence in faults:
        click.echo(f"driftline: {sentence}", err=True)
    if faults:
        raise click.exceptions.Exit(1)


def _line(value: Value) -> str:
    allowed = f"one of {', '.join(value.allowed)}" if value.allowed else ""
    words = "; ".join(filter(None, [value.source, value.description, allowed]))
    return f"{value.variable}={value.value}  # {words}"
