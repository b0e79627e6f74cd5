"""Convert models of Python libraries to ONNX; the converters are optional packages."""

import copy
import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from eventlog.errors import SettingError
from registry.model_file import read_model

_OPSETS = {"": 15, "ai.onnx.ml": 3}
_FEATURES, _CLASSES = "feature_names", "class_names"  # metadata keys that registration reads
_COLUMN_WISE = ("ColumnTransformer",)  # selects columns by name, so each column becomes an input


def to_onnx(model: Any, rows: Any = None) -> bytes:
    """Convert a model to ONNX and return its bytes.

    `model` is a path, bytes, an onnx.ModelProto, a scikit-learn estimator or pipeline, a model of
    XGBoost, LightGBM or CatBoost, or a torch.nn.Module. `rows` are example input rows without the
    target: a DataFrame or array, or an example input for torch.

    Raises SettingError if a package, the rows or the example input is missing.
    """
    if isinstance(model, str | Path):
        return read_model(Path(model))
    if isinstance(model, bytes):
        return model
    if hasattr(model, "SerializeToString"):
        return bytes(model.SerializeToString())
    libraries = {cls.__module__.partition(".")[0] for cls in type(model).__mro__}
    for library, convert in _CONVERTERS.items():
        if library in libraries:
            return bytes(convert(model, rows))
    raise SettingError(
        f"a {type(model).__module__}.{type(model).__name__} cannot be registered: expected a path, "
        "bytes, an onnx.ModelProto, or a model of scikit-learn, XGBoost, LightGBM, CatBoost or "
        "PyTorch; export other models to ONNX"
    )


def _require(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or package).partition(".")[0]
        if missing == package:
            raise SettingError(
                f"package {package} is not installed: pip install {package}"
            ) from None
        raise SettingError(
            f"package {missing}, which {package} needs, is not installed: pip install {missing}"
        ) from None


def _require_rows(rows: Any, library: str) -> Any:
    if rows is None:
        raise SettingError(
            f"a {library} model can be converted only with example rows: expected reference= or "
            "example=, with the model's columns"
        )
    return rows


def _sklearn(model: Any, rows: Any) -> bytes:
    converter = _require("skl2onnx", "skl2onnx")
    types = _require("skl2onnx.common.data_types", "skl2onnx")
    rows = _require_rows(rows, "scikit-learn")
    names = _names(model, rows)
    if names and _is_column_wise(model, rows):
        inputs = [(name, _column_type(types, rows[name])([None, 1])) for name in names]
    else:
        inputs = [("X", types.FloatTensorType([None, _width(rows, names)]))]
    classifier = hasattr(model, "classes_") and hasattr(model, "predict_proba")
    options = {"options": {"zipmap": False}} if classifier else {}
    exported = converter.convert_sklearn(
        model, initial_types=inputs, target_opset=_OPSETS, **options
    )
    return _with_metadata(exported, names, getattr(model, "classes_", ()))


def _is_column_wise(model: Any, rows: Any) -> bool:
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    column_wise = any(type(step).__name__ in _COLUMN_WISE for step in steps)
    return column_wise or any(kind.kind not in "biuf" for kind in rows.dtypes)


def _column_type(types: Any, column: Any) -> Any:
    return types.FloatTensorType if column.dtype.kind in "biuf" else types.StringTensorType


def _names(model: Any, rows: Any) -> list[str]:
    columns = [str(name) for name in getattr(rows, "columns", ())]
    names = getattr(model, "feature_names_in_", None)
    fitted = [str(name) for name in names] if names is not None else columns
    return fitted if set(fitted) <= set(columns) else columns


def _width(rows: Any, names: Sequence[str]) -> int:
    return len(names) or int(rows.shape[1])


def _xgboost(model: Any, rows: Any) -> bytes:
    converter = _require("onnxmltools", "onnxmltools")
    types = _require("onnxmltools.convert.common.data_types", "onnxmltools")
    rows = _require_rows(rows, "XGBoost")
    names = _names(model, rows)
    inputs = [("X", types.FloatTensorType([None, _width(rows, names)]))]
    unnamed = copy.deepcopy(model)
    unnamed.get_booster().feature_names = None  # the converter accepts only the names f0, f1, ...
    exported = converter.convert_xgboost(unnamed, initial_types=inputs)
    return _with_metadata(exported, names, getattr(model, "classes_", ()))


def _lightgbm(model: Any, rows: Any) -> bytes:
    converter = _require("onnxmltools", "onnxmltools")
    types = _require("onnxmltools.convert.common.data_types", "onnxmltools")
    rows = _require_rows(rows, "LightGBM")
    names = _names(model, rows)
    inputs = [("X", types.FloatTensorType([None, _width(rows, names)]))]
    exported = converter.convert_lightgbm(model, initial_types=inputs, zipmap=False)
    return _with_metadata(exported, names, getattr(model, "classes_", ()))


def _catboost(model: Any, rows: Any) -> bytes:
    onnx = _require("onnx", "onnx")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save_model(str(path), format="onnx")
        exported = onnx.load(path)
    names = [str(name) for name in model.feature_names_ or []]
    return _with_metadata(exported, names if rows is not None else [], model.classes_)


def _torch(model: Any, rows: Any) -> bytes:
    torch = _require("torch", "torch")
    if rows is None:
        raise SettingError("a torch.nn.Module needs an example input: expected example=")
    inputs = rows if isinstance(rows, tuple) else (rows,)
    tensors = tuple(torch.as_tensor(array) for array in inputs)
    names = _numbered("input", len(tensors))
    with torch.no_grad():
        outputs = _outputs(model.eval()(*tensors))
    buffer = BytesIO()
    torch.onnx.export(
        model,
        tensors,
        buffer,
        input_names=names,
        output_names=list(outputs),
        dynamic_axes={
            name: {0: "batch"}
            for name, tensor in [*zip(names, tensors, strict=True), *outputs.items()]
            if tensor.ndim
        },
        dynamo=False,
    )
    return buffer.getvalue()


def _outputs(result: Any) -> dict[str, Any]:
    """Return a module's outputs by name; outputs without names are numbered."""
    if isinstance(result, Mapping):
        return {str(name): tensor for name, tensor in result.items()}
    tensors = result if isinstance(result, tuple | list) else (result,)
    return dict(zip(_numbered("output", len(tensors)), tensors, strict=True))


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{place}" for place in range(count)]


_CONVERTERS = {  # in this order, because the first three are scikit-learn estimators too
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "torch": _torch,
    "sklearn": _sklearn,
}


def _with_metadata(exported: Any, names: Sequence[str], classes: Any) -> bytes:
    onnx = _require("onnx", "onnx")
    values = [class_.item() if hasattr(class_, "item") else class_ for class_ in classes]
    properties: dict[str, list[Any]] = {_FEATURES: list(names)}
    if values and all(isinstance(value, str | int) for value in values):
        properties[_CLASSES] = values
    onnx.helper.set_model_props(
        exported, {key: json.dumps(value) for key, value in properties.items() if value}
    )
    return bytes(exported.SerializeToString())
