"""The jars of the real Apache Kafka that tests run."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.once import CACHE, made_once

POM = Path(__file__).parent / "integration" / "kafka" / "pom.xml"
FETCH = "dependency:copy-dependencies"


def fetched() -> Path:
    """Their folder; Maven brings them once per pinned POM into the user's cache."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"REAL KAFKA NOT TESTED: no {tool} on this machine")

    def download(folder: Path) -> None:
        command = ["mvn", "-q", "-B", "-f", str(POM), FETCH, f"-DoutputDirectory={folder}"]
        subprocess.run(command, check=True)

    return made_once(CACHE / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}", download)
