"""The line of a retraining request on page, API and metrics."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from monitoring.web.app import app
from monitoring.web.retrain_loops import RetrainLoops
from monitoring.web.server import serving
from registry.errors import RegistryUnavailable
from registry.history.store import History
from tests.monitoring.web.conftest import a_busy_store

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


def test_while_the_registry_is_down_the_page_shows_what_it_knows(
    page: httpx.Client, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> int:
        raise RegistryUnavailable("no server")

    monkeypatch.setattr(history, "revision", down)
    assert page.get("/").status_code == 200
    (line,) = page.get("/api/retraining").json()
    assert (line["awaited"], line["overdue"]) == ("", False)
    assert 'driftline_overdue_retrain_requests{model="flights"} 0.0' in page.get("/metrics").text
