"""The page shows the same from the monitor's real database as from the fake store."""

import io
import re
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.rows import StoredRow
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.windows.window_state import WindowState


@pytest.fixture
def real(home: Path, reports: Path) -> Any:
    with (
        serving(app(lambda: Store(home / "monitor.db"), reports), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as opened,
    ):
        yield opened


def test_every_page_is_the_same_from_the_real_database(
    real: httpx.Client, client: httpx.Client, store: Any
) -> None:
    start = store.all_results[28].window.start
    for path in ("/models/flights/1", f"/models/flights/1/windows/{start}", "/models/newcomer/1",
                 "/api/models/flights/versions/1/results", "/api/alarms"):  # fmt: skip
        one, other = real.get(path), client.get(path)
        assert (one.status_code, other.status_code) == (200, 200)
        assert _without_outbox(one.text) == _without_outbox(other.text)


def test_the_overview_and_the_metrics_read_the_real_store(real: httpx.Client) -> None:
    assert "ROC AUC fell to 0.651" in real.get("/").text
    assert 'driftline_webhooks{state="dead"} 1.0' in real.get("/metrics").text
    assert 'driftline_counted_total{what="unknown_labels"}' in real.get("/metrics").text


def test_an_alarm_is_acknowledged_in_the_real_store(real: httpx.Client) -> None:
    assert real.post("/api/alarms/drift-24/acknowledge").status_code == 200
    states = {alarm["alarm_id"]: alarm["state"] for alarm in real.get("/api/alarms").json()}
    assert states["drift-24"] == "acknowledged"


def test_the_rows_of_a_window_come_from_the_real_store(
    real: httpx.Client, home: Path, store: Any
) -> None:
    result = store.all_results[39]
    database = Database(home / "monitor.db")
    with database.transaction():
        journal = Journal(database)
        opened = WindowState(result.window.start, result.window.end)
        journal.save_windows([(("flights", "1"), opened)])
        for row in range(2):
            stored = StoredRow(
                f"p{row}",
                0,
                "flights",
                "1",
                result.window.start,
                row,
                f"[{row}, 1]".encode(),
                None,
                0,
            )
            journal.predictions.add_row(stored)
        journal.predictions.add_label("p0", 0, 1)
        journal.predictions.flush()
    database.close()
    reply = real.get(f"/api/models/flights/versions/1/windows/{result.window.start}/rows.parquet")
    frame = pd.read_parquet(io.BytesIO(reply.content))
    assert frame["dep_hour"].tolist() == [0, 1]
    assert frame["label"].dropna().tolist() == [1]


def _without_outbox(page: str) -> str:
    return re.sub(r'<table class="stack deliveries">.*?</table>', "", page, flags=re.DOTALL)
