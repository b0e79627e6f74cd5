"""The jars of the real Apache Kafka that tests run."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

POM = Path(__file__).parent / "integration" / "kafka" / "pom.xml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "driftline"
FETCH = "dependency:copy-dependencies"


def fetched() -> Path:
    """Their folder; Maven brings them once per pinned POM into the user's cache."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"REAL KAFKA NOT TESTED: no {tool} on this machine")
    folder = CACHE / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        fresh = folder.with_suffix(f".{os.getpid()}")
        subprocess.run(
            ["mvn", "-q", "-B", "-f", str(POM), FETCH, f"-DoutputDirectory={fresh}"],
            check=True,
        )
        fresh.rename(folder)
    return folder
