"""A perfect reference does not prove an error rate of zero."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.alarms.evidence import Evidence, weigh
from monitoring.results import Score, Window
from monitoring.scoring.performance.metrics import LabelledRows
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.performance.uncertainty_floor import smallest_spread
from monitoring.scoring.reference import Baseline
from registry.manifest import AlarmPolicy, Feature, Manifest, Monitoring, Prediction, Version

ALLOWED = 1 / 400


def _perfect(rows: int, wrong: int = 0, *, spread: float = 0.01) -> pd.DataFrame:
    """A model that is right and sure, but for some labels."""
    x = np.linspace(-1, 1, rows)
    predicted = (x > 0).astype(int)
    sure = np.where(predicted == 1, 1 - spread, spread)
    label = predicted.copy()
    label[:: max(rows // wrong, 1) if wrong else rows + 1] ^= 1 if wrong else 0
    return pd.DataFrame(
        {
            "x": x,
            "prediction": predicted,
            "probability_1": sure,
            "probability_0": 1 - sure,
            "label": label,
        }
    )


@pytest.fixture(scope="module", params=["accuracy", "roc_auc", "log_loss"])
def scorer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PerformanceScorer:
    manifest = Manifest(
        task="classification",
        features=[Feature("x", "numeric")],
        prediction=Prediction("prediction", "probabilities", [0, 1], 1),
        target="label",
        held_out=True,
        monitoring=Monitoring(alarms=AlarmPolicy(score=request.param)),
    )
    folder: Path = tmp_path_factory.mktemp("perfect")
    _perfect(1000).to_parquet(folder / "reference.parquet")
    fields = {"model": "m", "number": "1", "digest": "", "created": 0}
    return PerformanceScorer(Baseline(Version(**fields, manifest=manifest, path=str(folder))))


def _evidence(scorer: PerformanceScorer, wrong: list[int]) -> Score:
    """The evidence after windows of 1,000 rows with so many wrong labels."""
    evidence, reported = Evidence(), list[Score]()
    for number, count in enumerate(wrong):
        scores = scorer.score(_perfect(1000, count), bands=False)
        weighed = weigh(scores, Window(number, number + 1), evidence, ALLOWED)
        evidence = weighed.evidence
        reported = weighed.newest or reported
    return reported[-1]


@pytest.mark.parametrize("wrong", [[1], [1, 1, 1], [0, 1, 0, 1], [100]])
def test_a_few_wrong_labels_among_thousands_are_no_evidence(
    scorer: PerformanceScorer, wrong: list[int]
) -> None:
    assert not _evidence(scorer, wrong).breached


def test_many_wrong_labels_in_every_window_are_evidence(scorer: PerformanceScorer) -> None:
    assert _evidence(scorer, [100, 100, 100]).breached


def _rows(actual: list[float], predicted: list[float]) -> LabelledRows:
    return LabelledRows(np.array(actual), np.array(predicted))


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "f1", "log_loss", "brier", "mae", "rmse"])
def test_the_floor_is_positive_and_falls_with_the_rows(name: str) -> None:
    many = _rows([0.0, 1.0] * 500, [0.0, 1.0] * 500)
    few = _rows([0.0, 1.0] * 20, [0.0, 1.0] * 20)
    assert 0 < smallest_spread(name, many, many) < smallest_spread(name, few, many)


@pytest.mark.parametrize("name", ["mae", "rmse", "bias"])
def test_the_floor_has_the_unit_of_the_target(name: str) -> None:
    one = _rows([0.0, 1.0, 2.0, 3.0], [0.1, 1.0, 2.0, 3.0])
    scaled = _rows([0.0, 1e6, 2e6, 3e6], [1e5, 1e6, 2e6, 3e6])
    assert smallest_spread(name, scaled, scaled) == pytest.approx(
        1e6 * smallest_spread(name, one, one)
    )
