"""Models converted as in the how-to are registered and predict as the library does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import yaml

from eventlog.settings import Home
from registry.store import Registry
from tests.docs.converting import FEATURES
from tests.once import installed_once

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "converters.lock"
PYTORCH = "DRIFTLINE_PYTORCH"  # names a Python that has it
CLASSIFIES = {
    "task": "classification",
    "prediction": {"label": "label", "probabilities": "probabilities", "classes": [0, 1]},
}
PREDICTS = {"task": "regression", "prediction": {"label": "score"}}


@pytest.fixture(scope="module")
def libraries() -> Path:
    """A folder with the libraries and the converter."""
    return installed_once(LOCK)


@pytest.mark.parametrize(
    "library", [pytest.param("XGBoost", marks=pytest.mark.nightly), "LightGBM"]
)
def test_a_classifier_is_converted_registered_and_answers_the_same(
    library: str, libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(libraries))
    rows, answers = _convert(Path(sys.executable), library, tmp_path)
    session = _registered(tmp_path, rows, answers.argmax(axis=1), CLASSIFIES, monkeypatch)
    label, probabilities = session.run(["label", "probabilities"], {"X": rows})
    np.testing.assert_allclose(probabilities, answers, atol=1e-5)
    assert (label == answers.argmax(axis=1)).all()


if PYTORCH in os.environ:  # it takes five gigabytes, so `make pytorch` alone brings it

    def test_a_network_is_converted_registered_and_answers_the_same(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, scores = _convert(Path(os.environ[PYTORCH]), "PyTorch", tmp_path)
        session = _registered(tmp_path, rows, scores[:, 0], PREDICTS, monkeypatch)
        (found,) = session.run(["score"], {"X": rows})
        np.testing.assert_allclose(found, scores, atol=1e-5)


def _convert(python: Path, library: str, folder: Path) -> tuple[Any, Any]:
    """The rows, and what the library answers."""
    code = ROOT / "tests" / "docs" / "converting.py"
    subprocess.run([python, code, library, folder], check=True)
    return np.load(folder / "rows.npy"), np.load(folder / "answers.npy")


def _registered(
    folder: Path, rows: Any, truth: Any, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """What was converted, as it lies in a registry."""
    names = [f"f{number}" for number in range(FEATURES)]
    features = [
        {"name": name, "kind": "numeric", "input": "X", "index": index}
        for index, name in enumerate(names)
    ]
    manifest, reference = folder / "manifest.yaml", folder / "reference.parquet"
    manifest.write_text(
        yaml.safe_dump({"held_out": True, "target": "truth", "features": features, **about})
    )
    pd.DataFrame(rows, columns=names).assign(truth=truth).to_parquet(reference, index=False)
    monkeypatch.setenv("BENTOML_HOME", str(folder / "bentoml"))
    version = Registry(Home(folder / "home")).register(
        folder / "model.onnx", model="converted", manifest=manifest, reference=reference
    )
    return onnxruntime.InferenceSession(Path(version.path) / "model.onnx")
