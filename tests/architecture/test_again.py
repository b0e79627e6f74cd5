"""A few failed tests are re-run alone; every other failure stays a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import again

ROOT = Path(__file__).parents[2]
_PASSES_THE_SECOND_TIME = """
from pathlib import Path
def test_it():
    ran = Path("ran")
    before = ran.exists()
    ran.touch()
    assert before
"""


def _run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run these test files as the suite does, and then what runs failures again."""
    for number, text in enumerate(tests):
        (folder / f"test_{number}.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    pytest_itself = [sys.executable, "-m", "pytest", "-q"]
    first = subprocess.run(pytest_itself, cwd=folder, env=environment, check=False)
    return subprocess.run(
        [sys.executable, "-m", "tests.again", str(first.returncode)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_passes_alone_is_named_and_does_not_stop_the_run(tmp_path: Path) -> None:
    done = _run(tmp_path, _PASSES_THE_SECOND_TIME)
    assert done.returncode == 0
    assert "UNSTABLE" in done.stdout
    assert "test_0.py::test_it" in done.stdout


def test_a_test_that_fails_again_fails_the_run(tmp_path: Path) -> None:
    done = _run(tmp_path, _PASSES_THE_SECOND_TIME, "def test_it(): assert False")
    assert done.returncode == 1
    assert "UNSTABLE" not in done.stdout


@pytest.mark.parametrize("status", [0, 2, 3, 10])
def test_other_ends_of_a_run_stay(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert again.main(status) == status


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    done = _run(tmp_path, *["def test_it(): assert False"] * (again.MOST + 1))
    assert done.returncode == 1
    assert "Once more" not in done.stdout
