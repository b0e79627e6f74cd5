"""`driftline policy` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from eventlog.settings import Home
from registry.errors import InvalidPolicy, UnknownModel
from registry.store import Registry
from tests.tiny_model import register_tiny


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("COLUMNS", "200")
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files", monitoring={"alarms": {"min_rows": 50}})
    registry.promote("tiny", "1")
    return registry


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "new.yaml"
    path.write_text("alarms: {min_rows: 7}\ndrift_methods: {price: psi}\n")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["policy", *arguments])


def test_a_change_is_shown_with_actor_time_and_reason(registry: Registry, file: str) -> None:
    said = run("tiny", "champion", "--file", file, "--why", "nights are quiet").output
    assert "tiny version 1: policy changed (registry revision 3)" in said
    assert "version 1: alarms.min_rows 50 -> 7, drift_methods.price none -> psi" in said
    assert "; applies to windows from 20" in said
    lines = [line.split() for line in run("tiny").output.splitlines()]
    assert ["alarms.min_rows", "7", "revision", "3"] in lines
    assert ["alarms.consecutive", "2", "manifest"] in lines
    who = registry.history("tiny")[-1].actor
    last = " ".join(lines[-1])
    assert last.startswith("revision 3, 20")
    assert f"UTC, {who}, version 1: alarms.min_rows 50 -> 7" in last
    assert last.endswith("; reason: nights are quiet")


def test_all_changes_can_be_reset(registry: Registry, file: str) -> None:
    run("tiny", "--file", file, "--why", "a trial")
    said = run("tiny", "--reset", "--why", "it was one").output
    assert "every version of tiny: policy changed" in said
    assert "policy of the manifest (alarms.min_rows 7 -> 50" in said
    version = registry.version("tiny", "1")
    assert registry.policies(version)[-1].policy == version.manifest.monitoring


def test_impossible_changes_are_refused(file: str) -> None:
    assert "expected --why" in run("tiny", "--file", file).output
    assert "expected --why" in run("tiny", "--reset", "--why", " ").output
    assert "expected no --file" in run("tiny", "--reset", "--file", file, "--why", "x").output
    Path(file).write_text("alarms: {min_rows: 0}")
    assert isinstance(run("tiny", "--file", file, "--why", "x").exception, InvalidPolicy)
    assert isinstance(run("none").exception, UnknownModel)
