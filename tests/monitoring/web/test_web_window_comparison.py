"""Two windows of a version are compared: scores, drift and rows."""

import re
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from starlette.testclient import TestClient

from eventlog.settings import Home
from monitoring.results import Result, Score
from monitoring.web.app import app
from monitoring.web.window_comparison import score_pairs
from registry.store import Registry
from tests.monitoring.web.conftest import FakeStore, week
from tests.monitoring.web.test_web_pages import HOSTILE, text_of
from tests.tiny_model import register_tiny

PAGE = "/models/tiny/1/compare"


def _result(index: int, *scores: Score) -> Result:
    return Result(
        model="tiny", version="1", window=week(index), rows=3, sampled=3, scores=[*scores]
    )


def _accuracy(value: float, margin: float) -> Score:
    return Score(name="accuracy", value=value, low=value - margin, high=value + margin)


def _client(folder: Path, store: FakeStore, catalogue: Any = None) -> TestClient:
    made = app(lambda: store, folder, catalogue=catalogue)
    return TestClient(made, base_url="http://127.0.0.1")


def _rows(prices: list[float]) -> pd.DataFrame:
    n = len(prices)
    return pd.DataFrame(
        {"price": prices, "colour": ["red"] * n, "prediction": [1] * n,
         "probability_1": [0.5] * n, "label": [None] * n}
    )  # fmt: skip


def test_distributions_of_both_windows_are_overlaid(tmp_path: Path) -> None:
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files")
    drift = [Score(name="drift", column="price", value=0.2, threshold=0.1, breached=True)]
    store = FakeStore(all_results=[_result(0, *drift), _result(1, *drift)])
    store.frames = {
        week(0).start: _rows([1.0, 1.0, 2.0, 2.0]),
        week(1).start: _rows([2.0, 2.0, 2.0, 9.0]),
    }
    with _client(tmp_path, store, registry) as browser:
        page = browser.get(f"{PAGE}?window={week(1).start}&against={week(0).start}").text
        swapped = browser.get(f"{PAGE}?window={week(0).start}&against={week(1).start}").text
        store.frames[week(0).start] = pd.DataFrame()
        gone = browser.get(PAGE).text
    shown = re.search(r'aria-label="price: ([^"]*)"', page)
    assert shown
    assert shown[1] == "1: 0% of the rows, 50% in 7–13 Jan 2013"
    assert "2: 50% of the rows, 75% in 14–20 Jan 2013" in swapped
    assert "None: no sampled rows are left in 7–13 Jan 2013." in gone


def test_scores_stand_side_by_side_and_intervals_are_compared(tmp_path: Path) -> None:
    store = FakeStore(
        all_results=[
            _result(0, _accuracy(0.9, 0.01)),
            _result(1, _accuracy(0.85, 0.01)),
            _result(2, _accuracy(0.86, 0.03)),
        ]
    )
    first, second, third = store.all_results
    [pair] = score_pairs(first, second)
    assert (pair.intervals_apart, pair.difference) == (True, pytest.approx(-0.05))
    assert not score_pairs(second, third)[0].intervals_apart
    assert not score_pairs(first, _result(3))[0].intervals_apart
    shares = [Score(name="drifted_share", value=value) for value in (0.25, 0.246)]
    assert score_pairs(_result(0, shares[0]), _result(1, shares[1]))[0].change == "-0.4 points"
    with _client(tmp_path, store) as browser:
        text = text_of(browser.get(f"{PAGE}?window={week(1).start}&against={week(0).start}"))
    assert "0.9000.890 to 0.910" in text
    assert "-0.050" in text
    assert "intervals do not overlap" in text


def test_both_windows_are_chosen_without_a_script(client: httpx.Client) -> None:
    window = client.get(f"/models/flights/1/windows/{week(28).start}").text
    address = f"/models/flights/1/compare?window={week(28).start}&amp;against={week(27).start}"
    assert f'href="{address}"' in window
    page = client.get(address.replace("&amp;", "&")).text
    assert re.findall(r'<option value="(\d+)" selected>', page) == [
        str(week(28).start),
        str(week(27).start),
    ]
    assert 'action="/models/flights/1/compare"' in page
    assert "the version is not registered here" in page
    latest = client.get("/models/flights/1/compare").text
    assert re.findall(r'<option value="(\d+)" selected>', latest) == [
        str(week(39).start),
        str(week(38).start),
    ]


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    scores = [Score(name="drift", column=HOSTILE, value=0.2, threshold=0.1)]
    store = FakeStore(all_results=[_result(0, *scores), _result(1, *scores)])
    with _client(tmp_path, store) as browser:
        page = browser.get(PAGE).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        (f"{PAGE}?window=5", 404, "window is 5: tiny version 1 has no closed window"),
        (f"{PAGE}?against=x", 400, "against is &#39;x&#39;; expected a whole number"),
        (PAGE, 404, "tiny version 1 has only one closed window; a comparison needs two"),
        ("/models/other/1/compare", 404, "other version 1 has no closed window"),
    ],
)
def test_columns_that_cannot_be_compared_are_stated(
    tmp_path: Path, path: str, status: int, reason: str
) -> None:
    with _client(tmp_path, FakeStore(all_results=[_result(0)])) as browser:
        reply = browser.get(path)
    assert reply.status_code == status
    assert reason in reply.text
