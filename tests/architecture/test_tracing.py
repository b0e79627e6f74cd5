"""Coverage traces the first cases of each test."""

import os
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests.tracing import CASES, EXAMPLES

ROOT = Path(__file__).parents[2]
CONFTEST = """
from coverage import Coverage
from tests.tracing import TracedCases

def pytest_configure(config):
    config.addinivalue_line("markers", "untraced: is not traced")
    config.pluginmanager.register(TracedCases(Coverage.current()))
"""
TESTS = f"""
import itertools
import pytest
from hypothesis import given, settings, strategies
from subject import *

@pytest.mark.parametrize("n", range({CASES + 2}))
def test_cases(n):
    cases(n)

@pytest.mark.untraced
def test_untraced():
    cases({CASES + 2})

numbers = itertools.count()

@settings(max_examples={2 * EXAMPLES}, database=None)
@given(strategies.integers())
def test_property(_):
    examples(next(numbers))

def test_after_a_property():
    cases({CASES + 3})
"""


def lines(function: str, amount: int) -> str:
    """A function that runs a line of its own for each number."""
    branches = "".join(f"    if n == {n}:\n        return {n}\n" for n in range(amount))
    return f"def {function}(n):\n{branches}"


def test_coverage_traces_the_first_cases_and_examples_of_each_test(tmp_path: Path) -> None:
    subject = lines("cases", CASES + 4) + lines("examples", 2 * EXAMPLES)
    (tmp_path / "subject.py").write_text(subject)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_subject.py").write_text(TESTS)
    pytest_ = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "."]
    command = [sys.executable, "-m", "coverage", "run", "--rcfile", "", "--source", ".", *pytest_]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "COVERAGE_FILE": str(tmp_path / "data"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = CoverageData(str(tmp_path / "data"))
    data.read()
    traced = set(data.lines(str(tmp_path / "subject.py")) or [])
    returned = [
        line.strip()
        for number, line in enumerate(subject.splitlines(), 1)
        if number in traced and "return" in line
    ]
    cases = [*range(CASES), CASES + 3]
    assert returned == [f"return {n}" for n in [*cases, *range(EXAMPLES)]]
