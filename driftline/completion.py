"""`driftline completion`: print the script that completes commands and options in a shell."""

import click
from click.shell_completion import get_completion_class

from driftline.cli import driftline

_SHELLS = ("bash", "zsh", "fish")


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [completion]


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in SHELL; load it when the shell starts.

    bash: eval "$(driftline completion bash)" in ~/.bashrc. zsh: eval "$(driftline completion zsh)"
    in ~/.zshrc. fish: driftline completion fish > ~/.config/fish/completions/driftline.fish
    """
    shell_class = get_completion_class(shell)
    assert shell_class is not None  # click has a class for each of these shells
    click.echo(shell_class(driftline, {}, "driftline", "_DRIFTLINE_COMPLETE").source())
