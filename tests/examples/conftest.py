"""The flights example as its scripts see each other: modules of one folder."""

import sys
from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
sys.path.insert(0, str(FLIGHTS))


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the flights example."""
    return FLIGHTS
