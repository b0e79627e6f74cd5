"""The systemd units call existing commands and give them time to end."""

import configparser
from pathlib import Path

import pytest

from driftline.cli import COMMANDS
from service.settings import Settings

_UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


def _unit(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    found.read(path)
    return found


@pytest.mark.parametrize("path", _UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_command_of_ours_without_privileges(path: Path) -> None:
    unit = _unit(path)["Service"]
    program, command = unit["ExecStart"].split()
    assert program == "/opt/driftline/bin/driftline"
    assert command in COMMANDS
    assert unit["User"] == "driftline"
    assert unit["NoNewPrivileges"] == "true"
    home = f"DRIFTLINE_HOME=/var/lib/{unit['StateDirectory']}"
    assert home in unit["Environment"].split()


def test_the_service_has_time_to_finish_accepted_requests() -> None:
    unit = next(path for path in _UNITS if path.stem == "driftline-service")
    assert int(_unit(unit)["Service"]["TimeoutStopSec"]) > Settings().shutdown_grace_s + 10
