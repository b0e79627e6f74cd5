"""Generate docs/reference/ from the code: python deploy/reference_pages.py [FOLDER]."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from access.oidc import PREFIX as OIDC_PREFIX
from access.oidc import OidcSettings
from driftline.cli import driftline
from driftline.remote.settings import PREFIX as SERVER_PREFIX
from driftline.remote.settings import RegistryServerSettings
from eventlog.forwarder_metrics import ForwarderSettings
from eventlog.kafka import KafkaSettings
from eventlog.settings import LOG_PREFIX, LogSettings
from monitoring.settings import KEEP_PREFIX, MonitorSettings
from monitoring.settings import PREFIX as MONITOR_PREFIX
from monitoring.windows.retention import Retention
from registry.bounded.bounds import PREFIX as REGISTER_PREFIX
from registry.bounded.bounds import RegisterSettings
from registry.settings import PREFIX as REGISTRY_PREFIX
from registry.settings import RegistrySettings
from service.settings import PREFIX as SERVICE_PREFIX
from service.settings import Settings
from telemetry.logs import PREFIX as LOGGING_PREFIX
from telemetry.logs import LoggingSettings

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
GROUPS: list[tuple[str, str, type[msgspec.Struct]]] = [
    ("The service: `driftline serve`", SERVICE_PREFIX, Settings),
    ("The registry", REGISTRY_PREFIX, RegistrySettings),
    ("The registry server: `driftline registry serve`", SERVER_PREFIX, RegistryServerSettings),
    ("Tokens of an identity provider", OIDC_PREFIX, OidcSettings),
    ("Registration: bounds of the check of files", REGISTER_PREFIX, RegisterSettings),
    ("The event log", LOG_PREFIX, LogSettings),
    ("Kafka", "DRIFTLINE_KAFKA_", KafkaSettings),
    ("The forwarder: `driftline forward`", "DRIFTLINE_FORWARDER_", ForwarderSettings),
    ("The monitor: `driftline monitor`", MONITOR_PREFIX, MonitorSettings),
    ("The monitor's retention", KEEP_PREFIX, Retention),
    ("Log lines of every process", LOGGING_PREFIX, LoggingSettings),
]
SETTINGS = """# Settings

This page lists every setting. It is generated from the code by `python deploy/reference_pages.py`.

Every setting is an environment variable. An invalid value is refused at start, by name. Further
variables:

- `DRIFTLINE_HOME`: the folder that holds everything (`~/.driftline`).
- `BENTOML_HOME`: where BentoML stores registered models (`bentoml` below `DRIFTLINE_HOME`).
- `DRIFTLINE_API_KEY`: the key that Driftline's client and commands send.
- `DRIFTLINE_API_KEY_FILE`: the file of that key, for commands.
- `DRIFTLINE_REGISTRY_SERVER`: URL of a registry server, instead of `--server`.
- OpenTelemetry's own variables ([traces](../operations.md#traces-and-log-lines)).
"""
COMMANDS = """# Commands

This page lists every command. It is generated from the code by `python deploy/reference_pages.py`.

Every command takes `--help`. An expected error is one line on standard error and exit status 1.
"""
_FIELD = re.compile(r"    (\w+): .*?(?:  # (.*))?$")


def main(folder: Path) -> None:
    """Write the pages of settings and commands."""
    (folder / "settings.md").write_text(SETTINGS + "".join(_settings(*one) for one in GROUPS))
    (folder / "commands.md").write_text(COMMANDS + "".join(_commands(driftline, "driftline")))


def _settings(title: str, prefix: str, kind: type[msgspec.Struct]) -> str:
    comments = _comments(kind)
    lines = [f"\n## {title}\n", "| variable | default | meaning |", "| --- | --- | --- |"]
    for field in msgspec.structs.fields(kind):
        default = "empty" if field.default in ("", None) else f"`{_plain(field.default)}`"
        parts = [comments.get(field.name, ""), _choices(field.type)]
        description = "; ".join(part for part in parts if part).replace("|", "\\|")
        lines.append(f"| `{prefix}{field.name.upper()}` | {default} | {description} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choices(kind: Any) -> str:
    chosen = [one for one in get_args(kind) if isinstance(one, str)]
    return "one of " + ", ".join(f"`{one}`" for one in chosen) if chosen else ""


def _comments(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the source comment of each field, above or behind it."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if line.strip().startswith("# "):
            above.append(line.strip()[2:])
        elif match := _FIELD.match(line):
            found[match[1]] = " ".join([*above, *([match[2]] if match[2] else [])])
            above = []
    return found


def _commands(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _commands(found, f"{name} {inner}")
        return
    context = click.Context(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n"
    shown = [one for one in command.params if isinstance(one, click.Option) and one.name != "help"]
    if shown:
        yield "\n| option | meaning |\n| --- | --- |\n"
        yield from (f"| `{', '.join(one.opts)}` | {_of_option(one)} |\n" for one in shown)


def _of_option(option: click.Option) -> str:
    words = (option.help or "").replace("|", "\\|").replace("  [default", " [default")
    if option.required:
        return f"{words} Required."
    known = option.show_default and option.default not in (None, "", False, ())
    return f"{words} [default: {option.default}]" if known else words


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
