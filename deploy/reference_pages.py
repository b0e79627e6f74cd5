"""Generate docs/reference/ from the code: python deploy/reference_pages.py [FOLDER]."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from driftline.cli import driftline
from driftline.setting_catalogue import OTHERS, PARTS, Setting, settings_of

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
SETTINGS = """# Settings

This page lists every setting. It is generated from the code by `python deploy/reference_pages.py`.

Every setting is an environment variable, or a line of
[`driftline.toml`](../how-to/configure.md). At start, invalid values are refused by name.
`BENTOML_HOME` is the folder of BentoML's model store (`bentoml` below `DRIFTLINE_HOME`);
OpenTelemetry's variables configure [traces](../operations.md#traces-and-log-lines).
"""
COMMANDS = """# Commands

This page lists every command. It is generated from the code by `python deploy/reference_pages.py`.

Every command accepts `--help`. An expected error is one line on standard error and exit status 1.
"""


def main(folder: Path) -> None:
    """Write the pages of settings and commands."""
    (folder / "settings.md").write_text(SETTINGS + "".join(_tables()))
    (folder / "commands.md").write_text(COMMANDS + "".join(_commands(driftline, "driftline")))


def _tables() -> Iterator[str]:
    yield _table("Every process", OTHERS)
    yield from (_table(part.title, settings_of(part)) for part in PARTS)


def _table(title: str, settings: list[Setting]) -> str:
    lines = [f"\n## {title}\n", "| variable | default | meaning |", "| --- | --- | --- |"]
    for setting in settings:
        default = "empty" if setting.default in ("", None) else f"`{_plain(setting.default)}`"
        choices = ", ".join(f"`{choice}`" for choice in setting.choices)
        parts = [setting.description, f"one of {choices}" if choices else ""]
        description = "; ".join(part for part in parts if part).replace("|", "\\|")
        lines.append(f"| `{setting.variable}` | {default} | {description} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _commands(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            subcommand = command.get_command(context, inner)
            assert subcommand is not None
            yield from _commands(subcommand, f"{name} {inner}")
        return
    context = click.Context(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n"
    shown = [
        option
        for option in command.params
        if isinstance(option, click.Option) and option.name != "help"
    ]
    if shown:
        yield "\n| option | meaning |\n| --- | --- |\n"
        yield from (f"| `{', '.join(option.opts)}` | {_of_option(option)} |\n" for option in shown)


def _of_option(option: click.Option) -> str:
    words = (option.help or "").replace("|", "\\|").replace("  [default", " [default")
    if option.required:
        return f"{words} Required."
    has_default = option.show_default and option.default not in (None, "", False, ())
    return f"{words} [default: {option.default}]" if has_default else words


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
