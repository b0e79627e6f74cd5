"""The command in an image that lacks the packages of other images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.cli import COMMANDS, NotInstalled, driftline


@pytest.fixture(autouse=True)
def _without_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("driftline.status",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "rich.table", None)  # as if it were not installed


def test_help_lists_every_command_and_marks_those_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)
    output = CliRunner().invoke(driftline, ["--help"], catch_exceptions=False).output
    for command in COMMANDS:
        assert f"\n  {command} " in output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "monitor Not installed: pip install 'driftline[monitoring]'." in lines


def test_a_command_names_the_package_that_it_lacks_whatever_its_arguments() -> None:
    words = r"status: package rich\.table is not installed: pip install 'driftline\[registry\]'"
    with pytest.raises(NotInstalled, match=words):
        driftline(["status", "--any", "thing"], standalone_mode=False)
    assert CliRunner().invoke(driftline, ["probe", "--help"]).exit_code == 0


def test_a_package_that_shadows_ours_is_named(tmp_path: Path) -> None:
    place = tmp_path / "registry" / "__init__.py"
    place.parent.mkdir()
    place.touch()
    refused = subprocess.run(
        [sys.executable, "-m", "driftline", "models"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"driftline: {place} shadows Driftline's package 'registry'")
