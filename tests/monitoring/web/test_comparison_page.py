"""The page of a comparison of two versions, and access to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from monitoring.comparisons import (
    AnswerPair,
    CalibrationBin,
    Estimated,
    GroupRow,
    ScoreRow,
    StoredComparisons,
    VersionComparison,
    VersionTraffic,
)
from monitoring.presenter.comparison_text import verdict_sentence
from monitoring.web.app import app
from monitoring.web.server import serving

HOSTILE = "<script>alert(1)</script>"


def score(name: str, low: float, high: float, *, lower: bool = False) -> ScoreRow:
    middle = (low + high) / 2
    return ScoreRow(
        name, Estimated(0.5, 0.4, 0.6), Estimated(0.5 + middle, 0.4, 0.7),
        Estimated(middle, low, high), lower_is_better=lower,
    )  # fmt: skip


def comparison(**changes: Any) -> VersionComparison:
    fields: dict[str, Any] = {
        "model": "flights", "first": "1", "second": "2", "origin": "shadow", "created": 10**15,
        "period": "2013-01-07 to 2013-01-20", "rows": [900, 900], "labelled": [800, 800],
        "agreement": Estimated(0.9, 0.88, 0.92),
        "scores": [
            score("accuracy", 0.1, 0.2), score("log_loss", -0.2, -0.1, lower=True),
            score("roc_auc", -0.1, 0.1),
        ],
        "cost": score("cost of a row", 1.0, 2.0, lower=True),
        "groups": [
            GroupRow("carrier", HOSTILE, 90, 80, 0.8, score("accuracy", -0.4, -0.1)),
            GroupRow("carrier", "AA", 9, 3, 0.5),
        ],
        "calibration": {n: [CalibrationBin(0.1, 0.2, 40), CalibrationBin(0.8, 0.7, 40)]
                        for n in "12"},
        "answers": [AnswerPair("late", HOSTILE, 7)],
        "traffic": [
            VersionTraffic("1", 900, 1, {"p50": 1.0, "p95": 2.0, "p99": 9.0}),
            VersionTraffic("2", shadow_requests=900, shadow_run_ms={"p50": 0.5}),
        ],
        "notes": [f"canary: {HOSTILE}"],
    }  # fmt: skip
    return VersionComparison(**(fields | changes))


@pytest.fixture
def stored(tmp_path: Path) -> StoredComparisons:
    return StoredComparisons(tmp_path / "comparisons")


@pytest.fixture
def client(store: Any, reports: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    application = app(lambda: store, reports, comparisons=tmp_path / "comparisons")
    with (
        serving(application, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as opened,
    ):
        yield opened


def test_the_page_shows_a_comparison_with_its_plots(
    client: httpx.Client, stored: StoredComparisons
) -> None:
    stored.add(comparison())
    stored.add(comparison(first="2", second="3"))
    answer = client.get("/models/flights/compare/1/2")
    assert answer.status_code == 200
    page = answer.text
    assert "Version 2 is better on accuracy, log loss." in page
    assert HOSTILE not in page
    assert page.count('<svg viewBox="0 0 1096') == 2  # scores and segments
    for word in ("Calibration", "Time of a request", "too few labels", "900 as a shadow"):
        assert word in page
    assert 'href="/models/flights/compare/2/3"' in page
    assert 'href="/models/flights/compare/1/2"' in client.get("/models/flights/1").text
    assert client.get("/api/models/flights/compare/1/2").json()["agreement"]["value"] == 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": [], "cost": None, "groups": [], "calibration": {}, "labelled": [0, 0]},
        {"agreement": None, "answers": [], "origin": "canary", "rows": [5, 900]},
        {"traffic": [VersionTraffic("1"), VersionTraffic("2")], "groups": []},
        {"scores": [ScoreRow("r2", Estimated(1.0), Estimated(1.0), Estimated(0.0))], "cost": None},
        {"scores": [score("mape", -1e300, 1e300)], "cost": None},
    ],
)
def test_a_page_without_some_figures_is_complete(
    client: httpx.Client, stored: StoredComparisons, changes: dict[str, Any]
) -> None:
    stored.add(comparison(**changes))
    assert client.get("/models/flights/compare/1/2").status_code == 200


@pytest.mark.parametrize(
    "path", ["/models/flights/compare/1/9", "/models/..%2Fx/compare/1/2", "/models/x/compare/a/b"]
)
def test_a_missing_comparison_is_not_found(
    client: httpx.Client, stored: StoredComparisons, path: str
) -> None:
    stored.add(comparison())
    assert client.get(path).status_code == 404
    assert client.get(f"/api{path}").status_code == 404


def test_a_damaged_comparison_is_not_found(
    client: httpx.Client, stored: StoredComparisons, tmp_path: Path
) -> None:
    stored.add(comparison())
    (tmp_path / "comparisons" / "flights" / "1-2.json").write_bytes(b"{")
    assert client.get("/models/flights/compare/1/2").status_code == 404
    assert client.get("/models/flights/1").status_code == 200


def test_a_version_is_better_only_beyond_chance() -> None:
    found = comparison()
    assert [one.better for one in found.scores] == ["second", "second", ""]
    assert found.cost is not None
    assert found.cost.better == "first"
    calm = msgspec.structs.replace(found, scores=[score("accuracy", -0.1, 0.1)])
    assert verdict_sentence(calm) == "No score differs beyond chance."
