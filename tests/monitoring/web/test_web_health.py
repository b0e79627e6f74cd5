"""The health of service and labels on the page, in the metrics and in the terminal."""

import re
from typing import Any

import httpx
import msgspec

from monitoring.counters.service_health import health
from monitoring.results import Result
from tests.monitoring.web.test_web_api import samples
from tests.monitoring.web.test_web_pages import text_of

LATENCY = {80: 9, 160: 1}
DELAY = {200: 3}


def _with_health(store: Any) -> Result:
    """The newest window of flights, asked of two versions."""
    place = max(n for n, r in enumerate(store.all_results) if r.model == "flights")
    known = store.all_results[place]
    events = {"ok": 6, "failed": 2}
    reported: Result = msgspec.structs.replace(
        known, events=events, scores=[*known.scores, *health(events, LATENCY, DELAY)]
    )
    other = msgspec.structs.replace(reported, version="2", events={"ok": 24})
    store.all_results[place : place + 1] = [reported, other]
    return reported


def test_a_window_shows_errors_latency_delay_and_the_versions_shares(
    client: httpx.Client, store: Any
) -> None:
    start = _with_health(store).window.start
    text = re.sub(r"\s+", " ", text_of(client.get(f"/models/flights/1/windows/{start}")))
    assert "Errors25%failed, refused or expired" in text
    assert "median delay 2.4 min, 99% within 2.4 min" in text
    assert "25% version 1, 75% version 2" in text


def test_metrics_show_health_by_version_and_quantile(client: httpx.Client, store: Any) -> None:
    _with_health(store)
    found = samples(client)
    assert found["driftline_window_error_share", "1", "flights"] == 0.25
    assert found["driftline_window_version_share", "1", "flights"] == 0.25
    assert found["driftline_window_version_share", "2", "flights"] == 0.75
    delays = {key for key in found if key[0] == "driftline_window_label_delay_seconds"}
    assert {key[1] for key in delays} == {"0.5", "0.9", "0.99"}
    latency = [
        found["driftline_window_latency_seconds", q, "1", "flights"] for q in ("0.5", "0.99")
    ]
    assert latency == sorted(latency)
