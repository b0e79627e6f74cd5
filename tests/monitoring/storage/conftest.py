"""What is stored holds in both databases."""

from pathlib import Path

import pytest


@pytest.fixture
def where(each_database: Path | str) -> Path | str:
    """Where the database is: each kind in turn."""
    return each_database
