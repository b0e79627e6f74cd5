"""Prediction parity and drift effects on the page and in the metrics."""

import re
from typing import Any

import httpx
import msgspec

from monitoring.results import Score
from monitoring.web.window_view import columns
from tests.monitoring.web.test_web_api import samples
from tests.monitoring.web.test_web_pages import text_of


def _with_effects(store: Any) -> Any:
    place = max(n for n, r in enumerate(store.all_results) if r.model == "flights")
    known = store.all_results[place]
    drifts = [
        Score(name="drift", column="far", value=0.9, threshold=0.1, breached=True),
        Score(name="drift", column="near", value=0.2, threshold=0.1, breached=True),
        Score(name="effect", column="far", value=0.01, note="10 of 1,000 answers are others"),
        Score(name="effect", column="near", value=0.3, note="300 of 1,000 answers are others"),
        Score(name="effect", value=0.31),
        Score(name="effect_shift", column="near", value=-0.04),
        Score(name="parity", value=0.2, threshold=0.01, breached=True, note="200 of 1,000 answers"),
    ]
    reported = msgspec.structs.replace(known, scores=[*known.scores, *drifts])
    store.all_results[place] = reported
    return reported


def test_drift_is_sorted_by_effect_on_predictions(store: Any) -> None:
    reported = _with_effects(store)
    assert [column.name for column in columns(reported)][:2] == ["near", "far"]


def test_a_window_shows_effects_and_parity(client: httpx.Client, store: Any) -> None:
    start = _with_effects(store).window.start
    text = re.sub(r"\s+", " ", text_of(client.get(f"/models/flights/1/windows/{start}")))
    assert "Effect on predictions" in text
    assert "80%" in text
    assert "200 of 1,000 answers" in text


def test_metrics_show_effects_and_parity(client: httpx.Client, store: Any) -> None:
    _with_effects(store)
    found = samples(client)
    assert found["driftline_window_parity", "1", "flights"] == 0.2
    assert found["driftline_window_effect", "1", "flights", "near"] == 0.3
    assert found["driftline_window_effect", "", "1", "flights"] == 0.31
    assert found["driftline_window_effect_shift", "1", "flights", "near"] == -0.04
