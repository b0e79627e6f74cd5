"""Run the storage tests on SQLite and PostgreSQL."""

from pathlib import Path

import pytest


@pytest.fixture
def where(each_database: Path | str) -> Path | str:
    """Return the database's address, for each kind of database."""
    return each_database
