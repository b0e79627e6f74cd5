"""Gates of regressions, of several classes from raw scores, and of models without predictions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from driftline.gates.context import GateContext, NotEnoughData
from driftline.gates.outputs import check_finite
from driftline.gates.replay import check_replay
from driftline.gates.scores import check_scores
from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home
from registry.errors import InvalidGates
from registry.gates.fit import check_fit
from registry.gates.outcomes import GateOutcome
from registry.gates.stated_gates import read_gates
from registry.manifest import Version
from registry.store import Registry
from tests.tiny_model import as_model


def linear(*slopes: float) -> bytes:
    """x [N, 1] times the slopes: y [N, slopes]."""
    weights = numpy_helper.from_array(np.array([slopes], dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, len(slopes)])
    return as_model(helper.make_graph([node], "linear", [x], [y], [weights])).SerializeToString()


def divided() -> bytes:
    """y = 1 / x: infinite at 0."""
    node = helper.make_node("Reciprocal", ["x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    return as_model(helper.make_graph([node], "divided", [x], [y])).SerializeToString()


REGRESSION = {"task": "regression", "prediction": {"label": "y"}, "target": "t"}
CLASSES = {
    "task": "classification",
    "prediction": {"scores": "y", "activation": "softmax", "classes": ["a", "b", "c"]},
    "target": "t",
}


class Models:
    """Registered models of one feature x."""

    def __init__(self, root: Path) -> None:
        self.registry = Registry(Home(root / "home"))
        random = np.random.default_rng(4)
        self.x = np.round(random.normal(size=400), 3).astype(np.float32)
        self.y = 2 * self.x + random.normal(size=400).astype(np.float32) / 4

    def add(self, name: str, model: bytes, manifest: dict[str, Any], target: Any = None) -> Version:
        feature = {"name": "x", "kind": "numeric"}
        frame = pd.DataFrame({"x": self.x})
        if target is not None:
            frame["t"] = target
        return self.registry.register(
            model, model=name, manifest={"features": [feature], **manifest},
            reference=frame.to_parquet(index=False),
        )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    root = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        yield Models(root)


def _run(check: Any, candidate: Version, champion: Version | None, **fields: Any) -> GateOutcome:
    log = fields.pop("log", Path())
    manifests = {"1": candidate.manifest}
    context = GateContext(candidate, champion, Path(), lambda _: None, log, manifests)
    outcome: GateOutcome = check(read_gates({"g": fields})["g"], context)
    return outcome


@pytest.fixture(scope="module")
def regressions(models: Models) -> tuple[Version, Version]:
    good = models.add("line", linear(2.0), REGRESSION, models.y)
    return good, models.add("line", linear(1.5), REGRESSION, models.y)


def test_lower_errors_of_a_regression_are_better(
    regressions: tuple[Version, Version],
) -> None:
    good, bad = regressions
    fields = {"kind": "metric", "metric": "rmse", "worse_by": 0.05}
    assert _run(check_scores, bad, good, **fields).outcome == "failed"
    better = _run(check_scores, good, bad, **fields)
    assert better.outcome == "passed"
    assert better.figures[0].value > 0  # type: ignore[operator]
    limited = _run(check_scores, good, None, kind="metric", metric="mae", at_most=0.3)
    assert limited.outcome == "passed"
    gate = {"kind": "cost", "costs": {"false_negative": 1}, "at_most": 1}
    with pytest.raises(InvalidGates, match="costs need classes"):
        check_fit(read_gates({"g": gate}), good.manifest)


def test_logged_numbers_agree_within_a_tolerance(
    models: Models, regressions: tuple[Version, Version], tmp_path: Path
) -> None:
    good, bad = regressions
    writer = SegmentWriter.claim(tmp_path, "here")
    for row, (x, y) in enumerate(zip(models.x[:200].tolist(), models.y.tolist(), strict=False)):
        stamp: dict[str, Any] = {"source": writer.source, "epoch": writer.epoch, "received": 5}
        inputs = {"x": Tensor("FP32", [1, 1], [x])}
        writer.append([
            PredictionEvent(
                **stamp, sequence=2 * row, time=5, prediction_id=f"p{row}", model="line",
                version="1", protocol="rest", outcome="ok", rows=1, inputs=inputs,
            ),
            FeedbackEvent(
                **stamp, sequence=2 * row + 1, time=6, prediction_id=f"p{row}", label=y
            ),
        ])  # fmt: skip
    writer.close()
    fields = {"kind": "replay", "agreement": 0.9, "metric": "mae", "worse_by": 0.05}
    same = _run(check_replay, good, good, **fields, log=tmp_path)
    assert (same.outcome, same.figures[0].value) == ("passed", 1.0)
    other = _run(check_replay, bad, good, **fields, log=tmp_path)
    assert [figure.outcome for figure in other.figures] == ["failed", "failed"]
    differences = [one["difference"] for one in other.examples]
    assert differences == sorted(differences, reverse=True)
    assert len(differences) == 20


def test_raw_scores_become_classes_with_costs(models: Models) -> None:
    truth = np.where(models.x > 0.2, "c", np.where(models.x > -0.2, "b", "a"))
    good = models.add("sort", linear(-1.0, 0.0, 1.0), CLASSES, truth)
    bad = models.add("sort", linear(-1.0, 0.0, -1.5), CLASSES, truth)
    halves = {"column": "x", "edges": [0.0]}
    fields: dict[str, Any] = {"kind": "metric", "segment": halves}
    accurate = _run(check_scores, good, None, **fields, metric="accuracy", at_least=0.6)
    assert accurate.outcome == "passed"
    # Above 0 no row is of class a: its ranking is not defined.
    undefined = _run(check_scores, good, None, **fields, metric="roc_auc", at_least=0.6)
    assert undefined.figures[1].note == "not defined for these rows"
    costs = {"c": {"a": 10, "b": 5}, "a": {"c": 1}}
    worse = _run(check_scores, bad, good, kind="cost", costs=costs, worse_by=0.1)
    assert worse.outcome == "failed"


def test_outputs_must_be_finite_on_valid_inputs_that_the_reference_lacks(models: Models) -> None:
    models.x = np.where(np.arange(400) % 2, 3, -3).astype(np.float32)  # whole numbers, none is 0
    version = models.add("divide", divided(), {"task": "other"})
    outcome = _run(check_finite, version, None, kind="finite", random_rows=200)
    assert [figure.outcome for figure in outcome.figures] == ["passed", "failed"]
    assert outcome.examples[0]["output"] == "y"
    gate = {"kind": "metric", "metric": "accuracy", "at_least": 1}
    with pytest.raises(InvalidGates, match="has no prediction to compare with labels"):
        check_fit(read_gates({"g": gate}), version.manifest)


def test_a_champion_with_other_inputs_cannot_be_compared(models: Models) -> None:
    def renamed() -> bytes:
        model = onnx.load_model_from_string(linear(2.0))
        model.graph.input[0].name = "z"
        model.graph.node[0].input[0] = "z"
        return model.SerializeToString()

    here = models.add("named", linear(2.0), REGRESSION, models.y)
    registry = models.registry
    frame = pd.DataFrame({"z": models.x, "t": models.y})
    other = registry.register(
        renamed(), model="named", reference=frame.to_parquet(index=False),
        manifest={"features": [{"name": "z", "kind": "numeric"}], **REGRESSION},
    )  # fmt: skip
    outcome = _run(check_scores, here, other, kind="metric", metric="rmse", worse_by=1)
    assert outcome.outcome == "not enough data"
    assert "version 2 needs 'z', which the rows lack" in outcome.figures[0].note
    with pytest.raises(NotEnoughData, match="no answered request"):
        _run(check_replay, here, other, kind="replay", agreement=0.9, log=Path("/nowhere"))
