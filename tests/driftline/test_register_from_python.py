"""`driftline.register`: models of Python libraries, without a file."""

import sys
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import driftline
from eventlog.errors import SettingError
from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import reference, tiny_classifier


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Home(tmp_path / "home")


def test_a_pipeline_of_strings_and_missing_values(home: Home) -> None:
    random = np.random.default_rng(3)
    rows = pd.DataFrame({"fare": random.normal(size=600), "city": random.choice(["a", "b"], 600)})
    rows["late"] = (rows["fare"] + (rows["city"] == "a") + random.normal(size=600) > 0.5) * 1
    rows.loc[::7, "fare"] = np.nan
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    columns = [
        ("numbers", scaled, ["fare"]),
        ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
    ]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression())
    model.fit(rows[:300].drop(columns="late"), rows[:300]["late"])
    held = rows[300:].reset_index(drop=True)
    version = driftline.register("late", model, reference=held, target="late", held_out=True)
    assert version.number == "1"
    kinds = {one.name: (one.kind, one.nullable) for one in version.manifest.features}
    assert kinds == {"fare": ("numeric", True), "city": ("categorical", False)}
    assert version.manifest.prediction.classes == [0, 1]
    assert Registry(home).aliases("late") == {"champion": "1"}
    session = onnxruntime.InferenceSession(Path(version.path) / "model.onnx")
    feed = {
        "fare": held[["fare"]].to_numpy(np.float32),
        "city": held[["city"]].to_numpy(dtype=object),
    }
    _, probabilities = session.run(None, feed)
    expected = model.predict_proba(held.drop(columns="late"))
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_a_regressor_of_named_columns() -> None:
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    model = Ridge().fit(frame, target)
    shuffled = frame[sorted(frame.columns)].assign(y=target)
    version = driftline.register("sugar", model, reference=shuffled, target="y", held_out=True)
    assert version.manifest.task == "regression"
    assert [one.name for one in version.manifest.features] == list(frame.columns)


def test_an_anomaly_detector_needs_no_target() -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), columns=list("abc"))
    model = IsolationForest(n_estimators=20, random_state=0).fit(rows)
    version = driftline.register("odd", model, reference=rows)
    assert [one.name for one in version.manifest.features] == ["a", "b", "c"]
    assert version.manifest.prediction.label == "label"
    assert version.manifest.prediction.classes == [-1, 1]


@pytest.mark.parametrize("form", ["path", "bytes", "proto"])
def test_onnx_in_every_form(tmp_path: Path, form: str) -> None:
    proto = tiny_classifier()
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    model = {"path": path, "bytes": path.read_bytes(), "proto": proto}[form]
    version = driftline.register("tiny", model, promote=False)
    assert version.manifest.task == "classification"


def test_a_notebook_shows_a_table_with_the_question_and_a_terminal_lines() -> None:
    version = driftline.register("tiny", tiny_classifier(), reference=reference(), target="bought")
    shown = version._repr_html_()
    assert shown.startswith("<table>")
    assert "price: FP32 [any, 1]<br>colour: BYTES [any, 1]" in shown
    assert "was the model trained on the rows of the reference?" in shown
    assert "inputs      price: FP32 [any, 1]\n            colour: BYTES [any, 1]" in repr(version)


def test_a_later_version_is_not_promoted(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    driftline.register("tiny", tiny_classifier())
    assert "tiny champion is version 1: it answers requests" in capsys.readouterr().err
    driftline.register("tiny", tiny_classifier(), manifest={"description": "newer"})
    assert capsys.readouterr().err.endswith(
        "tiny version 2 is registered; champion is version 1: driftline promote tiny --version 2\n"
    )
    assert Registry(home).aliases("tiny") == {"champion": "1"}


@pytest.mark.parametrize(
    ("library", "missing"),
    [
        ("sklearn.linear_model", "skl2onnx"),
        ("xgboost.core", "onnxmltools"),
        ("lightgbm.sklearn", "onnxmltools"),
        ("catboost.core", "onnx"),
        ("torch.nn.modules.linear", "torch"),
    ],
)
def test_a_missing_converter_is_reported_with_the_install_command(
    library: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    model = type("Model", (), {"__module__": library})()
    with pytest.raises(SettingError, match=f"{missing} is not installed: pip install {missing}$"):
        driftline.register("boosted", model, example=np.zeros((1, 2)))


def test_a_package_that_a_converter_needs_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxmltools.py").write_text("import onnxconverter_common.none\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxmltools", raising=False)
    monkeypatch.setitem(sys.modules, "onnxconverter_common", None)
    model = type("Model", (), {"__module__": "xgboost.core"})()
    with pytest.raises(SettingError, match="pip install onnxconverter_common"):
        driftline.register("boosted", model, example=np.zeros((1, 2)))


class FakeTorch:
    """What registration asks of torch: it records the export, and answers a tiny model."""

    def __init__(self) -> None:
        self.onnx, self.stated = self, dict[str, Any]()
        self.as_tensor, self.no_grad = np.asarray, nullcontext

    def export(self, _model: Any, _inputs: Any, buffer: BytesIO, **stated: Any) -> None:
        self.stated = stated
        buffer.write(tiny_classifier().SerializeToString())


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (np.zeros((1, 2)), ["output"]),
        ((np.zeros((1, 2)), np.zeros((1, 8))), ["output_0", "output_1"]),
        ({"boxes": np.zeros((1, 4)), "loss": np.array(0.0)}, ["boxes", "loss"]),
    ],
)
def test_every_output_of_a_torch_module_has_a_name_and_a_batch(
    answer: Any, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    kind = type("Net", (), {"__module__": "torch.nn", "eval": lambda net: lambda *_: answer})
    driftline.register("net", kind(), example=np.zeros((1, 3)))
    assert torch.stated["output_names"] == names
    batched = {name for name, axes in torch.stated["dynamic_axes"].items() if axes == {0: "batch"}}
    assert batched == {"input", *names} - {"loss"}


def test_an_unsupported_object_is_refused_with_the_supported_kinds() -> None:
    with pytest.raises(SettingError, match=r"a builtins\.dict cannot be registered: expected"):
        driftline.register("nothing", {})


def test_an_estimator_without_rows_is_refused_with_the_missing_argument() -> None:
    model = Ridge().fit(np.zeros((2, 2)), [0, 1])
    with pytest.raises(SettingError, match="expected reference= or example="):
        driftline.register("ridge", model)
