"""`make load` finds the home of the running service."""

from pathlib import Path

import pytest

from benchmarks.short_load import registered_home
from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import register_tiny


@pytest.mark.parametrize("folder", [".", "flights"])
def test_the_homes_of_make_up_and_make_run_are_found(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    serving = Home(tmp_path / "home" / folder)
    register_tiny(Registry(serving), tmp_path / "files")
    assert registered_home({"tiny", "other"}) == (serving, "tiny")
    assert registered_home({"other"}) is None
