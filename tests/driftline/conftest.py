"""The `driftline` command in a separate process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eventlog.settings import Home
from tests import preloaded

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def run(home: Home, tmp_path: Path) -> Run:
    """Run `driftline` to its end on the home, with further variables of its environment."""

    def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        stores = {"DRIFTLINE_HOME": str(home.root), "BENTOML_HOME": str(tmp_path / "bentoml")}
        return preloaded.run(
            [sys.executable, "-m", "driftline", *arguments],
            env={**os.environ, **stores, "DO_NOT_TRACK": "1", **environment},
            timeout=120,
        )

    return command
