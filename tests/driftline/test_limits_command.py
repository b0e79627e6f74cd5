"""`driftline limits` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from eventlog.settings import Home
from registry.errors import InvalidLimits, UnknownModel
from registry.store import Registry
from tests.tiny_model import register_tiny


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files", queue={"max_requests": 10})
    registry.promote("tiny", "1")
    return registry


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["limits", *arguments])


def test_a_change_is_shown_with_its_actor_and_the_previous_value(registry: Registry) -> None:
    said = run("tiny", "champion", "--max-requests", "20", "--cache-max-bytes", "1000").output
    assert "tiny version 1: max_requests 20, cache_max_bytes 1000 (registry revision" in said
    assert "0 of 0 workers have applied it" in said
    shown = run("tiny").output
    assert ["1", "max_requests", "20", "10"] in [line.split() for line in shown.splitlines()]
    assert "max_wait_ms       service default" in shown
    assert "default_priority  lowest" in shown
    who = registry.history("tiny")[-1].actor
    assert f"UTC, {who}: version 1 max_requests 20, cache_max_bytes 1000" in shown


def test_all_changes_can_be_reset(registry: Registry) -> None:
    run("tiny", "--max-bytes", "5")
    assert "every version of tiny: limits of the manifest" in run("tiny", "--reset").output
    assert registry.state("tiny").desired.limits == {}


def test_impossible_changes_are_refused(registry: Registry) -> None:
    assert "expected no limit together" in run("tiny", "--reset", "--max-bytes", "1").output
    assert isinstance(run("tiny", "--priority-levels", "99").exception, InvalidLimits)
    assert isinstance(run("none").exception, UnknownModel)
