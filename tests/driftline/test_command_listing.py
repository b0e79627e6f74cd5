"""`driftline --help` lists commands without importing them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

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


def test_a_worker_of_the_service_starts_without_pandas(tmp_path: Path) -> None:
    report = "import service.app, sys; print('pandas' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", report],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
    ).stdout
    assert output.splitlines()[-1] == "False"
