"""Drift measured against recent windows instead of the registered reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from monitoring.results import Score, Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.reference import Baseline
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from registry.manifest import Trailing, Version

Draw = Callable[..., pd.DataFrame]


class _Catalogue:
    def __init__(self, version: Version) -> None:
        self._version = version

    def version(self, model: str, number: str) -> Version:
        return self._version


@pytest.fixture(scope="module")
def scoring(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> WindowScorer:
    manifest = baseline.manifest
    watched = replace(manifest.monitoring, trailing=Trailing(windows=3))
    version = replace(baseline.version, manifest=replace(manifest, monitoring=watched))
    return WindowScorer(ScorerCache(_Catalogue(version)), tmp_path_factory.mktemp("reports"))


def _dearer(rows: pd.DataFrame, by: float) -> pd.DataFrame:
    return rows.assign(price=[None if price is None else price + by for price in rows["price"]])


def _columns(rows: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): list(values) for name, values in rows.items()}


def _score(
    scoring: WindowScorer, rows: pd.DataFrame, before: pd.DataFrame | None
) -> dict[str, Score]:
    job = ScoreJob(
        key="0",
        model="tiny",
        version="1",
        window=Window(0, 1),
        columns=_columns(rows),
        drift=True,
        reference={} if before is None else _columns(before),
    )
    reply = scoring.score(job)
    assert not reply.error
    return {
        score.name: score
        for score in reply.scores
        if not score.segment and score.column in {"", "price"}
    }


def test_a_lasting_change_is_no_drift_from_recent_windows(
    scoring: WindowScorer, window: Draw
) -> None:
    dear = _dearer(window(), 1.0)
    against_all = _score(scoring, dear, None)
    assert against_all["drift"].breached
    assert against_all["reference_rows"].note.startswith(
        "of the registered reference: fewer than 3"
    )
    against_last = _score(scoring, dear.iloc[:500], _dearer(window(2000), 1.0))
    assert not against_last["drift"].breached
    assert not against_last["drifted_share"].breached
    assert not against_last["strongest_drift"].breached
    assert (against_last["reference_rows"].value, against_last["reference_rows"].note) == (
        2000,
        "of the 3 previous windows",
    )


def test_a_return_to_the_reference_is_drift_from_recent_windows(
    scoring: WindowScorer, window: Draw
) -> None:
    back = _score(scoring, window(), _dearer(window(2000), 1.0))
    assert back["drift"].breached
    shift = back["effect_shift"].value
    assert shift is not None
    assert shift < -0.05, "with the prices of the windows before, more would be bought"
    assert not back["parity"].breached


def test_quality_is_still_measured_against_the_registered_reference(
    scoring: WindowScorer, window: Draw
) -> None:
    far = _dearer(window(), 50.0)
    score = _score(scoring, far, _dearer(window(2000), 50.0))
    assert not score["drift"].breached
    assert score["out_of_range_share"].value == 1


def test_reports_and_baselines_do_not_need_the_file(baseline: Baseline, tmp_path: Path) -> None:
    gone = replace(baseline.version, path=str(tmp_path))
    assert len(Baseline(gone, baseline.frame).frame) == 3000
