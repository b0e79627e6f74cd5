"""Fixtures of the examples' tests."""

from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the flights example."""
    return FLIGHTS
