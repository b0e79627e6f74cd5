"""A replay differs from this release's results, but not from scores of earlier releases."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driftline.log_replay import differences
from monitoring.storage.store import Store
from tests.monitoring.log_in_memory import Monitor, eight_hours

pytestmark = pytest.mark.untraced


def _monitored(path: Path) -> Path:
    monitor = Monitor(path, eight_hours().records)
    monitor.drain()
    monitor.database.close()
    return path


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the stored body of the oldest result."""
    with sqlite3.connect(path) as database:
        (row, body) = database.execute("SELECT rowid, body FROM results ORDER BY start").fetchone()
        result = json.loads(body)
        change(result)
        values = json.dumps(result).encode(), row
        database.execute("UPDATE results SET body = ? WHERE rowid = ?", values)
    database.close()


def _without_figures(result: dict[str, Any]) -> None:
    """As release 0.2 wrote results."""
    del result["figures"]


def _scored_otherwise(result: dict[str, Any]) -> None:
    result["scores"][0]["value"] = 0.123


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., tuple[int, int]]:
    def compare(*changes: Callable[[dict[str, Any]], object]) -> tuple[int, int]:
        """Windows that differ, and those of which an earlier release found something else."""
        recorded = _monitored(tmp_path / "recorded.db")
        for change in changes:
            _edit(recorded, change)
        stores = Store(recorded), Store(_monitored(tmp_path / "replayed.db"))
        try:
            found, earlier = differences(*stores)
            return len(found), earlier
        finally:
            for store in stores:
                store.close()

    return compare


def test_a_replay_of_the_same_log_has_no_differences(
    compare: Callable[..., tuple[int, int]],
) -> None:
    assert compare() == (0, 0)


def test_a_different_score_is_reported(compare: Callable[..., tuple[int, int]]) -> None:
    assert compare(_scored_otherwise) == (1, 0)


def test_different_scores_of_an_earlier_release_are_explained(
    compare: Callable[..., tuple[int, int]],
) -> None:
    assert compare(_without_figures, _scored_otherwise) == (0, 1)


def test_equal_results_of_an_earlier_release_are_equal(
    compare: Callable[..., tuple[int, int]],
) -> None:
    assert compare(_without_figures) == (0, 0)
