"""Shells complete commands and options."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DRIFTLINE = Path(sys.executable).with_name("driftline")
HEAVY = {"bentoml", "evidently", "onnxruntime", "pandas", "sqlalchemy", "kafka"}


def completed(words: str) -> list[str]:
    """Return what the script of bash gets for the last of the words."""
    position = len(words.split(" ")) - 1
    variables = {"_DRIFTLINE_COMPLETE": "bash_complete", "COMP_WORDS": words}
    done = subprocess.run(
        [DRIFTLINE],
        env={**os.environ, **variables, "COMP_CWORD": str(position)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_options_and_their_values_are_completed() -> None:
    assert completed("driftline mo") == ["models", "monitor"]
    assert completed("driftline keys re") == ["revoke"]
    assert completed("driftline monitor --until") == ["--until-idle"]
    assert completed("driftline completion ") == ["bash", "zsh", "fish"]
    assert completed("driftline nothing x") == [""]


def test_completing_command_names_imports_no_command() -> None:
    script = (
        "import sys; from driftline.cli import driftline as group; import click; "
        "found = group.shell_complete(click.Context(group), ''); "
        f"print(len(found), *({HEAVY} & sys.modules.keys()), 'driftline.keys' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(output[0]) > 30
    assert output[1:] == ["False"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_valid_shell(shell: str) -> None:
    script = subprocess.run(
        [DRIFTLINE, "completion", shell], capture_output=True, text=True, check=True
    ).stdout
    assert "_DRIFTLINE_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
    if shell == "bash":
        loaded = subprocess.run(
            [shell, "-c", f"{script}\ncomplete -p driftline"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert loaded.endswith("_driftline_completion driftline\n")
