"""`driftline --help` lists commands without importing them."""

import importlib
import subprocess
import sys

import pytest

from driftline.cli import COMMANDS

HEAVY = {"bentoml", "evidently", "onnxruntime", "pandas", "sklearn"}


@pytest.mark.parametrize("arguments", [["--help"], ["keys", "--help"], ["events", "--help"]])
def test_help_imports_no_heavy_library(arguments: list[str]) -> None:
    command = f"import sys, driftline.cli as cli; cli.driftline({arguments}, standalone_mode=False)"
    report = f"{command}; print('imported:', *sorted({HEAVY} & sys.modules.keys()))"
    output = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    ).stdout
    assert output.endswith("imported:\n")


def test_every_listed_command_exists() -> None:
    for name, entry in COMMANDS.items():
        module = importlib.import_module(entry.module)
        assert name in {command.name for command in module.commands()}
