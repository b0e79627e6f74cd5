"""Figures and estimates agree with those that NannyML publishes for its synthetic data.

Its wheel carries the data; it is unpacked beside the caches and never imported.
"""

from pathlib import Path

import pandas as pd
import pytest

from monitoring.scoring.performance.estimator import PerformanceEstimator
from monitoring.scoring.performance.metrics import classification, labelled_rows
from monitoring.scoring.reference import Baseline
from registry.manifest import Feature, Manifest, Prediction, Version
from tests.once import installed_once

LOCK = Path(__file__).parents[3] / "requirements" / "golden.lock"

# By chunk of 5,000 rows of the analysis period.
REALISED_AUC = [
    0.970962, 0.970248, 0.976282, 0.967721, 0.969886,
    0.960050, 0.958530, 0.959041, 0.963094, 0.957556,
]  # fmt: skip
REALISED_F1 = [
    0.943344, 0.940178, 0.948201, 0.942142, 0.940488,
    0.913685, 0.914954, 0.913395, 0.920589, 0.913498,
]  # fmt: skip
ESTIMATED_AUC = [
    0.970744, 0.971011, 0.971407, 0.971091, 0.971123,
    0.961090, 0.961825, 0.961073, 0.962533, 0.961316,
]  # fmt: skip
ESTIMATED_ACCURACY = [
    0.941792, 0.943321, 0.945492, 0.944816, 0.944645,
    0.910714, 0.911149, 0.911193, 0.914389, 0.911731,
]  # fmt: skip
ESTIMATED_F1 = [
    0.943030, 0.941324, 0.943574, 0.943159, 0.944204,
    0.911753, 0.911766, 0.911661, 0.913763, 0.914751,
]  # fmt: skip
# Three classes, by chunk of 6,000 rows.
MULTICLASS_AUC = [
    0.906962, 0.909877, 0.909887, 0.909033, 0.907116,
    0.819359, 0.820096, 0.818966, 0.819245, 0.821429,
]  # fmt: skip
MULTICLASS_F1 = [
    0.753301, 0.756422, 0.758166, 0.756557, 0.753618,
    0.630985, 0.631482, 0.630552, 0.631736, 0.633443,
]  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder with NannyML's CSV files."""
    return installed_once(LOCK) / "nannyml" / "datasets" / "data"


def _baseline(folder: Path, reference: pd.DataFrame, classes: list[str]) -> Baseline:
    reference.to_parquet(folder / "reference.parquet")
    manifest = Manifest(
        task="classification",
        features=[Feature("none", "numeric")],
        prediction=Prediction(
            label="prediction",
            probabilities="probabilities",
            classes=list(classes),
            positive="1" if len(classes) == 2 else None,
        ),
        target="label",
        held_out=True,
    )
    fields = {"model": "golden", "number": "1", "digest": "", "created": 0}
    return Baseline(Version(**fields, manifest=manifest, path=str(folder)))


def _loans(data: Path, name: str) -> pd.DataFrame:
    rows = pd.read_csv(data / f"synthetic_car_loan_{name}.csv")
    return pd.DataFrame(
        {
            "prediction": rows["y_pred"].astype(str),
            "probability_1": rows["y_pred_proba"],
            "probability_0": 1 - rows["y_pred_proba"],
        }
    )


@pytest.fixture(scope="module")
def loans(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Baseline, pd.DataFrame]:
    reference = _loans(data, "reference")
    truth = pd.read_csv(data / "synthetic_car_loan_reference.csv")["repaid"]
    analysis = _loans(data, "analysis")
    target = pd.read_csv(data / "synthetic_car_loan_analysis_target.csv")["repaid"]
    folder = tmp_path_factory.mktemp("loans")
    labelled = reference.assign(label=truth.astype(int).astype(str))
    return _baseline(folder, labelled, ["0", "1"]), analysis.assign(label=target)


@pytest.mark.parametrize("chunk", range(10))
def test_two_classes_match_published_figures_to_six_digits(
    loans: tuple[Baseline, pd.DataFrame], chunk: int
) -> None:
    baseline, analysis = loans
    rows = analysis[chunk * 5000 : (chunk + 1) * 5000]
    real = classification(labelled_rows(baseline, rows, "label"))
    assert real["roc_auc"] == pytest.approx(REALISED_AUC[chunk], abs=5.1e-7)
    assert real["f1"] == pytest.approx(REALISED_F1[chunk], abs=5.1e-7)
    estimated = PerformanceEstimator(baseline).figures(rows)
    assert estimated["roc_auc"] == pytest.approx(ESTIMATED_AUC[chunk], abs=2e-6)
    assert estimated["accuracy"] == pytest.approx(ESTIMATED_ACCURACY[chunk], abs=2e-6)
    assert estimated["f1"] == pytest.approx(ESTIMATED_F1[chunk], abs=2e-6)


def test_three_classes_match_published_figures_to_four_digits(data: Path, tmp_path: Path) -> None:
    names = ["highstreet_card", "prepaid_card", "upmarket_card"]

    def read(name: str) -> pd.DataFrame:
        rows = pd.read_csv(data / f"mc_{name}.csv")
        scores = {f"probability_{one}": rows[f"y_pred_proba_{one}"] for one in names}
        truth = rows.get("y_true")
        return pd.DataFrame({"prediction": rows["y_pred"], **scores, "label": truth})

    estimator = PerformanceEstimator(_baseline(tmp_path, read("reference"), names))
    analysis = read("analysis")
    for chunk in range(10):
        estimated = estimator.figures(analysis[chunk * 6000 : (chunk + 1) * 6000])
        assert estimated["roc_auc"] == pytest.approx(MULTICLASS_AUC[chunk], abs=1e-4)
        assert estimated["f1"] == pytest.approx(MULTICLASS_F1[chunk], abs=1e-4)
