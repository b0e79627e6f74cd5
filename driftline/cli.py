"""The `driftline` command: names its nouns and loads the one that was asked for."""

import importlib.util
import sys
from pathlib import Path

import click

from eventlog.errors import DriftlineError, SettingError
from eventlog.parent_death import end_with_parent

# Command -> the module whose `commands()` provides it; loaded only when asked for, because the
# service and the monitor bring heavy libraries that `driftline models` has no use for.
COMMANDS = {
    "up": "driftline.up",
    "register": "driftline.models",
    "provision": "driftline.provision",
    "models": "driftline.models",
    "promote": "driftline.models",
    "unload": "driftline.models",
    "limits": "driftline.limits",
    "policy": "driftline.policy",
    "serve": "driftline.serve",
    "monitor": "driftline.monitor",
    "status": "driftline.status",
    "alarms": "driftline.alarms",
    "webhooks": "driftline.webhooks",
    "deadletters": "driftline.webhooks",
    "replay": "driftline.replay",
    "backtest": "driftline.replay",
    "events": "driftline.events",
    "keys": "driftline.keys",
    "load": "driftline.load",
    "ledger": "driftline.ledger",
    "probe": "driftline.probe",
    "forward": "driftline.forward",
    "topics": "driftline.forward",
}

_OWN = {"service", "monitoring", "registry", "access", "eventlog", "telemetry", "loadtests"}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is looked up."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every command, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The named command, or None."""
        if cmd_name not in COMMANDS:
            return None
        try:
            provided: list[click.Command] = importlib.import_module(COMMANDS[cmd_name]).commands()
        except ImportError as error:
            _require_own(error.name or "")
            if not isinstance(error, ModuleNotFoundError):
                raise
            return _absent(cmd_name, error.name or "")
        return next(command for command in provided if command.name == cmd_name)


def _require_own(module: str) -> None:
    """Raise SettingError where another package stands in the place of one of ours."""
    package = module.partition(".")[0]
    found = importlib.util.find_spec(package) if package in _OWN else None
    if found is None:
        return
    root = Path(__file__).parents[1]
    places = [found.origin, *(found.submodule_search_locations or ())]
    place = next((place for place in places if place), "")
    if not Path(place).is_relative_to(root / package):
        raise SettingError(
            f"{place} stands in the place of Driftline's own package {package!r}: remove "
            "its folder from PYTHONPATH, or rename it"
        )


def _absent(command: str, package: str) -> click.Command:
    """A command that this installation lacks the packages for: each image brings what it runs."""
    words = f"Not in this installation: it has no {package}."

    def refuse() -> None:
        raise SettingError(f"{command} cannot run here: the package {package} is not installed")

    options = {
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
    }
    return click.Command(command, callback=refuse, help=words, context_settings=options)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driftline")
def driftline() -> None:
    """Serve ONNX models, log every answer, and know when a model drifts."""


def main() -> None:
    """Run the command; an expected error is one clear line, never a traceback."""
    end_with_parent()
    try:
        driftline(standalone_mode=False)
    except DriftlineError as error:
        click.echo(f"driftline: {error}", err=True)
        sys.exit(1)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
