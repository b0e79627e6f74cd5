"""Kinds of models that libraries convert: scikit-learn, LightGBM, XGBoost, CatBoost, PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC

from driftline.converters import to_onnx
from tests.conformance.model_kinds import ModelKind

Array = np.ndarray[Any, Any]
_COLUMNS = 4


def _numbers() -> tuple[pd.DataFrame, Array]:
    rows = np.random.default_rng(5).normal(size=(300, _COLUMNS)).astype(np.float32)
    return pd.DataFrame(rows, columns=list("abcd")), rows[:, 0] + rows[:, 1] * rows[:, 2]


def _of_numbers(model: Any, target: Callable[[Array], Any]) -> Callable[[], bytes]:
    """Return what fits a model to four numbers and converts it."""

    def build() -> bytes:
        rows, value = _numbers()
        return to_onnx(model.fit(rows, target(value)), rows)

    return build


def _classes(value: Array) -> Array:
    return (value > 0).astype(np.int64)


def _names(value: Array) -> Array:
    return np.array(["low", "middle", "high"], dtype=object)[np.digitize(value, [-0.5, 0.5])]


def _amounts(value: Array) -> Array:
    return value


def _pairs(value: Array) -> Array:
    return np.stack([value, -2 * value], axis=1)


def _column_transformer() -> bytes:
    rows, value = _numbers()
    mixed = rows.assign(city=np.where(rows["a"] > 0, "Rome", "Oslo")).astype({"city": object})
    steps = [
        ("numbers", SimpleImputer(), list("abcd")),
        ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
    ]
    model = make_pipeline(ColumnTransformer(steps), LogisticRegression())
    return to_onnx(model.fit(mixed, _classes(value)), mixed)


def _texts() -> bytes:
    rows = pd.DataFrame({"text": ["a small red house", "green hills on the road"] * 20})
    vectors = TfidfVectorizer(token_pattern="[a-zA-Z]+")
    model = make_pipeline(vectors, LogisticRegression())
    return to_onnx(model.fit(rows["text"], [0, 1] * 20), rows)


def _zipped() -> bytes:
    """A classifier with its ZipMap, as skl2onnx exports it by default."""
    from skl2onnx import to_onnx as convert  # noqa: PLC0415

    rows, value = _numbers()
    model = RandomForestClassifier(10, random_state=0).fit(rows.to_numpy(), _classes(value))
    return bytes(convert(model, rows.to_numpy()[:1], target_opset=15).SerializeToString())


def _lightgbm() -> bytes:
    from lightgbm import LGBMClassifier  # noqa: PLC0415

    return _of_numbers(LGBMClassifier(n_estimators=10, verbose=-1), _classes)()


def _xgboost() -> bytes:
    from xgboost import XGBClassifier  # noqa: PLC0415

    return _of_numbers(XGBClassifier(n_estimators=10, max_depth=3), _classes)()


def _catboost(classifies: bool) -> Callable[[], bytes]:
    def build() -> bytes:
        from catboost import CatBoostClassifier, CatBoostRegressor  # noqa: PLC0415

        kind = CatBoostClassifier if classifies else CatBoostRegressor
        model = kind(iterations=10, verbose=0, allow_writing_files=False)
        return _of_numbers(model, _classes if classifies else _amounts)()

    return build


def _torch() -> bytes:
    import torch  # noqa: PLC0415

    layers = (torch.nn.Linear(_COLUMNS, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    return to_onnx(torch.nn.Sequential(*layers), np.zeros((1, _COLUMNS), np.float32))


_SKLEARN = "skl2onnx"
ESTIMATORS = [
    ModelKind("logistic regression", _SKLEARN, _of_numbers(LogisticRegression(), _classes)),
    ModelKind("mixed columns with missing values", _SKLEARN, _column_transformer),
    ModelKind("random forest with ZipMap", _SKLEARN, _zipped),
    ModelKind("gradient boosting", _SKLEARN, _of_numbers(GradientBoostingRegressor(), _amounts)),
    ModelKind("nearest neighbours", _SKLEARN, _of_numbers(KNeighborsClassifier(3), _names)),
    ModelKind("support vectors", _SKLEARN, _of_numbers(SVC(probability=True), _names)),
    ModelKind("neural network", _SKLEARN, _of_numbers(MLPClassifier((8,), max_iter=50), _names)),
    ModelKind("gaussian process", _SKLEARN, _of_numbers(GaussianProcessRegressor(), _amounts)),
    ModelKind("several numbers", _SKLEARN, _of_numbers(Ridge(), _pairs)),
    ModelKind("clusters", _SKLEARN, _of_numbers(KMeans(3, n_init=1), _amounts)),
    ModelKind("anomalies", _SKLEARN, _of_numbers(IsolationForest(n_estimators=10), _amounts)),
    ModelKind("TF-IDF texts", _SKLEARN, _texts),
    ModelKind("LightGBM classifier", "onnxmltools", _lightgbm, needs="lightgbm"),
    ModelKind("XGBoost classifier", "onnxmltools", _xgboost, needs="xgboost"),
    ModelKind("CatBoost classifier", "CatBoost", _catboost(True), needs="catboost"),
    ModelKind("CatBoost regressor", "CatBoost", _catboost(False), needs="catboost"),
    ModelKind("PyTorch network", "torch.onnx", _torch, needs="torch"),
]
