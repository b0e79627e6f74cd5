"""The pages of a version without a reference and without labels."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from monitoring.baselines.files import BaselineFiles
from monitoring.results import Result, Score, Window
from monitoring.scoring.window_scorer import frame
from monitoring.web.app import app
from registry.catalogue import Catalogue, NamedVersions
from registry.manifest import Version
from registry.policies import DatedPolicy
from tests.monitoring.image_model import MANIFEST, image_version
from tests.monitoring.web.conftest import FIRST, WEEK, FakeStore

_COLUMNS = {
    "image brightness": [n / 100 for n in range(60)],
    "image contrast": [1.0, 2.0] * 30,
    "embedding norm": [None, 1.0, 2.0] * 20,
}


class _Catalogue:
    def __init__(self, version: Version) -> None:
        self._version = version

    def models(self) -> list[str]:
        return ["tiny"]

    def versions(self, _model: str) -> list[Version]:
        return [self._version]

    def policies(self, version: Version) -> list[DatedPolicy]:
        return [DatedPolicy(version.manifest.monitoring, 0)]

    def named_versions(self, _model: str) -> NamedVersions:
        return NamedVersions({"champion": "1"}, [])


def _result(place: int, verdict: str, scores: list[Score]) -> Result:
    return Result(
        model="tiny",
        version="1",
        window=Window(FIRST + place * WEEK, FIRST + (place + 1) * WEEK),
        events={"ok": 60},
        rows=60,
        sampled=60,
        pending=60,
        verdict=verdict,  # type: ignore[arg-type] # one of them
        scores=scores,
    )


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    files = BaselineFiles(tmp_path / "baselines")
    digest = files.write(MANIFEST, _COLUMNS)
    learning = [
        Score(name="learned_rows", value=60.0, threshold=300.0, note="window 1 of 3"),
        Score(name="mean", column="image brightness", value=0.295),
        Score(name="p50", column="image brightness", value=0.25),
        Score(name="missing_share", column="image brightness", value=0.0),
    ]
    judged = [
        Score(name="reference_rows", value=60.0, method=digest, note="of the baseline learned"),
        Score(name="drifted_share", value=0.0, threshold=0.3),
        Score(name="drift", column="image brightness", value=0.01, threshold=0.1, method="w"),
    ]
    findings = FakeStore(
        all_results=[_result(0, "learning", learning), _result(1, "ok", judged)],
        frame=frame({**_COLUMNS, "label": [None] * 60}),
    )
    catalogue: Catalogue = _Catalogue(image_version(tmp_path))
    made = app(lambda: findings, tmp_path / "reports", catalogue=catalogue, baselines=files)
    return TestClient(made, base_url="http://127.0.0.1:3100")


def test_a_learning_window_describes_its_columns(client: TestClient) -> None:
    with client:
        text = client.get(f"/models/tiny/1/windows/{FIRST}").text
    assert "Learning the baseline: 60 of at least 300 rows, window 1 of 3." in text
    assert "no drift is scored before the baseline is complete" in text
    assert "0.295" in text
    assert "Median" in text
    assert "Label coverage" not in text
    assert "Not computed" not in text


def test_a_judged_window_is_shown_beside_the_learned_baseline(client: TestClient) -> None:
    with client:
        text = client.get(f"/models/tiny/1/windows/{FIRST + WEEK}").text
    assert "rows of the baseline learned" in text
    assert "Distributions" in text
    assert "</i>baseline</li>" in text
    assert "Labels pending" not in text


def test_a_version_without_labels_shows_no_label_sections(client: TestClient) -> None:
    with client:
        overview, model = client.get("/").text, client.get("/models/tiny/1").text
    assert "no labels expected" in overview
    for words in ("No labels yet", "Label coverage", "pending</li>", "too few labels"):
        assert words not in model
    assert "learning" in model
