"""Re-running the version: prediction parity, and the effect of drift on predictions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from eventlog.settings import Home
from monitoring.results import Score
from monitoring.scoring.parity.rerun import ModelRerun
from monitoring.scoring.parity.scores import ParityScorer
from monitoring.scoring.reference import Baseline
from registry.manifest import Manifest, RerunPolicy
from registry.store import Registry
from tests.row_models import DEPENDENT, register_model
from tests.tiny_model import as_model

Draw = Callable[..., pd.DataFrame]


def _scored(baseline: Baseline, frame: pd.DataFrame, *drifted: str) -> dict[tuple[str, str], Score]:
    scores = ParityScorer(baseline).score(frame, list(drifted))
    return {(score.name, score.column): score for score in scores}


def _changed(baseline: Baseline, **changes: Any) -> Baseline:
    manifest: Manifest = replace(baseline.manifest, **changes)
    return Baseline(replace(baseline.version, manifest=manifest))


def _sampled(baseline: Baseline, rows: int) -> Baseline:
    policy = replace(baseline.manifest.monitoring, rerun=RerunPolicy(rows=rows))
    return _changed(baseline, monitoring=policy)


def test_re_run_predictions_equal_to_the_logged_ones_have_parity(
    baseline: Baseline, window: Draw
) -> None:
    parity = _scored(baseline, window())["parity", ""]
    assert (parity.value, parity.threshold, parity.breached) == (0.0, 0.01, False)
    assert parity.note == "0 of 1,000 answers"


def test_predictions_of_another_model_break_parity(baseline: Baseline, window: Draw) -> None:
    frame = window()
    yes = frame["probability_1"].astype(float)
    other = np.where(np.arange(1000) < 50, np.clip(yes + 0.01, 0, 1), yes)
    parity = _scored(baseline, frame.assign(probability_1=other))["parity", ""]
    assert (parity.value, parity.breached) == (0.05, True)
    within = _scored(baseline, frame.assign(probability_1=yes + 1e-4))["parity", ""]
    assert within.value == 0


def test_a_class_that_contradicts_its_probabilities_breaks_parity(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    swapped = 1 - frame["prediction"].astype(int)
    parity = _scored(baseline, frame.assign(prediction=swapped))["parity", ""]
    assert parity.value is not None
    assert parity.value > 0.9  # all but those at one half, where either is right


def test_drifted_inputs_do_not_break_parity(baseline: Baseline, window: Draw) -> None:
    frame = _answered_again(baseline, window(), price=5.0)
    found = _scored(baseline, frame, "price")
    assert found["parity", ""].value == 0
    assert found["effect", "price"].value is not None
    assert found["effect", "price"].value > 0.2
    shift = found["effect_shift", "price"].value
    expected = frame["probability_1"].mean() - baseline.frame["probability_1"].mean()
    assert shift == pytest.approx(expected, abs=0.03)
    note = found["effect", "price"].note
    assert note.endswith("of 1,000 predictions change with the reference's values")
    assert ("effect", "") in found


def test_the_column_that_changes_most_predictions_has_the_largest_effect(
    baseline: Baseline, window: Draw
) -> None:
    frame = _answered_again(baseline, window(), price=3.0, colour="red")
    found = _scored(baseline, frame, "price", "colour", "prediction", "probability")
    effects = {column: s.value for (name, column), s in found.items() if name == "effect"}
    assert set(effects) == {"price", "colour", ""}
    assert effects["price"] > effects["colour"]  # type: ignore[operator]


def test_a_column_without_drift_has_almost_no_effect(baseline: Baseline, window: Draw) -> None:
    found = _scored(baseline, window(), "price", "colour")
    assert found["effect", "price"].value == pytest.approx(0, abs=0.02)
    assert found["effect", "colour"].value == pytest.approx(0, abs=0.02)


def test_a_limited_number_of_rows_is_re_run_or_none_by_policy(
    baseline: Baseline, window: Draw
) -> None:
    assert _scored(_sampled(baseline, 70), window())["parity", ""].note == "0 of 70 answers"
    nothing = _scored(_sampled(baseline, 0), window(), "price")
    assert nothing["parity", ""].note == "not run again: monitoring.rerun.rows is 0"
    assert nothing["effect", ""].value is None


def test_a_withheld_field_is_stated_as_the_reason(baseline: Baseline, window: Draw) -> None:
    payload = replace(baseline.manifest.payload, fields={"colour": "drop"})
    found = _scored(_changed(baseline, payload=payload), window(), "price")
    assert found["parity", ""].note == "not run again: colour is dropped by payload policy"
    assert found["effect", ""].note == found["parity", ""].note


def test_rows_that_the_model_refuses_are_skipped_and_counted(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    frame.loc[:9, "price"] = "much"
    frame.loc[10, "colour"] = 7
    parity = _scored(baseline, frame)["parity", ""]
    assert parity.note == "0 of 989 answers; 11 rows do not fit the model's inputs"
    none = _scored(baseline, window(price="much"))["parity", ""]
    assert (none.value, none.note) == (None, "no row fits the model's inputs")


def test_a_missing_model_is_a_reason_and_not_a_failure(
    baseline: Baseline, window: Draw, tmp_path: Path
) -> None:
    baseline.frame  # noqa: B018 - loaded before its folder is gone
    elsewhere = Baseline(baseline.version)
    elsewhere.version = replace(baseline.version, path=str(tmp_path))
    (score,) = ParityScorer(elsewhere).score(window(), [])
    assert (score.name, score.value) == ("parity", None)
    assert "could not be computed" in score.note


def test_failing_rows_are_found_and_the_other_rows_are_predicted(
    root: Path, tmp_path: Path
) -> None:
    baseline = _picky(root, tmp_path)
    answered, sound = ModelRerun(baseline).predict({"at": np.array([0.0, 2.0, 9.0, 1.0, 7.0])}, 5)
    assert sound.tolist() == [True, True, False, True, False]
    assert answered.values == [10.0, 30.0, 20.0]
    frame = pd.DataFrame({"at": [0.0, 9.0], "prediction": [10.0, 20.0]}, dtype=object)
    parity = _scored(baseline, frame)["parity", ""]
    assert (parity.value, parity.note) == (0.5, "1 of 2 answers")


def test_a_regressions_effect_is_in_units_of_its_predictions_spread(
    root: Path, tmp_path: Path
) -> None:
    baseline = _picky(root, tmp_path)
    frame = pd.DataFrame({"at": [2.0] * 300, "prediction": [30.0] * 300}, dtype=object)
    found = _scored(baseline, frame, "at")
    assert found["effect_shift", "at"].value == pytest.approx(10.0)
    spread = np.std([10.0, 20.0, 30.0])
    assert found["effect", "at"].value == pytest.approx(10.0 / spread)


def _answered_again(baseline: Baseline, frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """The window with other inputs, and what the model answers to them."""
    frame = frame.assign(**columns)
    inputs = {"price": frame["price"].to_numpy(dtype=float), "colour": frame["colour"].tolist()}
    answered, _ = ModelRerun(baseline).predict(inputs, len(frame))
    return frame.assign(
        prediction=[int(one) for one in answered.values],
        probability_1=answered.probabilities["1"],
        probability_0=answered.probabilities["0"],
    )


def _picky(root: Path, folder: Path) -> Baseline:
    """A regression that looks numbers up in a table of three and fails beyond it."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3, 1], [10.0, 20.0, 30.0])
    nodes = [
        helper.make_node("Cast", ["at"], ["place"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["place", "axes"], ["flat"]),
        helper.make_node("Gather", ["table", "flat"], ["size"], axis=0),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        nodes,
        "picky",
        [helper.make_tensor_value_info("at", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("size", TensorProto.FLOAT, [None, 1])],
        [table, axes],
    )
    (folder / "model.onnx").write_bytes(as_model(graph).SerializeToString())
    onnx.checker.check_model(str(folder / "model.onnx"))
    (folder / "manifest.yaml").write_text(
        "task: regression\nheld_out: true\ntarget: truth\n"
        "features: [{name: at, kind: numeric, nullable: true}]\nprediction: {label: size}\n"
    )
    places = [0.0, 1.0, 2.0] * 40
    pd.DataFrame({"at": places, "truth": [11.0, 19.0, 31.0] * 40}).to_parquet(
        folder / "reference.parquet"
    )
    version = Registry(Home(root / "home")).register(
        folder / "model.onnx",
        model=f"picky-{folder.name.replace('_', '-')[-20:].strip('-')}",
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )
    return Baseline(version)


def test_fewer_rows_of_a_large_model_are_re_run(baseline: Baseline, tmp_path: Path) -> None:
    large = Baseline(baseline.version)
    large.version = replace(baseline.version, path=str(tmp_path))
    sizes = {1: 1000, 16: 1000, 64: 250, 400: 50}
    for size, rows in sizes.items():
        with (tmp_path / "model.onnx").open("wb") as file:
            file.truncate(size * 2**20)
        assert ModelRerun(large).rows == rows
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(600 * 2**20)
    assert ModelRerun(large).reason == "not run again: the model has 600 MB, at most 512 are loaded"


@pytest.mark.parametrize(("name", "withheld"), [("softmax", True), ("gram", False)])
def test_dependent_rows_are_not_re_run(
    name: str, withheld: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    version = register_model(registry, tmp_path / "files", name, DEPENDENT[name](None))
    baseline = Baseline(version)
    window = baseline.frame[["x0", "x1", "prediction"]].astype(object)
    found = _scored(baseline, window, "x0")
    parity = found["parity", ""]
    if withheld:
        assert parity.value is None
        assert parity.note.startswith(
            "not run again: rows of one request influence each other: "
            "output 'y' for a row depends on the other rows of its run"
        )
        assert found["effect", ""].note == parity.note
    else:
        assert parity.value == 0
