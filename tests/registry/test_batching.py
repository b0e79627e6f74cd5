"""Models whose requests may share a run, and the reasons for the other models."""

import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn import (
    discriminant_analysis,
    ensemble,
    gaussian_process,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from eventlog.settings import Home
from registry import batching
from registry.batching import (
    Verdict,
    explain,
    judge,
    judge_names,
    one_by_one,
    read_verdict,
    runnable,
    verdict_of,
)
from registry.features import signature
from registry.manifest import Manifest, Version
from registry.onnx_file import load
from registry.row_probe import probe_rows
from registry.store import Registry
from tests.depth import NIGHTLY
from tests.row_models import DEPENDENT, INDEPENDENT, register_model
from tests.tiny_model import as_model, register_tiny

node, info = helper.make_node, helper.make_tensor_value_info


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Registry(Home(tmp_path / "home"))


def verdict(version: Version) -> Verdict:
    found = read_verdict(version)
    assert found is not None
    return found


@pytest.mark.parametrize("rows", ["N", None], ids=["named", "unnamed"])
@pytest.mark.parametrize("name", DEPENDENT)
def test_requests_of_a_model_with_dependent_rows_run_one_at_a_time(
    registry: Registry, tmp_path: Path, name: str, rows: str | None
) -> None:
    version = register_model(registry, tmp_path / "files", name, DEPENDENT[name](rows))
    reason = one_by_one(version.manifest, verdict(version))
    assert reason.startswith("output ")
    (sentence,) = explain(version.manifest, verdict(version))
    assert sentence.startswith(f"requests run one at a time: {reason}")


@pytest.mark.parametrize("rows", ["N", None], ids=["named", "unnamed"])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_ordinary_networks_share_runs(
    registry: Registry, tmp_path: Path, name: str, rows: str | None
) -> None:
    version = register_model(registry, tmp_path / "files", name, INDEPENDENT[name](rows))
    assert one_by_one(version.manifest, verdict(version)) == ""
    assert list(explain(version.manifest, verdict(version))) == []


def test_the_tiny_classifier_with_texts_and_missing_values_shares_runs(
    registry: Registry, tmp_path: Path
) -> None:
    for rows in (1, 4, 300):
        version = register_tiny(registry, tmp_path / "files", rows=rows)
        assert verdict(version) == Verdict()


_FORESTS = {"n_estimators": 100, "max_depth": 5, "random_state": 1}
CLASSIFIERS: list[Any] = [
    linear_model.LogisticRegression(),
    linear_model.SGDClassifier(loss="log_loss", random_state=1),
    linear_model.RidgeClassifier(),
    linear_model.Perceptron(random_state=1),
    discriminant_analysis.LinearDiscriminantAnalysis(),
    naive_bayes.GaussianNB(),
    naive_bayes.BernoulliNB(),
    neighbors.KNeighborsClassifier(4),
    tree.DecisionTreeClassifier(),
    ensemble.RandomForestClassifier(**_FORESTS),
    ensemble.ExtraTreesClassifier(**_FORESTS),
    ensemble.GradientBoostingClassifier(n_estimators=20),
    ensemble.HistGradientBoostingClassifier(max_iter=20),
    ensemble.AdaBoostClassifier(n_estimators=5),
    ensemble.BaggingClassifier(n_estimators=5),
    svm.SVC(probability=True),
    svm.NuSVC(probability=True),
    neural_network.MLPClassifier(hidden_layer_sizes=(60,), max_iter=20),
    pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
    pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.LogisticRegression()),
    pipeline.make_pipeline(
        preprocessing.KBinsDiscretizer(4, encode="ordinal"), linear_model.LogisticRegression()
    ),
    pipeline.make_pipeline(preprocessing.Normalizer(), linear_model.LogisticRegression()),
]
REGRESSORS: list[Any] = [
    linear_model.LinearRegression(),
    linear_model.Ridge(),
    linear_model.Lasso(),
    linear_model.BayesianRidge(),
    linear_model.HuberRegressor(),
    linear_model.TweedieRegressor(),
    neighbors.KNeighborsRegressor(4),
    tree.DecisionTreeRegressor(),
    ensemble.RandomForestRegressor(**_FORESTS),
    ensemble.ExtraTreesRegressor(**_FORESTS),
    ensemble.GradientBoostingRegressor(n_estimators=20),
    ensemble.HistGradientBoostingRegressor(max_iter=20),
    ensemble.AdaBoostRegressor(n_estimators=5),
    svm.SVR(),
    svm.LinearSVR(),
    neural_network.MLPRegressor(hidden_layer_sizes=(60,), max_iter=20),
    gaussian_process.GaussianProcessRegressor(),
]
ROWS = {
    "normal": np.random.default_rng(1).normal(size=(150, 5)),
    # Grids have ties: of votes, of distances, and at the thresholds of trees.
    "grid": np.random.default_rng(2).integers(0, 3, size=(150, 5)),
    "unscaled": np.exp(np.random.default_rng(3).normal(size=(150, 5)) * 2) * [1, 1e4, 1e6, 1e-3, 9],
}


# Every estimator sees ties; the other rows go to some of each kind of estimator.
FITTED = [
    pytest.param(estimator, kind, id=f"{str(estimator).partition('(')[0]}-{kind}")
    for place, estimator in enumerate([*CLASSIFIERS, *REGRESSORS])
    for turn, kind in enumerate(ROWS)
    if NIGHTLY or kind == "grid" or place % 4 == turn
]


@pytest.mark.parametrize(("estimator", "kind"), FITTED)
def test_estimators_of_many_kinds_share_runs(estimator: Any, kind: str) -> None:
    rows = ROWS[kind].astype(np.float32)
    classifies = hasattr(estimator, "classes_") or estimator in CLASSIFIERS
    score = rows[:, 0] / rows[:, 0].std() + rows[:, 1] / rows[:, 1].std()
    truth = (score > np.median(score)).astype(int) if classifies else score
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = estimator.fit(rows, truth)
        options = {"zipmap": False} if classifies else None
        converted = to_onnx(fitted, rows[:1], options=options).SerializeToString()
    model = runnable(load(converted, threads=1))
    assert probe_rows(model.run, {model.inputs[0].name: rows}, 256).faults == {}
    assert probe_rows(model.run, {model.inputs[0].name: rows}, 256).failure == ""


class _Node:
    def __init__(self, name: str, *shape: str | int | None) -> None:
        self.name, self.shape = name, list(shape)


@pytest.mark.parametrize(
    ("inputs", "output", "why"),
    [
        ([("N", 2)], ("N", 3), ""),
        ([("N", 2)], (None,), ""),
        ([(None, 2)], ("M",), ""),
        ([("x_dynamic_axes_1", 2)], ("Addy_dim_0", 1), ""),
        ([("unk__6", 2)], ("unk__7", 1), ""),
        ([("N", 2)], ("M",), "has the first dimension 'M', but inputs have 'N'"),
        ([("N", 2)], ("N", "N"), "has the row dimension 'N' twice"),
        ([("N", 2)], (None, "N"), "has the row dimension 'N' twice"),
        ([(None, 2)], ("N", "N"), "has the row dimension 'N' twice"),
    ],
)
def test_dimension_names_reveal_outputs_that_cannot_be_split(
    inputs: list[tuple[Any, ...]], output: tuple[Any, ...], why: str
) -> None:
    found = judge_names([_Node("x", *shape) for shape in inputs], [_Node("o", *output)])
    assert found.faults == ({"o": why} if why else {})


def test_inputs_with_different_row_dimensions_do_not_share_runs() -> None:
    found = judge_names([_Node("q", "Q", 2), _Node("d", "D", 2)], [_Node("o", "Q")])
    assert found.reason == "inputs have different first dimensions: 'Q' of 'q', 'D' of 'd'"


def test_a_model_that_fails_on_several_rows_runs_one_at_a_time(
    registry: Registry, tmp_path: Path
) -> None:
    x, y = (info(name, TensorProto.FLOAT, [None, width]) for name, width in (("x", 2), ("y", 1)))
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 2])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    nodes = [
        node("Reshape", ["x", "shape"], ["row"]),
        node("ReduceSum", ["row", "one"], ["y"], keepdims=1),
    ]
    model = as_model(helper.make_graph(nodes, "single", [x], [y], [shape, one]))
    version = register_model(registry, tmp_path / "files", "single", model)
    assert verdict(version).reason == "the model fails on a batch of 2 rows"


def test_a_model_with_random_outputs_runs_one_at_a_time(registry: Registry, tmp_path: Path) -> None:
    x, y = (info(name, TensorProto.FLOAT, [None, width]) for name, width in (("x", 2), ("y", 1)))
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    nodes = [
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("RandomUniformLike", ["sum"], ["luck"]),
        node("Add", ["sum", "luck"], ["y"]),
    ]
    model = as_model(helper.make_graph(nodes, "lots", [x], [y], [one]))
    version = register_model(registry, tmp_path / "files", "lots", model)
    assert verdict(version).reason == "output 'y' differs between two runs of the same row"


@pytest.mark.parametrize("stated", ["off", "trust"])
def test_the_manifest_can_override_the_verdict(
    registry: Registry, tmp_path: Path, stated: str
) -> None:
    dependent = register_model(
        registry, tmp_path / "a", "centred", DEPENDENT["centred"](None), batching=stated
    )
    ordinary = register_model(
        registry, tmp_path / "b", "layers", INDEPENDENT["layers"](None), batching=stated
    )
    reasons = [one_by_one(v.manifest, verdict(v)) for v in (dependent, ordinary)]
    sentences = [list(explain(v.manifest, verdict(v))) for v in (dependent, ordinary)]
    if stated == "trust":
        assert reasons == ["", ""]
        assert sentences[0][0].startswith(
            "requests share runs, as batching: trust states, although"
        )
        assert sentences[1] == []
    else:
        assert reasons == ["the manifest states batching: off"] * 2
        assert sentences[1] == ["requests run one at a time: the manifest states batching: off"]


def test_the_reference_of_dependent_rows_is_answered_row_by_row(
    registry: Registry, tmp_path: Path
) -> None:
    version = register_model(registry, tmp_path / "files", "softmax", DEPENDENT["softmax"](None))
    frame = pd.read_parquet(Path(version.path) / "reference.parquet")
    assert set(frame["prediction"]) == {1.0}


def test_an_output_without_rows_does_not_prevent_comparing_the_prediction(
    registry: Registry, tmp_path: Path
) -> None:
    for name, depends in {"gram": False, "boxes": False, "softmax": True}.items():
        version = register_model(registry, tmp_path / "files", name, DEPENDENT[name](None))
        assert bool(verdict(version).against_answers(version.manifest)) == depends


def test_a_version_of_an_earlier_release_opens_and_is_judged_as_it_is_loaded(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register_model(registry, tmp_path / "files", "softmax", DEPENDENT["softmax"](None))
    recorded = verdict(version)
    (Path(version.path) / batching.FILE).unlink()
    assert registry.version("softmax", "1") == version
    assert read_verdict(version) is None
    model = runnable(load((Path(version.path) / "model.onnx").read_bytes()))
    assert verdict_of(version, model) == recorded
    monkeypatch.setattr(batching, "PROBED_AT_LOAD", 0)
    assert verdict_of(version, model) == Verdict(probed=False)
    again = register_model(registry, tmp_path / "files", "softmax", DEPENDENT["softmax"](None))
    assert again == version
    assert verdict(version) == recorded


def test_a_manifest_that_does_not_state_batching_is_stored_as_before(
    registry: Registry, tmp_path: Path
) -> None:
    for stated, kept in ({}, False), ({"batching": "auto"}, False), ({"batching": "off"}, True):
        version = register_tiny(registry, tmp_path / "files", **stated)
        stored = (Path(version.path) / "manifest.json").read_bytes()
        assert (b'"batching"' in stored) == kept
        assert msgspec.json.decode(stored, type=Manifest) == version.manifest


def test_trial_rows_include_extreme_and_missing_numbers() -> None:
    """A row is spoilt only beside values beyond everything that the reference holds."""
    seen: list[float] = []

    def run(feed: Any) -> Any:
        seen.extend(feed["x"].ravel().tolist())
        spoilt = bool((np.abs(feed["x"]) > 100).any())
        return {"y": feed["x"].sum(axis=1) + spoilt}

    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    found = probe_rows(run, {"x": rows}, 256)
    assert found.faults == {"y": "for a row depends on the other rows of its run"}
    assert max(seen) > 1000
    assert np.isnan(seen).any()


def test_rows_alone_and_in_a_batch_may_differ_by_half_a_percent() -> None:
    def run_off_by(error: float) -> Any:
        return lambda feed: {"y": feed["x"].sum(axis=1) * (1 + error * (len(feed["x"]) > 2))}

    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    assert probe_rows(run_off_by(1e-4), {"x": rows}, 256).faults == {}
    assert probe_rows(run_off_by(2e-2), {"x": rows}, 256).faults == {
        "y": "for a row differs in a batch of 3 rows"
    }


def test_a_fixed_number_of_rows_is_stated_as_the_reason(registry: Registry, tmp_path: Path) -> None:
    model: onnx.ModelProto = INDEPENDENT["layers"](4)
    version = register_model(registry, tmp_path / "files", "four", model)
    assert signature(version.manifest).inputs[0].shape == [4, 64]
    (sentence,) = explain(version.manifest, verdict(version))
    assert sentence == "requests run one at a time: every run has exactly 4 rows"
    trusted = replace(version.manifest, batching="trust")
    assert one_by_one(trusted, verdict(version)) == "every run has exactly 4 rows"


def test_judging_is_the_same_each_time(registry: Registry, tmp_path: Path) -> None:
    version = register_model(registry, tmp_path / "files", "padded", DEPENDENT["padded"](None))
    model = runnable(load((Path(version.path) / "model.onnx").read_bytes()))
    rows = {"text": np.array(["a b", "c", "d e f"] * 20, dtype=object)}
    assert judge(model, version.manifest, rows) == judge(model, version.manifest, rows)
