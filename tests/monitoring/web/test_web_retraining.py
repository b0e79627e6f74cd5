"""The line of a retraining request on page, API and metrics."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from msgspec.structs import replace

from monitoring.counters.batch_days import BatchDay
from monitoring.results import Window
from monitoring.web.app import app
from monitoring.web.retrain_loops import RetrainLoops
from monitoring.web.server import serving
from monitoring.webhooks.body import envelope, read_retrain_request
from registry.errors import RegistryUnavailable
from registry.history.store import History
from registry.manifest import Feature, Manifest, Version
from registry.schedules import Schedules
from tests.monitoring.web.conftest import a_busy_store, week

DAY = 86_400_000_000


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "registry.db")


@pytest.fixture
def page(history: History, tmp_path: Path) -> Iterator[httpx.Client]:
    store = a_busy_store()
    store.outbox = [replace(store.outbox[1], webhook_id="rr_<b>")]
    now = store.outbox[0].created + 3 * DAY
    loops = RetrainLoops(history, 2 * DAY, clock=lambda: now)
    made = app(lambda: store, tmp_path, loops=loops)
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_a_request_is_followed_until_its_version_answers(
    page: httpx.Client, history: History
) -> None:
    for path in ("/", "/models/flights/1"):
        text = page.get(path).text
        assert "awaits a candidate for 3 days, overdue" in text
        assert '<small class="words">rr_&lt;b&gt;</small>' in text
        assert "<b>gates</b></li>" in text, "steps to come have no text"
    metrics = page.get("/metrics").text
    assert 'driftline_unanswered_retrain_requests{model="flights"} 1.0' in metrics
    assert 'driftline_overdue_retrain_requests{model="flights"} 1.0' in metrics

    history.register("flights", "2", time=1, actor="ann", digest="d2", answers="rr_<b>")
    (line,) = page.get("/api/retraining").json()
    assert (line["candidate"], line["awaited"], line["overdue"]) == ("2", "rollout", False)
    assert 'driftline_overdue_retrain_requests{model="flights"} 0.0' in page.get("/metrics").text

    history.promote("flights", "champion", "2", time=2, actor="ann")
    (line,) = page.get("/api/retraining").json()
    assert (line["awaited"], line["steps"][-1]["text"]) == ("", "version 2 is champion")
    assert "awaits" not in page.get("/").text


def test_without_the_registry_the_page_shows_the_monitors_data(
    page: httpx.Client, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> int:
        raise RegistryUnavailable("no server")

    monkeypatch.setattr(history, "revision", down)
    assert page.get("/").status_code == 200
    (line,) = page.get("/api/retraining").json()
    assert (line["awaited"], line["overdue"]) == ("", False)
    assert 'driftline_overdue_retrain_requests{model="flights"} 0.0' in page.get("/metrics").text


def test_a_schedule_is_shown_on_page_api_and_metrics(page: httpx.Client, history: History) -> None:
    assert page.get("/api/schedules").json() == []
    history.register("flights", "1", time=1, actor="ann", digest="d1")
    clock = page.get("/api/retraining").json()[0]["created"]
    Schedules(history, lambda: clock * 1_000).set(
        "flights", "0 3 * * MON", "Europe/Berlin", "latest", actor="ann"
    )
    (view,) = page.get("/api/schedules").json()
    assert (view["model"], view["set_by"], view["last"]) == ("flights", "ann", None)
    assert view["next"] > view["undecided"] > 0, "three days later, no monitor has decided"
    for path in ("/", "/models/flights/1"):
        assert (
            "&#34;0 3 * * MON&#34; in Europe/Berlin. Next: Mon 22 Jul 2013" in page.get(path).text
        )
    assert 'driftline_schedule_undecided_seconds{model="flights"}' in page.get("/metrics").text


def test_a_requests_rows_are_returned_with_weights_and_validation(
    tmp_path: Path,
) -> None:
    store = a_busy_store()
    request = read_retrain_request(store.outbox[1].body)
    assert request is not None
    period = Window(week(20).start, week(26).end)
    body = envelope("rr_1", 1, replace(request, period=period, rule="schedule", window=None))
    store.outbox = [replace(store.outbox[1], webhook_id="rr_1", body=body)]
    version = Version(
        model="flights", number="1", digest="d", created=1, path=str(tmp_path), manifest=Manifest()
    )
    features = [Feature(name="dep_hour", kind="numeric"), Feature(name="gone", kind="numeric")]
    version = replace(version, manifest=replace(version.manifest, features=features))

    class Catalogue:
        """Registers the version as one of flights."""

        def versions(self, _model: str) -> list[Version]:
            return [version]

    made = app(lambda: store, tmp_path, catalogue=Catalogue())  # type: ignore[arg-type]
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        frame = pd.read_parquet(io.BytesIO(client.get("/api/retraining/rr_1/rows.parquet").content))
        assert list(frame.columns) == ["window_start", "weight", "dep_hour", "prediction", "label"]
        assert len(frame) == 7 * 3
        report = client.get("/api/retraining/rr_1/validation").json()
        assert report["state"] == "failed"
        assert report["findings"][0]["check"] == "schema", "the model has other features"
        assert "the rows do not have this column" in client.get("/retraining/rr_1").text
        for path in ("rows.parquet", "validation"):
            reply = client.get(f"/api/retraining/rr_2/{path}")
            assert reply.status_code == 404
            assert "no retraining request 'rr_2'" in reply.json()["error"]
        store.frame = pd.DataFrame()
        assert client.get("/api/retraining/rr_1/rows.parquet").status_code == 410


def test_rows_of_files_are_shown_by_day_apart_from_windows(tmp_path: Path) -> None:
    store = a_busy_store()
    counts = {
        "dep_hour": {"outside": 250},
        "late": {"missing": 3},
        "prediction": {"0": 750, "1": 250},
    }
    store.files = {week(3).start: BatchDay(2, 1, 1_000, 1_000, counts)}
    with (
        serving(app(lambda: store, tmp_path), "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        text = client.get("/models/flights/1").text
        for shown in ("Batch predictions", "dep_hour 25%", "0 75%, 1 25%", "(1 chunk failed)"):
            assert shown in text
        (day,) = client.get("/api/models/flights/versions/1/batch").json()
        assert (day["start"], day["rows"], day["failed"]) == (week(3).start, 1_000, 1)
