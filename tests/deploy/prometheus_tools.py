"""The real tools of Prometheus; tests that need them are skipped with a message."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))


def tool(name: str) -> str:
    """Where a tool lies."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"REAL PROMETHEUS NOT TESTED: no {name} on this machine")
    return found


def run(name: str, *arguments: str | Path) -> str:
    """What a tool says; fails with that where it is not content."""
    done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
