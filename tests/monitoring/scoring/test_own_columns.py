"""Features can have the names of the monitor's own columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from onnx import TensorProto, helper

from eventlog.events import PredictionEvent, Tensor
from eventlog.settings import Home
from monitoring.results import Score, Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.row_layout import RowLayout, columns
from monitoring.storage.rows import by_column, encode
from registry.manifest import Version
from registry.own_columns import OwnColumns
from registry.store import Registry
from tests.tiny_model import as_model

pytestmark = pytest.mark.untraced

COLLIDING = [
    *("prediction", "@prediction", "@@probability", "probability", "probability_0"),
    *("probability_1", "@probability_1", "label", "@label", "payload_withheld", "score", "drift"),
    *("joint_drift", "self", "index", "target", "event_time", "id"),
]
PLAIN = [f"x{place:02}" for place in range(len(COLLIDING))]
_ROWS = 600


def _model() -> bytes:
    """P(1) = sigmoid of the weighted sum of all features."""
    weights = [1.0 / (1 + place) for place in range(len(PLAIN))]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["margin"]),
            helper.make_node("Sigmoid", ["margin"], ["yes"]),
            helper.make_node("Sub", ["one", "yes"], ["no"]),
            helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(PLAIN)])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [len(PLAIN), 1], weights),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    return as_model(graph).SerializeToString()


def _register(root: Path, name: str, features: list[str], target: str) -> Version:
    """Register the model with these names of its features and its target."""
    folder = root / name
    folder.mkdir()
    (folder / "model.onnx").write_bytes(_model())
    placed = enumerate(features)
    stated: dict[str, Any] = {
        "task": "classification",
        "held_out": True,
        "target": target,
        "features": [{"name": n, "kind": "numeric", "input": "x", "index": i} for i, n in placed],
        "prediction": {
            "label": "label",
            "probabilities": "probabilities",
            "classes": [0, 1],
            "positive": 1,
        },
        "monitoring": {
            "segments": [{"column": features[7], "edges": [0.0]}],
            "alarms": {"min_score": 0.6},
        },
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(stated))
    chance = np.random.default_rng(3)
    values = chance.normal(size=(1_000, len(features))).astype(np.float32)
    reference = pd.DataFrame(values, columns=features)
    noise = chance.normal(size=len(values))
    reference[target] = (values[:, 0] + noise > 0).astype("int64")
    reference.to_parquet(folder / "reference.parquet")
    return Registry(Home(root / "home")).register(
        folder / "model.onnx",
        model=name,
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )


def _columns(version: Version) -> dict[str, list[Any]]:
    """Return the rows of a window as they are logged, stored and read again; x00 and x07 drift."""
    chance = np.random.default_rng(4)
    values = chance.normal(size=(_ROWS, len(PLAIN))).astype(np.float32)
    values[:, [0, 7]] += 1
    p = 1 / (1 + np.exp(-values @ (1 / np.arange(1, 1 + len(PLAIN)))))
    both = np.column_stack([1 - p, p]).ravel().tolist()
    event = PredictionEvent(
        source="a",
        epoch=1,
        sequence=0,
        time=0,
        received=0,
        prediction_id="p",
        model=version.model,
        protocol="rest",
        outcome="ok",
        rows=_ROWS,
        inputs={"x": Tensor("FP32", list(values.shape), values.ravel().tolist())},
        outputs={
            "label": Tensor("INT64", [_ROWS], (p > 0.5).astype(int).tolist()),
            "probabilities": Tensor("FP32", [_ROWS, 2], both),
        },
    )
    bodies = [encode(row) for row in RowLayout(version.manifest).rows(event)]
    labels = [encode(int(one)) for one in chance.random(_ROWS) < p]
    return by_column(columns(version.manifest), bodies, labels)


def _score(scorer: WindowScorer, version: Version, rows: dict[str, list[Any]]) -> list[Score]:
    window, number = Window(0, 1), version.number
    report = f"{version.model}.html"
    reply = scorer.score(
        ScoreJob(
            key="k",
            model=version.model,
            version=number,
            window=window,
            columns=rows,
            drift=True,
            report=report,
        )
    )
    assert not reply.error
    assert reply.report == report
    return reply.scores


def _numbers(scores: list[Score], names: dict[str, str]) -> dict[tuple[str, str, str], Any]:
    """Return everything but the words, by what it is a number of; names of features replaced."""
    found = {}
    for one in scores:
        feature, equals, part = one.segment.partition("=")
        segment = names.get(feature, feature) + equals + part
        about = one.name, names.get(one.column, one.column), segment
        assert about not in found, "each number is of one column"
        found[about] = one.value, one.threshold, one.breached, one.method, one.low, one.high
    return found


@pytest.fixture(scope="module")
def scorer(root: Path) -> WindowScorer:
    """Calibrates each version once."""
    return WindowScorer(ScorerCache(Registry(Home(root / "home"))), root / "reports")


@pytest.fixture(scope="module")
def colliding(root: Path) -> Version:
    return _register(root, "colliding", COLLIDING, "@score")


def test_features_named_like_internal_columns_are_scored_normally(
    root: Path, scorer: WindowScorer, colliding: Version
) -> None:
    plain = _register(root, "plain", PLAIN, "bought")
    expected = _score(scorer, plain, _columns(plain))
    found = _score(scorer, colliding, _columns(colliding))
    own = {"@@prediction": "prediction", "@probability": "probability"}
    names = dict(zip(COLLIDING, PLAIN, strict=True)) | own
    assert {s.name for s in expected} >= {"drift", "joint_drift", "roc_auc", "parity", "effect"}
    assert {s.column for s in expected if s.breached and s.name == "drift"} >= {"x00", "x07"}
    assert _numbers(found, names) == _numbers(expected, {})


def test_names_of_ordinary_features_do_not_change(root: Path) -> None:
    own = OwnColumns(_register(root, "ordinary", PLAIN, "label").manifest)
    names = own.prediction, own.score, own.label, own.withheld, own.probability(1)
    assert names == ("prediction", "probability", "label", "payload_withheld", "probability_1")


def test_a_job_of_an_earlier_release_is_scored_without_the_feature_that_it_lost(
    scorer: WindowScorer, colliding: Version
) -> None:
    earlier = _columns(colliding)
    own = OwnColumns(colliding.manifest)
    earlier["label"] = earlier.pop(own.label)
    by_about = {score.about: score for score in _score(scorer, colliding, earlier)}
    assert by_about["drift", "label", ""].note == "all values are missing"
    assert by_about["roc_auc", "", ""].value is not None
