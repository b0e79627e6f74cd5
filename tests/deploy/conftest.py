"""Fixtures of the deployment tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.images import ROOT
from tests.deploy.installed import install


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that gives the Python of an environment with what a lock names, made once."""
    made: dict[str, Path] = {}

    def python(lock: str) -> Path:
        if lock not in made:
            made[lock] = install(lock, tmp_path_factory.mktemp("installed") / "opt")
        return made[lock]

    return python


@pytest.fixture
def initialised(tmp_path: Path) -> Callable[[], str]:
    """A function that runs deploy/init.sh below `tmp_path` and gives what it said."""
    shutil.copy(ROOT / "deploy" / "init.sh", tmp_path)
    shutil.copytree(ROOT / "deploy" / "prometheus", tmp_path / "prometheus")
    driftline = tmp_path / "driftline"
    driftline.write_text(f'#!/bin/sh\nexec {sys.executable} -m driftline "$@"\n')
    driftline.chmod(0o755)
    environment = {**os.environ, "DRIFTLINE": str(driftline), "DRIFTLINE_HOME": str(tmp_path)}
    command = ["sh", str(tmp_path / "init.sh")]

    def init() -> str:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    return init
