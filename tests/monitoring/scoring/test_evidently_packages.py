"""A scoring process imports only the used parts of Evidently, with the same reports."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

UNUSED = {"nltk", "litestar", "fsspec", "evidently.ui", "evidently.llm"}
REPORT = """
import json, sys
from pathlib import Path

if sys.argv[2] == "all":
    import evidently
import numpy as np
import pandas as pd

from monitoring.scoring.drift import evidently_adapter as adapter

chance = np.random.default_rng(3)
rows, reference = (
    pd.DataFrame({"x": chance.normal(n, 1, 90), "colour": chance.choice(["red", "blue"], 90)})
    for n in range(2)
)
tests = [
    adapter.ColumnTest("x", False, "wasserstein", 0.1),
    adapter.ColumnTest("colour", True, "jensenshannon", 0.1),
]
outcomes = adapter.test_columns(tests, dict(rows.items()), dict(reference.items()))
adapter.write_report(tests, rows, reference, Path(sys.argv[1]))
print(json.dumps([{name: str(value) for name, value in outcomes.items()}, [*sys.modules]]))
"""


def _report(path: Path, imports: str) -> tuple[dict[str, str], set[str], str]:
    """Drift by column, the modules that a process imported for it, and its report."""
    command = [sys.executable, "-c", REPORT, str(path), imports]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    outcomes, modules = json.loads(done.stdout.splitlines()[-1])
    numbers = r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|sha256-[^']*"
    return outcomes, set(modules), re.sub(numbers, "", path.read_text())


def test_a_report_is_written_without_the_rest_of_evidently(tmp_path: Path) -> None:
    outcomes, modules, page = _report(tmp_path / "parts.html", "parts")
    assert outcomes.keys() == {"x", "colour"}
    assert "wasserstein" in outcomes["x"].lower()
    assert modules & UNUSED == set()
    assert "colour" in page


@pytest.mark.nightly
def test_drift_and_report_equal_the_whole_librarys(tmp_path: Path) -> None:
    drift, _, page = _report(tmp_path / "parts.html", "parts")
    whole_drift, modules, whole_page = _report(tmp_path / "whole.html", "all")
    assert modules >= UNUSED
    assert drift == whole_drift
    assert page == whole_page
