"""The model's page lists all its versions, and every version's page links to it."""

from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from monitoring.results import Result
from monitoring.web.app import app
from tests.monitoring.web.conftest import FakeStore, week
from tests.monitoring.web.test_web_pages import text_of


def test_a_models_page_shows_only_its_own_versions(client: httpx.Client) -> None:
    page = client.get("/models/flights")
    assert page.status_code == 200
    assert 'href="/models/flights/1"' in page.text
    assert "newcomer" not in text_of(page)


def test_the_newest_window_is_divided_among_the_versions(tmp_path: Path) -> None:
    results = [
        Result(model="churn", version=version, window=week(index), events={"ok": requests})
        for version, index, requests in [("1", 0, 90), ("1", 1, 30), ("2", 1, 10)]
    ]
    made = app(lambda: FakeStore(all_results=results), tmp_path)
    with TestClient(made, base_url="http://127.0.0.1") as browser:
        text = " ".join(browser.get("/models/churn").text.split())
        assert "75% of the requests to version 1, 25% of the requests to version 2" in text


def test_a_version_links_to_its_model(client: httpx.Client, store: Any) -> None:
    start = store.all_results[28].window.start
    for path in ("/models/flights/1", f"/models/flights/1/windows/{start}"):
        assert 'href="/models/flights">flights</a>' in client.get(path).text


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    reply = client.get("/models/nothing")
    assert reply.status_code == 404
    assert "model &#39;nothing&#39; is neither registered here nor monitored" in reply.text
