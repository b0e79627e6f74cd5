"""Train on January to early March; hold out the last three weeks of March as the reference.

Writes build/model.onnx and build/reference.parquet, and prints the model's ROC AUC by month. The
model has an input [N, 1] for each feature, and the outputs `label` [N] and `probabilities` [N, 2].
"""

from datetime import datetime
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from data import CATEGORICAL, FEATURES, NEW_YORK, NUMERIC, TARGET, load
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

BUILD = Path(__file__).parent / "build"
REFERENCE_STARTS = datetime(2013, 3, 11, tzinfo=NEW_YORK)
TRAFFIC_STARTS = datetime(2013, 4, 1, tzinfo=NEW_YORK)


def main() -> None:
    """Train, export, check the exported model, write both files and print the table."""
    flights = arrived(load())
    training = flights[flights["event_time"] < microseconds(REFERENCE_STARTS)]
    reference = flights[
        flights["event_time"].between(
            microseconds(REFERENCE_STARTS), microseconds(TRAFFIC_STARTS), inclusive="left"
        )
    ]
    model = fit(training)
    onnx = export(model)
    scores = check(model, onnx, flights)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "model.onnx").write_bytes(onnx)
    reference[[*FEATURES, TARGET]].to_parquet(BUILD / "reference.parquet", index=False)
    report(flights, scores, {"training": training.index, "reference": reference.index})


def arrived(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled flights in time order, with the model's column types."""
    arrived = flights[flights[TARGET].notna()].sort_values("event_time", kind="stable")
    return arrived.astype(dict.fromkeys(NUMERIC, "float32")).astype({TARGET: "int64"})


def fit(training: pd.DataFrame, weights: "pd.Series[float] | None" = None) -> Pipeline:
    """Fit boosted trees, and calibrate them on blocks of time that were held out from fitting."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, min_samples_leaf=50, l2_regularization=1.0, random_state=0
    )
    model = Pipeline(
        [
            (
                "encode",
                ColumnTransformer(
                    [("numeric", "passthrough", NUMERIC), ("categorical", encode, CATEGORICAL)]
                ),
            ),
            ("classify", CalibratedClassifierCV(trees, cv=KFold(4), ensemble=False)),
        ]
    )
    # One thread, because OpenMP's threads busy-wait for each other: on loaded cores, several
    # threads take ten times as long.
    with threadpool_limits(1, "openmp"):
        return model.fit(model_inputs(training), training[TARGET], classify__sample_weight=weights)


def export(model: Pipeline) -> bytes:
    """Return preprocessing, trees and calibration as one ONNX model."""
    inputs = [(name, FloatTensorType([None, 1])) for name in NUMERIC]
    inputs += [(name, StringTensorType([None, 1])) for name in CATEGORICAL]
    options = {id(model["classify"]): {"zipmap": False}}
    onnx = to_onnx(model, initial_types=inputs, options=options, target_opset=18)
    content: bytes = onnx.SerializeToString()
    return content


def check(model: Pipeline, onnx: bytes, flights: pd.DataFrame) -> pd.Series:
    """Return the exported model's scores; raises AssertionError if scikit-learn's differ."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    frame = model_inputs(flights)
    (probabilities,) = session.run(["probabilities"], {n: frame[[n]].to_numpy() for n in FEATURES})
    np.testing.assert_allclose(probabilities, model.predict_proba(frame), atol=1e-5)
    return pd.Series(probabilities[:, 1], index=flights.index)


def report(flights: pd.DataFrame, scores: pd.Series, slices: dict[str, pd.Index]) -> None:
    """Print the number of flights, the share of late flights and ROC AUC by slice and by month."""
    months = {f"2013-{month:02}": group.index for month, group in flights.groupby("month")}
    print(f"{'':10}{'flights':>9}{'late':>7}{'ROC AUC':>9}")
    for name, rows in {**slices, **months}.items():
        late = flights.loc[rows, TARGET]
        auc = roc_auc_score(late, scores[rows])
        print(f"{name:10}{len(rows):9,}{late.mean():7.2f}{auc:9.3f}")


def model_inputs(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the model's input columns; a missing category becomes the empty string."""
    filled = flights[CATEGORICAL].fillna("").astype(object)
    return flights[FEATURES].assign(**{name: filled[name] for name in CATEGORICAL})


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


if __name__ == "__main__":
    main()
